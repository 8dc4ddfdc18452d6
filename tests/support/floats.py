"""FP32 numbers and their encodings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from flint import arb


def bits_of(values: np.ndarray | Sequence[float]) -> list[int]:
    """The encodings of the FP32 numbers nearest to some numbers."""
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float32).view(np.uint32).tolist()


def floats_of(bits: Sequence[int]) -> np.ndarray:
    """The FP32 numbers of encodings."""
    return np.asarray(bits, np.uint32).view(np.float32)


def around(target: arb) -> Iterator[int]:
    """The FP32 number nearest to the target, and its neighbours."""
    with np.errstate(over="ignore"):
        center = np.float32(float(target.mid()))
        ends = np.float32(-np.inf), center, np.float32(np.inf)
        yield from bits_of([np.nextafter(center, end) for end in ends])
