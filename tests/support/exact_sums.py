"""Exact sums of many FP32 numbers and of products of two: integers of each binade, put together at the end.

Nothing here is shared with the bounds that are tested against them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from flint import arb

from support.exact_elementwise import SMALLEST_NORMAL, UNIT_ROUNDOFF

_QUANTUM = -149
_HALF = 24


def parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finite float32 as m 2^(e - 149): integers m of 24 bits and a sign, and e."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).ravel()
    mantissas, exponents = (bits & 0x7FFFFF).astype(np.int64), (bits >> 23 & 0xFF).astype(np.int64)
    mantissas[exponents > 0] += 1 << 23
    return np.where(bits >> 31, -mantissas, mantissas), np.maximum(exponents, 1) - 1


def _total(mantissas: np.ndarray, exponents: np.ndarray, quantum: int) -> arb:
    """Of up to 2^20 numbers m 2^(e + quantum) with |m| < 2^49."""
    total = 0
    for digits, shift in ((mantissas >> _HALF, _HALF), (mantissas & (1 << _HALF) - 1, 0)):
        binades = np.zeros(int(exponents.max()) + 1, np.int64)
        np.add.at(binades, exponents, digits)
        total += sum(int(binades[e]) << int(e) + shift for e in np.flatnonzero(binades))
    return arb(total) * arb(2) ** quantum


@dataclass(frozen=True)
class Sums:
    """Of n terms x: S = sum x, T = sum |x|, D = sum |x| over terms with a subnormal factor."""

    n: int
    s: arb
    t: arb
    d: arb

    @classmethod
    def of(cls, x: np.ndarray) -> Sums:
        """Of finite float32 terms."""
        return cls._of(*parts(x), np.abs(x.ravel()) < 2.0**-126, _QUANTUM)

    @classmethod
    def of_products(cls, a: np.ndarray, b: np.ndarray) -> Sums:
        """Of the products of finite float32 factors."""
        (m, e), (k, f) = parts(a), parts(b)
        small = np.minimum(np.abs(a.ravel()), np.abs(b.ravel())) < 2.0**-126
        return cls._of(m * k, e + f, small, 2 * _QUANTUM)

    @classmethod
    def _of(cls, m: np.ndarray, e: np.ndarray, small: np.ndarray, quantum: int) -> Sums:
        sizes = np.abs(m)
        return cls(
            len(m), _total(m, e, quantum), _total(sizes, e, quantum), _total(sizes * small, e, quantum)
        )


def gamma(n: int) -> arb:
    """n u / (1 - n u)."""
    return n * UNIT_ROUNDOFF / (1 - n * UNIT_ROUNDOFF)


def sum_tolerance(sums: Sums) -> arb:
    return gamma(sums.n - 1) * sums.t + sums.n * SMALLEST_NORMAL + sums.d


def mean_tolerance(sums: Sums) -> arb:
    n = sums.n
    return (gamma(n + 2) * sums.t + (n + 1) * SMALLEST_NORMAL + sums.d) / n + 2 * SMALLEST_NORMAL


def dot_tolerance(sums: Sums) -> arb:
    n = sums.n
    return gamma(n) * sums.t + 2 * sums.d + (2 * n + 1) * SMALLEST_NORMAL
