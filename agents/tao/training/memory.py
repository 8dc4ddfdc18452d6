"""Memory for the large tensors of a step.

The system clears every page that it hands out, which costs more than most of what is computed in it. So on the
CPU the memory of large tensors is kept when they are gone, and lent to the next ones.
"""

from __future__ import annotations

import math
import mmap
import os
import weakref

import numpy as np
import torch
from torch import Tensor

_LENT_FROM = 1 << 20
"""Bytes. Smaller tensors are in good hands with the allocator."""
_TOO_LARGE = 2
"""A block is lent where less than this many times as much is wanted as it has."""
_KEPT = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
"""Bytes that lie idle at most when more is asked of the system."""

_idle: dict[int, list[np.ndarray]] = {}
"""Blocks that no tensor uses, by size."""


def empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A contiguous tensor of any values. Raises MemoryError where there is no memory."""
    size = math.prod(shape) * dtype.itemsize
    if device.type != "cpu" or size < _LENT_FROM:
        return torch.empty(shape, dtype=dtype, device=device)
    held = min(
        (s for s, blocks in list(_idle.items()) if blocks and size <= s < _TOO_LARGE * size), default=size
    )
    blocks = _idle.setdefault(held, [])
    try:
        block = blocks.pop()
    except IndexError:
        block = _fresh(held)
    lent = block[:size]
    # The tensor's storage holds `lent` and is held by whatever shares it. When `lent` goes, the block is idle.
    weakref.finalize(lent, blocks.append, block).atexit = False
    return torch.from_numpy(lent).view(dtype).view(shape)


def wide(x: Tensor) -> Tensor:
    """x in float64, laid out alike."""
    strides = torch.empty_like(x, device="meta").stride()
    return empty(tuple(x.shape), torch.float64, x.device).as_strided(x.shape, strides).copy_(x)


def release() -> None:
    """Give the system back what no tensor uses, now or as soon as it does not."""
    global _idle
    _idle = {}  # what is lent comes back to lists that nobody else knows


def _fresh(size: int) -> np.ndarray:
    if sum(held * len(blocks) for held, blocks in list(_idle.items())) > _KEPT:
        release()
    try:
        return _mapped(size)
    except OSError:
        release()
    try:
        return _mapped(size)
    except OSError as error:
        raise MemoryError(f"the system has no {size} bytes left for a tensor") from error


def _mapped(size: int) -> np.ndarray:
    return np.frombuffer(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)
