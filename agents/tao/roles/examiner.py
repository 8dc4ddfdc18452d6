"""The process in which a member runs what strangers made, and the handle by which the member asks it.

Loading a stranger's model or running one of its operators may take days, all memory, or the process. So it is done
in a child that can be killed, with the kernels of this process. It has no key and no secret; what it may take of the
machine's memory is bounded, and it ends with its parent, however that ends. Questions and answers are lines of JSON.
"""

from __future__ import annotations

import json
import os
import queue
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tao.errors import ModelError, ProfileError, StoreError, sentence
from tao.numerics import variants
from tao.numerics.statistics import STATISTICS_LIMIT, VoteStatistics
from tao.protocol.views import Vote
from tao.roles.question import Question, Verdict
from tao.tensors.store import TensorStore
from tao.untrusted import parse_json

if TYPE_CHECKING:
    from tao.roles.examination import Examination

MEMORY = 0.75
"""Share of the machine's memory that an examination may take. Beyond it the operator cannot be computed here."""

LONGEST = 1 << 16
"""Bytes of an answer that are read."""

MOST_SAID = 500
"""Characters of a sentence about what went wrong."""


class Examiner(ABC):
    """Answers one question at a time. bytes_read: from the store, so far."""

    bytes_read = 0

    @abstractmethod
    def start(self, question: Question | bytes) -> None:
        """Begin with a question, or load the model of this id; `answer` is asked until it has answered."""

    @abstractmethod
    def answer(self, seconds: float) -> Verdict | None:
        """The verdict on the question, None where it is not there after so many seconds.

        Raises StoreError and ModelError as `Examination.verdict`, ModelError also where judging ended the process.
        """

    @abstractmethod
    def stop(self) -> None:
        """Leave the question begun with; another may follow."""

    def close(self) -> None:  # noqa: B027  not every one has something to end
        """End for good."""

    def _read(self, line: bytes) -> Verdict | None:
        """An answer as `answer_to` wrote it; one that it cannot have written counts as none."""
        try:
            record = parse_json(line)
            self.bytes_read += int(record["bytes"])
            if "missing" in record:
                raise StoreError(str(record["missing"]))
            if "failed" in record:
                raise ModelError(str(record["failed"]))
            vote, statistics = Vote(record["vote"]), bytes.fromhex(record["statistics"])
            if vote is not Vote.NONE:
                VoteStatistics.decode(statistics)
            if len(statistics) > STATISTICS_LIMIT:
                raise ValueError(f"{len(statistics)} bytes of statistics")
        except (ValueError, TypeError, KeyError, OverflowError, ProfileError) as error:
            raise ModelError(f"the process that judges gave no answer that can be read: {error!r}") from error
        return vote, statistics


class ExaminerProcess(Examiner):
    """A process that answers one question after the other, and is replaced when it was killed.

    variant: the kernel variant that this process has applied, "" for none. device: see Examination.
    """

    def __init__(self, store_url: str, device: str = "", variant: str = "") -> None:
        self._command = [sys.executable, "-m", "tao.roles.examiner", store_url, device, variant]
        self._child: subprocess.Popen | None = None
        self._received = b""

    def prepare(self) -> None:
        """Start the process, which takes seconds, unless it is there; the first question does so at the latest."""
        if self._child is not None:
            return
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        # A session of its own: the interrupt that is meant for this process is not for the child.
        self._child = subprocess.Popen(self._command, env=_environment(), start_new_session=True, **pipes)

    def start(self, question: Question | bytes) -> None:
        self.prepare()
        asked = question.hex() if isinstance(question, bytes) else question.record()
        try:
            self._child.stdin.write(json.dumps(asked).encode() + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            return  # it has ended, as the answer will say

    def answer(self, seconds: float) -> Verdict | None:
        end = time.monotonic() + seconds
        while b"\n" not in self._received:
            if not select.select([self._child.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                return None
            part = os.read(self._child.stdout.fileno(), LONGEST)
            self._received += part
            if not part or len(self._received) > LONGEST:
                raise ModelError(f"judging it {self._ended()}")
        line, self._received = self._received, b""
        return self._read(line)

    def load(self, model_id: bytes) -> None:
        """Have a model at hand before the first question. Raises StoreError where the store does not have it."""
        self.start(model_id)
        while self.answer(60.0) is None:
            pass

    def stop(self) -> None:
        self.close()
        self.prepare()

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child.stdout.close()
            with suppress(BrokenPipeError):  # it ended before it read everything
                self._child.stdin.close()
        self._child, self._received = None, b""

    def _ended(self) -> str:
        """Puts away a child that has ended, or says too much; how it ended, in words."""
        try:
            code = self._child.wait(1)
        except subprocess.TimeoutExpired:
            code = 0
        self.close()
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        return f"ended the process that judges, {how}"


def _environment() -> dict[str, str]:
    """This process's, which chose its kernels, without what opens accounts."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("TAO_", "APE_"))}


def answer_to(examination: Examination, asked: list | str) -> dict:
    """The answer to one line, whatever happens on the way."""
    before = examination.store.bytes_read
    try:
        if isinstance(asked, str):
            examination.bundle(bytes.fromhex(asked))
            found = {"vote": Vote.NONE, "statistics": ""}
        else:
            vote, statistics = examination.verdict(Question.from_record(asked))
            found = {"vote": vote, "statistics": statistics.hex()}
    except StoreError as error:
        found = {"missing": str(error)[:MOST_SAID]}
    except Exception as error:
        found = {"failed": sentence(error)[:MOST_SAID]}
    return found | {"bytes": examination.store.bytes_read - before}


def main(store_url: str, device: str, variant: str) -> None:
    """Answer questions until standard input ends, and end then even within one."""
    from tao.roles.examination import Examination  # which the process that asks does without

    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print must not mix with answers
    asked: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    _bound_memory()
    variants.configure_torch(variant or "native")
    examination = Examination(TensorStore(store_url), device)
    while True:
        answer = answer_to(examination, json.loads(asked.get()))
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _listen(asked: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        asked.put(line)
    os._exit(0)  # the parent has ended: nobody waits for what is being computed


def _bound_memory() -> None:
    """Refuse this process more than its share of memory, where the system counts what is allocated (Linux does), and
    offer it first where memory runs out all the same, as in a container that has less than the machine.

    Addresses without memory behind them, of which torch's libraries reserve many, do not count (RLIMIT_AS would).
    """
    most = int(MEMORY * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # who crashes it need not fill the disk, too
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("1000")


if __name__ == "__main__":
    main(*sys.argv[1:])
