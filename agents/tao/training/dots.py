"""Sums of products to twice float64's precision, compiled: the ones that decide how a product is rounded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numba import njit, prange, types
from torch import Tensor

from tao.training.loops import Loop
from tao.training.zones import bounded_total, gamma

_SIDE = 8
"""Sums that run side by side, as each addition waits for the one before it."""
_GROUP = 256
"""Elements of which some lanes are added, then the next ones, so that they share what is read."""
_TURN = 512
"""Lanes added before the next element's; a multiple of `_SIDE`."""
_PARALLEL_FROM = 1 << 16
"""Products that are worth a second thread."""
_MATRICES = types.Array(types.float64, 3, "A", readonly=True)
_NUMBERS = types.float64[::1]


class Dots(NamedTuple):
    """Exact sums S of products, as |S - (high + low)| <= lost, float64[n] each."""

    high: Tensor
    low: Tensor
    lost: Tensor


def dots(left: Tensor, right: Tensor, places: Tensor) -> Dots:
    """Of the elements of left @ right, float64[B, M, K] and [B, K, N] of finite float32 numbers on the CPU, at
    some places, by row-major index.

    As `Dot2`, but that products are exact here (Ogita, Rump and Oishi, 2005, "Accurate sum and dot product",
    proposition 5.5): what the K additions lose is at most gamma_K T, T = sum |x|, and adding that up loses
    gamma_K of it.
    """
    high, low, total = np.empty((3, len(places)))
    add = _DOTS.over(len(places) * left.shape[-1] >= _PARALLEL_FROM)
    add(left.numpy(), right.numpy(), places.contiguous().numpy(), high, low, total)
    additions = left.shape[-1] + 3 * _SIDE  # adding up what runs side by side takes no more
    scale = gamma(additions) ** 2
    lost = bounded_total(torch.from_numpy(total), additions) * scale
    return Dots(torch.from_numpy(high), torch.from_numpy(low), lost)


@njit(inline="always")
def _error(a: float, b: float) -> float:
    """What fl(a + b) is off by (Knuth)."""
    total = a + b
    other = total - a
    return (a - (total - other)) + (b - other)


def _dots(left, right, places, high, low, total):
    """Write the sum of each element's products, what its additions lost, and T."""
    rows, width, lanes = left.shape[1], right.shape[2], left.shape[2]
    for group in prange(-(-places.size // _GROUP)):
        first = group * _GROUP
        count = min(_GROUP, places.size - first)
        sums, errors, totals = np.zeros((3, count, _SIDE))
        for start in range(0, lanes, _TURN):
            for each in range(count):
                row, column = divmod(places[first + each], width)
                batch, row = divmod(row, rows)
                s, e, t = sums[each], errors[each], totals[each]
                for k in range(start, min(start + _TURN, lanes), _SIDE):
                    for lane in range(min(_SIDE, lanes - k)):
                        x = left[batch, row, k + lane] * right[batch, k + lane, column]
                        e[lane] += _error(s[lane], x)
                        s[lane] += x
                        t[lane] += abs(x)
        for each in range(count):
            whole = rest = 0.0
            for lane in range(_SIDE):
                rest += errors[each, lane] + _error(whole, sums[each, lane])
                whole += sums[each, lane]
            high[first + each], low[first + each], total[first + each] = whole, rest, totals[each].sum()


_PLACES = types.Array(types.int64, 1, "C", readonly=True)
_DOTS = Loop(_dots, types.void(_MATRICES, _MATRICES, _PLACES, *[_NUMBERS] * 3))
