"""How much of a recorded step is rounding."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tao.training import policies


class Meter:
    """Seconds spent since they were last taken."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def take(self) -> float:
        taken, self.seconds = self.seconds, 0.0
        return taken


@contextmanager
def rounding_timed() -> Iterator[Meter]:
    """Within it, the time spent in rounding to the grid and looking for what is near a boundary."""
    meter, original = Meter(), policies.round_to_grid

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.monotonic()
        try:
            return original(*args, **kwargs)
        finally:
            meter.seconds += time.monotonic() - start

    policies.round_to_grid = timed
    try:
        yield meter
    finally:
        policies.round_to_grid = original
