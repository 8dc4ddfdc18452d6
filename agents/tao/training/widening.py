"""Float32 matrices in float64 with the norms of their rows or columns, on the CPU in one compiled pass."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from tao.training import memory, zones
from tao.training.loops import Loop

_COLUMNS = 512
"""Columns whose squares are added up side by side, so that their sums stay in the cache."""
_RUN = 1 << 15
"""Numbers of which squares are added in one go, on one thread."""
_PARALLEL_FROM = 1 << 17


def widened(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """x[B, M, N], float32, in float64, and at least the 2-norms along a dimension, -1 or -2: float64[B, M] or [B, N].

    Each matrix lies in memory as it did.
    """
    is_turned = x.stride(-1) != 1
    rows = x.mT if is_turned else x
    if x.device.type != "cpu" or rows.stride(-1) != 1 or not x.numel():
        wide = memory.wide(x)
        return wide, zones.norms(wide, dim)
    wide = memory.empty(tuple(rows.shape), torch.float64, x.device)
    add = _squares_of_rows if (dim == -1) is not is_turned else _squares_of_columns
    squares = torch.from_numpy(add(rows, wide))
    return wide.mT if is_turned else wide, zones.bounded_total(squares.sqrt_(), x.shape[dim])


def _squares_of_rows(x: Tensor, wide: Tensor) -> np.ndarray:
    """Widen, and add up the squares of each row, float64[B, M]."""
    squares = np.empty(x.shape[:2])
    _WIDEN_ROWS.over(x.numel() >= _PARALLEL_FROM)(_flat(x), x.stride(), wide.numpy(), squares)
    return squares


def _squares_of_columns(x: Tensor, wide: Tensor) -> np.ndarray:
    """Widen, and add up the squares of each column, float64[B, N]."""
    batch, rows, columns = x.shape
    run = max(_RUN // min(columns, _COLUMNS), 1)
    squares = np.zeros((-(-rows // run), batch, columns))
    _WIDEN_COLUMNS.over(x.numel() >= _PARALLEL_FROM)(_flat(x), x.stride(), run, wide.numpy(), squares)
    return squares.sum(0)


def _flat(x: Tensor) -> np.ndarray:
    """The memory from the first element to the last, so that the compiler sees neighbours where there are some."""
    last = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
    return x.as_strided((last + 1,), (1,)).numpy()


@njit(fastmath={"reassoc", "nsz", "contract"})  # in the order that is fastest
def _widen_run(x, wide):
    total = 0.0
    for k in range(wide.size):
        value = np.float64(x[k])
        wide[k] = value
        total += value * value
    return total


@njit(fastmath={"contract"})
def _widen_below(x, wide, squares):
    for k in range(wide.size):
        value = np.float64(x[k])
        wide[k] = value
        squares[k] += value * value


def _widen_rows(x, strides, wide, squares):
    batch, rows, columns = wide.shape
    for place in prange(batch * rows):
        matrix, row = divmod(np.int64(place), rows)
        first = matrix * strides[0] + row * strides[1]
        squares[matrix, row] = _widen_run(x[first : first + columns], wide[matrix, row])


def _widen_columns(x, strides, run, wide, squares):
    batch, rows, columns = wide.shape
    parts, blocks = squares.shape[0], -(-columns // _COLUMNS)
    for place in prange(batch * parts * blocks):
        rest, block = divmod(np.int64(place), blocks)
        matrix, part = divmod(rest, parts)
        start = block * _COLUMNS
        stop = min(start + _COLUMNS, columns)
        for row in range(part * run, min((part + 1) * run, rows)):
            first = matrix * strides[0] + row * strides[1]
            here = wide[matrix, row, start:stop]
            _widen_below(x[first + start : first + stop], here, squares[part, matrix, start:stop])


_WIDEN_ROWS, _WIDEN_COLUMNS = Loop(_widen_rows), Loop(_widen_columns)
