"""When a rounded element of a replayed step is provably wrong, in rationals (docs/protocol.md, section 7).

An operator's element has an exact real value S. A conforming device computes f in float64, |f - S| <= tau,
and rounds f to the nearest float32; a sum it rounds correctly. With u = 2^-53, tau is

    sum                        0: S is rounded to the nearest float32, and zeros are +0
    elementary function        c u |S|, c as in ROUNDOFFS
    one float64 operation      0: S stands for the correctly rounded float64 result, which is f
    division by a number       4 u |S|, as kernels may multiply by the rounded reciprocal

A recording ends where a sum or a logged result is not finite, so that no claim about one is honest. Single float64
operations give infinities and NaN as IEEE 754 has them, and a recording goes on.

Elements are float32 encodings (see `tao.numerics.float32`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import isqrt

import numpy as np

from tao.numerics.float32 import (
    INFINITY,
    NEGATIVE_ZERO,
    SIGN,
    WINDOW,
    floor_log2,
    is_finite,
    nearest,
    order,
    to_float,
    unpack,
    value,
)

FLOAT64_DIGITS = 53

ROUNDOFFS = {"exp": 6, "tanh": 6, "erf": 6, "sin": 6, "cos": 6, "log": 4, "sigmoid": 10}
"""c of each elementary function, as `tao.numerics.bounds` has them for float32: what the documented worst cases of CPU
and CUDA libraries need (2 ulp is 4 u)."""

RADIUS = Fraction(1, 2**51)
"""The contract knows elementary functions' values to this part of them."""

NOTHING = Fraction(0)
_LARGEST_ANGLE = 2**30
_SATURATION = 1024
_SMALLEST_NUMBER = 2.0**-500
"""Of a call, zero aside; the largest is below its inverse."""
_INFINITE = 2.0**1000
"""Rounds to infinity."""


def to_float64(number: Fraction) -> Fraction:
    """The number of 53 digits nearest to a real one, ties to even, with unbounded exponents."""
    if number == 0:
        return number
    unit = Fraction(2) ** (floor_log2(abs(number)) - FLOAT64_DIGITS + 1)
    return round(number / unit) * unit  # to nearest, ties to even


@dataclass(frozen=True)
class Zone:
    """What is known of S, in [mid - rad, mid + rad], and of tau, in [least, most]. mid: None for what is no
    number. is_sum: whether it is of a sum, whose zeros are +0. may_break: whether recordings go on from a result
    that is not finite, as they do from arithmetic."""

    mid: Fraction | None
    rad: Fraction = NOTHING
    least: Fraction = NOTHING
    most: Fraction = NOTHING
    is_sum: bool = False
    may_break: bool = False

    def excludes(self, y: int) -> bool:
        """Rule 1, value: no number of [S - tau, S + tau] rounds to y, or no recording goes on from y."""
        if self.is_sum and y == NEGATIVE_ZERO or not self.may_break and not is_finite(y):
            return True
        if self.mid is None:
            return abs(order(y)) <= INFINITY  # a number
        lowest, highest = self._rounded
        return not lowest <= order(y) <= highest

    @cached_property
    def _rounded(self) -> tuple[int, int]:
        """The orders to which the ends of [S - tau, S + tau] round."""
        reach = self.rad + self.most
        return nearest(self.mid - reach), nearest(self.mid + reach)

    @cached_property
    def is_split(self) -> bool:
        """Rule 3, omission: RN(S - tau) and RN(S + tau) differ, so that every honest log has the element."""
        if self.mid is None:
            return False
        reach = self.least - self.rad
        return nearest(self.mid - reach) < nearest(self.mid + reach)


# ---- sums ----


def term_window(x: Sequence[int]) -> int:
    """The lowest window of RowSums that holds every number of a run."""
    return max(1, max(unpack(bits)[0] for bits in x) - WINDOW)


def contraction(a: Sequence[int], b: Sequence[int], window: int = 2) -> Zone:
    """Of sum a_i b_i, as the contract knows it with a window; with the lowest one, 2, exactly, as there is no
    limit above a window here."""
    if not all(map(is_finite, (*a, *b))):
        return Zone(None)
    total = skipped = 0
    for x, z in zip(a, b, strict=True):
        (ex, mx), (ez, mz) = unpack(x), unpack(z)
        if ex + ez >= window:
            units = mx * mz << ex + ez - window
            total += -units if (x ^ z) & SIGN else units
        elif mx and mz:
            skipped += 1 << 47
    return _sum(total, skipped, window - 300)


def row(x: Sequence[int], window: int = 1) -> Zone:
    """Of sum x_i, likewise with a window of RowSums."""
    if not all(map(is_finite, x)):
        return Zone(None)
    total = skipped = 0
    for bits in x:
        exponent, significand = unpack(bits)
        if exponent >= window:
            units = significand << exponent - window
            total += -units if bits & SIGN else units
        elif significand:
            skipped += 1 << 23
    return _sum(total, skipped, window - 150)


def _sum(total: int, skipped: int, exponent: int) -> Zone:
    unit = Fraction(2) ** exponent
    return Zone(total * unit, skipped * unit, is_sum=True)


# ---- elementwise ----


def arithmetic(name: str, a: int, b: float | None = None) -> Zone | None:
    """Of one float64 operation: `add sub rsub mul div` with a number b, as `.Tensor` or `.Scalar` overload,
    `sqrt.default` and `reciprocal.default` without. None where nothing is known."""
    word, overload = name.split(".")
    if overload == "Scalar" and b and not _SMALLEST_NUMBER <= abs(b) < 1 / _SMALLEST_NUMBER:
        return None
    x = to_float(a)
    limit = _in_float64(word, x, b)  # never infinite for finite numbers other than zero: these are in range
    if math.isnan(limit):
        return Zone(None, may_break=True)
    if math.isinf(limit):
        return Zone(Fraction(math.copysign(_INFINITE, limit)), may_break=True)
    if not math.isfinite(x) or b is not None and not math.isfinite(b):
        return Zone(Fraction(limit), may_break=True)
    result = to_float64(_ARITHMETIC[word](Fraction(x), None if b is None else Fraction(b)))
    tau = 4 * abs(result) / 2**FLOAT64_DIGITS if name == "div.Scalar" else NOTHING
    return Zone(result, NOTHING, tau, tau, may_break=True)


def _in_float64(word: str, x: float, b: float | None) -> float:
    with np.errstate(all="ignore"):
        return float(_ARITHMETIC[word](np.float64(x), None if b is None else np.float64(b)))


def _root(a: Fraction | np.float64, _: None) -> Fraction | np.float64:
    """To 53 digits the root itself: a digit behind many more tells that some were cut off."""
    if isinstance(a, np.float64):
        return np.sqrt(a)
    square = a * Fraction(4) ** 400
    root = isqrt(int(square))
    return Fraction(2 * root + (root * root != square), 2) / 2**400


_ARITHMETIC: dict[str, Callable] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "rsub": lambda a, b: b - a,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "reciprocal": lambda a, _: 1 / a,
    "sqrt": _root,
}


def elementary(name: str, x: int, radius: Fraction = NOTHING) -> Zone:
    """Of an elementary function, its value known to `radius` of itself; of a sine or cosine beyond 2^30, where
    reductions of the argument differ, that it is from -1 to 1."""
    from flint import arb, ctx

    if abs(order(x)) > INFINITY:
        return Zone(None)
    if name in ("sin", "cos"):
        if not is_finite(x):
            return Zone(None)
        if abs(value(x)) > _LARGEST_ANGLE:
            return Zone(NOTHING, Fraction(1))
    if name == "log" and (order(x) <= 0 or not is_finite(x)):
        return Zone(None)
    number = value(x) if is_finite(x) else Fraction(math.copysign(_SATURATION, order(x)))
    if name in ("exp", "sigmoid"):  # beyond, RN is 0, 1 or infinite
        number = max(min(number, Fraction(_SATURATION)), Fraction(-_SATURATION))
    before, ctx.prec = ctx.prec, 640
    try:
        argument = arb(number.numerator) / arb(number.denominator)
        result = 1 / (1 + (-argument).exp()) if name == "sigmoid" else getattr(argument, name)()
        significand, exponent = result.mid().man_exp()
    finally:
        ctx.prec = before
    exact = Fraction(int(significand)) * Fraction(2) ** int(exponent)
    c = ROUNDOFFS[name] * abs(exact) / 2**FLOAT64_DIGITS
    return Zone(exact, radius * abs(exact), c * (1 - radius), c * (1 + radius))
