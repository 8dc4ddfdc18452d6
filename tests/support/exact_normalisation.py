"""The tolerance rule of normalisations (Normalisation.sol) in Arb's ball arithmetic of 640 bits, which holds
sums of FP32 numbers and of their squares exactly.

f, tau and the largest intermediate result; arguments are FP32 encodings. An independent statement of the
rule: nothing here is shared with the contracts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from flint import arb

from support.exact_elementwise import OVERFLOW, SMALLEST_NORMAL, UNIT_ROUNDOFF, Bound, decided, value

SECOND_ORDER = 1 + arb(2) ** -7
ONE = arb(1)


@dataclass(frozen=True)
class Row:
    """Exact sums over a row of n numbers: of x, |x| and x^2."""

    n: int
    total: arb
    magnitude: arb
    squares: arb

    @staticmethod
    def of(words: Sequence[int]) -> Row:
        """The sums of finite FP32 encodings."""
        bits = np.asarray(words, np.uint32)
        mantissas = (bits & 0x7FFFFF).astype(np.int64)
        exponents = (bits >> 23 & 0xFF).astype(np.int64)
        mantissas[exponents > 0] += 0x800000
        shifts = np.maximum(exponents, 1) - 1  # in units of 2^-149
        sizes = [m << e for m, e in zip(mantissas.tolist(), shifts.tolist(), strict=True)]
        signed = [-size if sign else size for size, sign in zip(sizes, (bits >> 31).tolist(), strict=True)]
        unit = arb(2) ** -149
        squares = sum(size * size for size in sizes)
        return Row(len(words), arb(sum(signed)) * unit, arb(sum(sizes)) * unit, arb(squares) * unit**2)

    @property
    def mean(self) -> arb:
        return self.total / self.n

    @property
    def square(self) -> arb:
        return self.squares / self.n

    @property
    def variance(self) -> arb:
        """By the exact n sum x^2 - (sum x)^2: the difference may be 0."""
        return (self.n * self.squares - self.total**2) / self.n**2


def gamma(k: int) -> arb:
    return k * UNIT_ROUNDOFF / (1 - k * UNIT_ROUNDOFF)


def _below(a: arb, b: arb) -> bool:
    return decided(a < b, a >= b)


def _root(row: Row, variance: arb, deviation: arb, epsilon: int) -> tuple[arb, arb] | None:
    """r and R, or None where nothing is refuted."""
    if epsilon >> 31 or not _below(row.n * row.squares, arb(2) ** 126):
        return None
    width = variance + value(epsilon)
    if not _below(arb(0), width) or not _below(width, OVERFLOW):
        return None
    rho = (deviation + (4 * row.n + 16) * SMALLEST_NORMAL) / width + 3 * UNIT_ROUNDOFF
    if not _below(rho, ONE / 2):
        return None
    return 1 / width.sqrt(), 1 / (1 - rho).sqrt() - 1 + 6 * UNIT_ROUNDOFF


def _bound(z: arb, size: arb, root: arb, weight: arb, bias: arb, tolerance: arb) -> Bound:
    flushed = SMALLEST_NORMAL * (5 + 2 * size + 3 * abs(weight) + abs(z))
    largest = (1 + root) * (1 + abs(weight)) * (1 + size) + abs(bias)
    return Bound(z * weight + bias, tolerance + flushed, largest)


def layer_bound(row: Row, x: int, weight: int, bias: int, epsilon: int) -> Bound | None:
    """One element of a layer or group normalisation, or None where nothing is refuted."""
    error = gamma(row.n + 9 + 2 * (row.n.bit_length() - 1))
    found = _root(row, row.variance, 3 * (error + UNIT_ROUNDOFF) * (1 + error) * row.square, epsilon)
    if found is None:
        return None
    r, R = found
    number, w, b = value(x), value(weight), value(bias)
    size = abs(number) + abs(row.mean)
    z = (number - row.mean) * r
    inner = error * row.magnitude / row.n + 4 * UNIT_ROUNDOFF * size + (2 * row.n + 6) * SMALLEST_NORMAL
    tolerance = abs(w) * (r * (1 + R) * inner + R * abs(z)) + 2 * UNIT_ROUNDOFF * abs(b)
    return _bound(z, size, r * (1 + R), w, b, SECOND_ORDER * tolerance)


def rms_bound(row: Row, x: int, weight: int, bias: int, epsilon: int) -> Bound | None:
    """One element of an RMS normalisation (bias is zero), or None where nothing is refuted."""
    found = _root(row, row.square, gamma(row.n + 4) * row.square, epsilon)
    if found is None:
        return None
    r, R = found
    number, w = value(x), value(weight)
    z = number * r
    tolerance = SECOND_ORDER * abs(z * w) * (R + 4 * UNIT_ROUNDOFF)
    tolerance += 4 * SMALLEST_NORMAL * r * (1 + R) * abs(w)
    return _bound(z, abs(number), r * (1 + R), w, value(bias), tolerance)


def batch_bound(x: int, weight: int, bias: int, epsilon: int, mean: int, variance: int) -> Bound | None:
    """One element of a batch normalisation in inference, or None where nothing is refuted."""
    width = value(variance) + value(epsilon)
    if variance >> 31 or epsilon >> 31 or width < arb(2) ** -98 or width >= OVERFLOW:
        return None
    r = 1 / width.sqrt()
    number, w, b, m = value(x), value(weight), value(bias), value(mean)
    size = abs(number) + abs(m)
    tolerance = 12 * UNIT_ROUNDOFF * (r * abs(w) * size + abs(b)) + 4 * SMALLEST_NORMAL * r * abs(w)
    return _bound((number - m) * r, size, 2 * r, w, b, tolerance)
