"""The form of a rounding log as a value of a step's graph: int64[2, capacity].

Row 0: keys `node << 40 | element`, strictly ascending, then 2^63 - 1. Row 1: the float32 encodings
(0 .. 2^32 - 1) of the rounded values, then 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

ELEMENT_BITS = 40
END = 2**63 - 1
"""The key of the entries that a log does not have: it sorts after every other."""


def empty(capacity: int) -> Tensor:
    """A log without entries, int64[2, capacity]."""
    return torch.tensor([[END], [0]]).repeat(1, capacity)
