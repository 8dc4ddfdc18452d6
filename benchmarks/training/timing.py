"""How much of a recorded step is rounding."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tao.training.policies import Recorder


class Meter:
    """Seconds spent since they were last taken."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def take(self) -> float:
        taken, self.seconds = self.seconds, 0.0
        return taken


@contextmanager
def rounding_timed() -> Iterator[Meter]:
    """Within it, the time spent in rounding to the grid, deciding what is near a boundary, and logging."""
    meter, original = Meter(), Recorder.settle

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.monotonic()
        try:
            return original(*args, **kwargs)
        finally:
            meter.seconds += time.monotonic() - start

    Recorder.settle = timed
    try:
        yield meter
    finally:
        Recorder.settle = original
