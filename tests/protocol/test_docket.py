"""Whose turn it is when several cases wait to be examined, and what becomes of those that fail."""

from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from tao.errors import ModelError, StoreError
from tao.protocol.views import Vote
from tao.roles.docket import LOOK, TURN, Docket
from tao.roles.examiner import Examiner
from tao.roles.question import Question

FOUND = (Vote.ACCEPT, b"{}")
EVER = 1e9


@dataclass
class Clocked(Examiner):
    """Takes so many seconds for a case, named by its first operator, of a clock that only waiting moves."""

    takes: dict[int, float]
    fails: dict[int, Exception] = field(default_factory=dict)
    now: float = 0.0
    begun: list[tuple[int, float]] = field(default_factory=list)
    stopped: int = 0

    def start(self, question):
        self.begun.append((question.lo, self.now))
        self._failure = self.fails.get(question.lo)

    def answer(self, seconds):
        case, since = self.begun[-1]
        if self.now + seconds < since + self.takes[case]:
            self.now += seconds
            return None
        self.now = max(self.now, since + self.takes[case])
        if self._failure is not None:
            raise self._failure
        return FOUND

    def stop(self):
        self.stopped += 1


def question(case: int) -> Question:
    return Question(b"m" * 32, case, case + 1, (), ())


def name(case: int) -> bytes:
    return bytes([case]) * 32


def look(docket, cases, **options) -> list[int]:
    """Ask for all, as a tick does; which were judged."""
    docket.examiner.now += 1
    return [case for case in cases if docket.ask(name(case), question(case), **options) is not None]


def until_judged(examiner, wanted: int, cases) -> float:
    """Seconds until a case is judged that is asked for with others."""
    docket = Docket(examiner, lambda: examiner.now)
    while examiner.now < EVER:
        if wanted in look(docket, cases):
            return examiner.now
    raise AssertionError("never")


def test_a_quick_case_is_judged_where_it_is_asked_for():
    examiner = Clocked({1: LOOK / 2})
    docket = Docket(examiner, lambda: examiner.now)
    assert docket.ask(name(1), question(1)) == FOUND and not docket.is_busy and examiner.stopped == 0


@pytest.mark.parametrize("seconds", [1, TURN, 5 * TURN])
@pytest.mark.parametrize("others", [0, 1, 4])
def test_endless_cases_do_not_starve_another(seconds, others):
    examiner = Clocked({0: seconds} | dict.fromkeys(range(1, 1 + others), EVER))
    cases = [*range(1, 1 + others), 0]
    took = until_judged(examiner, 0, cases)
    assert took <= 4 * (1 + others) * max(seconds, TURN) + 4 * len(cases) * LOOK


def test_a_case_that_is_alone_is_never_begun_anew():
    examiner = Clocked({1: 50 * TURN})
    until_judged(examiner, 1, [1])
    assert len(examiner.begun) == 1 and examiner.stopped == 0


def test_the_next_case_begins_when_one_is_judged_and_does_not_wait_to_be_asked_for():
    examiner = Clocked({1: LOOK * 1.5, 2: EVER})
    docket = Docket(examiner, lambda: examiner.now)
    assert look(docket, [1, 2]) == [] and look(docket, [1]) == [1]
    assert [case for case, _ in examiner.begun] == [1, 2] and docket.is_busy


def test_missing_values_are_looked_for_at_every_tick_and_failures_ever_less_often():
    examiner = Clocked({1: 0.1, 2: 3.0}, {1: StoreError("not there"), 2: ModelError("no memory")})
    docket = Docket(examiner, lambda: examiner.now)
    raised = []
    for _ in range(100):
        examiner.now += 1
        for case in (1, 2):
            try:
                docket.ask(name(case), question(case))
            except (StoreError, ModelError) as error:
                raised.append(type(error))
    assert raised.count(StoreError) > 50 and 3 <= raised.count(ModelError) <= 10


def test_what_was_missing_before_counts_for_nothing_when_it_is_late():
    examiner = Clocked({1: LOOK * 2}, {1: StoreError("not there")})
    docket = Docket(examiner, lambda: examiner.now)
    assert look(docket, [1]) == []
    del examiner.fails[1]  # it is shown to those who look from now on
    assert look(docket, [1], is_late=True) == [] and look(docket, [1], is_late=True) == [1]


def test_what_is_shown_before_it_is_late_is_seen_although_an_endless_case_has_a_long_turn():
    examiner = Clocked({1: EVER, 2: 0.1}, {2: StoreError("not there")})
    docket = Docket(examiner, lambda: examiner.now)
    for _ in range(300):
        look(docket, [1])
        with suppress(StoreError):
            look(docket, [2])
    del examiner.fails[2]
    judged = [case for _ in range(3) for case in look(docket, [1, 2], is_late=True)]
    assert judged == [2] and max(later - sooner for (_, sooner), (_, later) in pairwise(examiner.begun)) > 60


def test_what_is_missing_when_it_is_late_is_missing():
    examiner = Clocked({1: LOOK * 2}, {1: StoreError("not there")})
    docket = Docket(examiner, lambda: examiner.now)
    assert look(docket, [1]) == [] and look(docket, [1], is_late=True) == []
    with pytest.raises(StoreError):
        look(docket, [1], is_late=True)


def test_a_dropped_case_is_stopped_and_another_takes_its_place():
    examiner = Clocked({1: EVER, 2: 0.1})
    docket = Docket(examiner, lambda: examiner.now)
    assert look(docket, [1]) == []
    docket.retain([name(2)])
    assert examiner.stopped == 1 and look(docket, [2]) == [2] and not docket.is_busy


def test_a_case_about_other_states_is_begun_anew():
    examiner = Clocked({1: EVER, 2: 0.1})
    docket = Docket(examiner, lambda: examiner.now)
    assert docket.ask(name(1), question(1)) is None
    assert docket.ask(name(1), question(2)) == FOUND and examiner.stopped == 1
