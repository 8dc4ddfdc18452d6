"""How much of a recorded step is rounding, and how much the log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tao.tensors.store import TensorStore
from tao.training import log
from tao.training.policies import Recorder


class Meter:
    """Seconds spent since they were last taken."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def take(self) -> float:
        taken, self.seconds = self.seconds, 0.0
        return taken

    @contextmanager
    def timing(self, owner: Any, name: str, counts: Callable[..., bool] = lambda *_: True) -> Iterator[None]:
        """Within it, count the calls of a function of a class or module. counts: which of them, by arguments."""
        original = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.monotonic()
            try:
                return original(*args, **kwargs)
            finally:
                if counts(*args):
                    self.seconds += time.monotonic() - start

        setattr(owner, name, timed)
        try:
            yield
        finally:
            setattr(owner, name, original)


@contextmanager
def rounding_timed() -> Iterator[Meter]:
    """Within it, the time spent in rounding to the grid, deciding what is near a boundary, and logging."""
    meter = Meter()
    with meter.timing(Recorder, "settle"):
        yield meter


@contextmanager
def log_timed() -> Iterator[Meter]:
    """Within it, the time spent for the log: finding which results of logged nodes are undecided, and writing,
    encoding, compressing and storing their values. The pass that finds them rounds them too, so that the log costs
    at most this."""
    meter = Meter()
    with (
        meter.timing(Recorder, "settle", lambda _, index, piece, out: piece.terms is None),
        meter.timing(log.Writer, "finish"),
        meter.timing(log, "encode"),
        meter.timing(TensorStore, "put_blob"),
    ):
        yield meter
