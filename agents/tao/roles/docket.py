"""The cases that a member examines, one at a time and each in its turn."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from tao.errors import ModelError, StoreError, sentence
from tao.roles.examiner import Examiner
from tao.roles.question import Question, Verdict

TURN = 10.0
"""Seconds of the examiner's that a case gets at least before another takes its place."""

LOOK = 1.0
"""Seconds for which the asking for one case waits, as most take less."""


@dataclass(eq=False)
class _Entry:
    """spent: seconds that it has had. rests_until: before, it is not begun again. outcome: not fetched yet. began_late:
    whether what was found last was looked for late."""

    question: Question
    spent: float = 0.0
    rests_until: float = 0.0
    is_late: bool = False
    is_wanted: bool = True
    began_late: bool = False
    outcome: Verdict | Exception | None = None

    @property
    def is_due(self) -> bool:
        """Whether it is late and has not been begun since."""
        return self.is_late and not self.began_late


class Docket:
    """Cases that are examined, by id.

    The case that has had the least time goes first. While another waits that has had less, its turn ends when it has
    lasted as long as all its turns before, TURN at least; it is then begun anew in its next one. So a case that takes t
    seconds gets them after 4 t or so, and as much again for each case beside it, whatever these do with theirs. One
    that fails rests as long as it has taken before it is tried again. When time grows late each case is begun once
    before any that was begun earlier goes on: what has come by then is seen.
    """

    def __init__(self, examiner: Examiner, clock: Callable[[], float] = time.monotonic) -> None:
        self.examiner, self._clock = examiner, clock
        self._entries: dict[bytes, _Entry] = {}
        self._running: _Entry | None = None
        self._since = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether a case that was asked for has no answer yet."""
        return any(entry.is_wanted for entry in self._entries.values())

    def ask(self, case_id: bytes, question: Question, is_late: bool = False) -> Verdict | None:
        """The verdict on a case, once; None while it is examined or waits for its turn.

        Raises StoreError where values are missing and ModelError where the case could not be judged: it is tried
        again whenever it is asked for. is_late: nothing may be waited for any longer, so that a failure counts only
        where the examination began after that; the case does not rest.
        """
        entry = self._entries.get(case_id)
        if entry is None or entry.question != question:
            self.drop(case_id)
            entry = self._entries[case_id] = _Entry(question)
        entry.is_late = is_late
        end = self._clock() + LOOK
        while True:
            entry.is_wanted = entry.outcome is None
            self._advance()
            if self._running is entry:
                self._collect(max(0.0, end - self._clock()))
                self._advance()
            outcome, entry.outcome = entry.outcome, None
            if not isinstance(outcome, Exception):
                if outcome is not None:
                    del self._entries[case_id]
                return outcome
            if entry.began_late or not is_late:
                raise outcome

    def drop(self, case_id: bytes) -> None:
        """Leave a case, if there is one of this id."""
        entry = self._entries.pop(case_id, None)
        if entry is not None and entry is self._running:
            self._stop()

    def retain(self, case_ids: Collection[bytes]) -> None:
        """Leave all cases but these."""
        for case_id in self._entries.keys() - set(case_ids):
            self.drop(case_id)

    def _advance(self) -> None:
        """Take what is there, end a turn that is over, and begin the next one."""
        self._collect(0.0)
        now = self._clock()
        waiting = [entry for entry in self._entries.values() if self._can_begin(entry, now)]
        if not waiting:
            return
        following = min(waiting, key=lambda entry: (not entry.is_due, entry.spent))
        if self._running is not None:
            if not self._makes_room(self._running, following, now - self._since):
                return
            self._stop()
        self._running, self._since = following, now
        following.began_late = following.is_late
        try:
            self.examiner.start(following.question)
        except OSError as error:
            self._end(ModelError(f"there is no process to judge it: {sentence(error)}"))

    def _makes_room(self, running: _Entry, following: _Entry, lasted: float) -> bool:
        if following.is_due and not running.began_late:
            return True
        is_over = lasted >= max(TURN, running.spent)
        return is_over and (following.is_due or following.spent < running.spent + lasted)

    def _can_begin(self, entry: _Entry, now: float) -> bool:
        return entry.is_wanted and entry is not self._running and (entry.is_late or now >= entry.rests_until)

    def _collect(self, seconds: float) -> None:
        if self._running is None:
            return
        try:
            outcome = self.examiner.answer(seconds)
        except (StoreError, ModelError) as error:
            outcome = error
        if outcome is not None:
            self._end(outcome)

    def _end(self, outcome: Verdict | Exception) -> None:
        entry, now = self._running, self._clock()
        self._running = None
        entry.spent += now - self._since
        entry.outcome, entry.is_wanted = outcome, False
        if isinstance(outcome, ModelError):
            entry.rests_until = now + entry.spent

    def _stop(self) -> None:
        """End the turn of what is running without an outcome."""
        self._running.spent += self._clock() - self._since
        self._running = None
        self.examiner.stop()
