"""Sums of rows of float32 numbers in float64, and of their magnitudes, on the CPU in one compiled pass that widens
nothing in memory."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from tao.training.loops import Loop

_RUN = 1 << 15
"""Numbers added in one go, on one thread."""
_COLUMNS = 512
"""Columns added up side by side, so that their sums stay in the cache."""
_PARALLEL_FROM = 1 << 17
_WIDENED = 1 << 22
"""Numbers that an accelerator widens at a time."""


def row_sums(x: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of each row of x[R, T], in float64 and some order, and the sum of its magnitudes."""
    if x.device.type != "cpu":
        step = max(_WIDENED // max(len(x), 1), 1)
        parts = [part.double() for part in x.split(step, -1)]
        return tuple(sum(p.sum(-1) for p in some) for some in (parts, map(torch.abs, parts)))
    is_much = x.numel() >= _PARALLEL_FROM
    if x.T.is_contiguous() and not x.is_contiguous():
        found = _of_columns(x.T.numpy(), is_much)
    else:
        found = _of_rows(x.contiguous().numpy(), is_much)
    total, magnitudes = torch.from_numpy(found).sum(1)
    return total, magnitudes


def _of_rows(x: np.ndarray, is_much: bool) -> np.ndarray:
    """Of the rows, float64[2, parts, R]."""
    rows, terms = x.shape
    found = np.empty((2, max(-(-terms // _RUN), 1), rows))
    _ADD_ROWS.over(is_much)(x, *found)
    return found


def _of_columns(x: np.ndarray, is_much: bool) -> np.ndarray:
    """Of the columns, float64[2, parts, C]."""
    terms, columns = x.shape
    run = max(_RUN // min(columns, _COLUMNS), 1)
    found = np.zeros((2, -(-terms // run), columns))
    _ADD_COLUMNS.over(is_much)(x, run, *found)
    return found


@njit(fastmath={"reassoc", "nsz"})  # in the order that is fastest
def _add_run(x):
    total = magnitude = 0.0
    for k in range(x.size):
        value = np.float64(x[k])
        total += value
        magnitude += abs(value)
    return total, magnitude


@njit
def _add_rows_below(x, total, magnitude):
    for row in range(x.shape[0]):
        for k in range(x.shape[1]):
            value = np.float64(x[row, k])
            total[k] += value
            magnitude[k] += abs(value)


def _add_rows(x, totals, magnitudes):
    rows, parts = x.shape[0], totals.shape[0]
    for place in prange(rows * parts):
        row, part = divmod(np.int64(place), parts)
        run = x[row, part * _RUN : (part + 1) * _RUN]
        totals[part, row], magnitudes[part, row] = _add_run(run)


def _add_columns(x, run, totals, magnitudes):
    parts, blocks = totals.shape[0], -(-x.shape[1] // _COLUMNS)
    for place in prange(parts * blocks):
        part, block = divmod(np.int64(place), blocks)
        first, last = block * _COLUMNS, min((block + 1) * _COLUMNS, x.shape[1])
        rows = x[part * run : (part + 1) * run, first:last]
        _add_rows_below(rows, totals[part, first:last], magnitudes[part, first:last])


_ADD_ROWS, _ADD_COLUMNS = Loop(_add_rows), Loop(_add_columns)
