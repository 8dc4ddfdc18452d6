"""Sums of rows of float32 numbers in float64, and of their magnitudes, on the CPU in one compiled pass that widens
nothing in memory."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numba import njit
from torch import Tensor

from tao.tensors.threads import over_ranges

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
    threads = torch.get_num_threads() if x.numel() >= _PARALLEL_FROM else 1
    if x.T.is_contiguous() and not x.is_contiguous():
        found = _of_columns(x.T.numpy(), threads)
    else:
        found = _of_rows(x.contiguous().numpy(), threads)
    total, magnitudes = torch.from_numpy(found).sum(1)
    return total, magnitudes


def _of_rows(x: np.ndarray, threads: int) -> np.ndarray:
    """Of the rows, float64[2, parts, R]."""
    rows, terms = x.shape
    found = np.empty((2, max(-(-terms // _RUN), 1), rows))
    over_ranges(partial(_add_rows, x, *found), rows * found.shape[1], threads)
    return found


def _of_columns(x: np.ndarray, threads: int) -> np.ndarray:
    """Of the columns, float64[2, parts, C]."""
    terms, columns = x.shape
    run = max(_RUN // min(columns, _COLUMNS), 1)
    found = np.zeros((2, -(-terms // run), columns))
    places = found.shape[1] * -(-columns // _COLUMNS)
    over_ranges(partial(_add_columns, x, run, *found), places, threads)
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


@njit(nogil=True, cache=True)
def _add_rows(x, totals, magnitudes, start, stop):
    parts = totals.shape[0]
    for place in range(start, stop):
        row, part = divmod(place, parts)
        run = x[row, part * _RUN : (part + 1) * _RUN]
        totals[part, row], magnitudes[part, row] = _add_run(run)


@njit(nogil=True, cache=True)
def _add_columns(x, run, totals, magnitudes, start, stop):
    blocks = -(-x.shape[1] // _COLUMNS)
    for place in range(start, stop):
        part, block = divmod(place, blocks)
        first, last = block * _COLUMNS, min((block + 1) * _COLUMNS, x.shape[1])
        rows = x[part * run : (part + 1) * run, first:last]
        _add_rows_below(rows, totals[part, first:last], magnitudes[part, first:last])
