"""When a rounded element of a replayed step is provably wrong, in rationals (docs/protocol.md, section 7).

An operator's element has an exact real value S. A conforming device computes f in float64, |f - S| <= tau,
and rounds f to the nearest float32; a sum it rounds correctly. With u = 2^-53, tau is

    sum                        0: S is rounded to the nearest float32, and zeros are +0
    elementary function        c u |S|, c as in ROUNDOFFS
    one float64 operation      0: S stands for the correctly rounded float64 result, which is f
    division by a number       4 u |S|, as kernels may multiply by the rounded reciprocal

A recording ends where a sum or a logged result is not finite, so that no claim about one is honest. Single float64
operations give infinities and NaN as IEEE 754 has them, and a recording goes on.

Elements are float32 encodings. `order` makes them integers that are ordered as their values are: neighbours
differ by 1, both zeros are 0, and a NaN is beyond the infinities.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import numpy as np

INFINITY = 0x7F800000
SIGN = 1 << 31
NEGATIVE_ZERO = SIGN
FLOAT64_DIGITS = 53
WINDOW = 63
"""Shifts a term may take inside the contract's accumulators."""

ROUNDOFFS = {"exp": 6, "tanh": 6, "erf": 6, "sin": 6, "cos": 6, "log": 4, "sigmoid": 10}
"""c of each elementary function."""

RADIUS = Fraction(1, 2**51)
"""The contract knows elementary functions' values to this part of them."""

NOTHING = Fraction(0)
_LARGEST_ANGLE = 2**30
_SATURATION = 1024
_SMALLEST_NUMBER = 2.0**-500
"""Of a call, zero aside; the largest is below its inverse."""
_INFINITE = 2.0**1000
"""Rounds to infinity."""


def is_finite(bits: int) -> bool:
    return bits & INFINITY != INFINITY


def order(bits: int) -> int:
    return -(bits & ~SIGN) if bits & SIGN else bits


def encoding(place: int) -> int:
    """The float32 encoding of an order; +0 for 0."""
    return place if place >= 0 else SIGN | -place


def value(bits: int) -> Fraction:
    """Of a finite float32 encoding."""
    return Fraction(to_float(bits))


def nearest(number: Fraction) -> int:
    """The order of the float32 number nearest to a real one, ties to even."""
    if number == 0:
        return 0
    size = abs(number)
    place = max(_floor_log2(size), -126)
    if place > 127:
        rounded = INFINITY
    else:
        kept = _to_integer(size / Fraction(2) ** (place - 23))
        rounded = (place + 126 << 23) + kept
    return -rounded if number < 0 else rounded


def to_float64(number: Fraction) -> Fraction:
    """The number of 53 digits nearest to a real one, ties to even, with unbounded exponents."""
    if number == 0:
        return number
    unit = Fraction(2) ** (_floor_log2(abs(number)) - FLOAT64_DIGITS + 1)
    return _to_integer(number / unit) * unit


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
        reach = self.rad + self.most
        return not nearest(self.mid - reach) <= order(y) <= nearest(self.mid + reach)

    @property
    def is_split(self) -> bool:
        """Rule 3, omission: RN(S - tau) and RN(S + tau) differ, so that every honest log has the element."""
        if self.mid is None:
            return False
        reach = self.least - self.rad
        return nearest(self.mid - reach) < nearest(self.mid + reach)


# ---- sums ----


def product_window(a: Sequence[int], b: Sequence[int]) -> int:
    """The lowest window of Float32Dot that holds every product of two runs."""
    pairs = [(_unpack(x), _unpack(z)) for x, z in zip(a, b, strict=True)]
    return max([2, *(x[0] + z[0] - WINDOW for x, z in pairs if x[1] and z[1])])


def term_window(x: Sequence[int]) -> int:
    """The lowest window of RowSums that holds every number of a run."""
    return max(1, max(_unpack(bits)[0] for bits in x) - WINDOW)


def contraction(a: Sequence[int], b: Sequence[int], window: int = 2) -> Zone:
    """Of sum a_i b_i, as the contract knows it with a window; with the lowest one, 2, exactly, as there is no
    limit above a window here."""
    if not all(map(is_finite, (*a, *b))):
        return Zone(None)
    total = skipped = 0
    for x, z in zip(a, b, strict=True):
        (ex, mx), (ez, mz) = _unpack(x), _unpack(z)
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
        exponent, significand = _unpack(bits)
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


def to_float(bits: int) -> float:
    """Of a float32 encoding, infinite and NaN ones too."""
    return struct.unpack(">f", bits.to_bytes(4, "big"))[0]


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


def elementary(name: str, x: int, radius: Fraction = NOTHING) -> Zone | None:
    """Of an elementary function, its value known to `radius` of itself; None where nothing is known."""
    from flint import arb, ctx

    if abs(order(x)) > INFINITY:
        return Zone(None)
    if name in ("sin", "cos"):
        if not is_finite(x):
            return Zone(None)
        if abs(value(x)) > _LARGEST_ANGLE:
            return None
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


# ---- parts ----


def _unpack(bits: int) -> tuple[int, int]:
    """Biased exponent e and significand m of a float32: |x| = m 2^(e - 150); subnormals have e = 1."""
    exponent, fraction = bits >> 23 & 0xFF, bits & 0x7FFFFF
    return (exponent, fraction | 1 << 23) if exponent else (1, fraction)


def _floor_log2(number: Fraction) -> int:
    guess = number.numerator.bit_length() - number.denominator.bit_length()
    return guess if Fraction(2) ** guess <= number else guess - 1


def _to_integer(number: Fraction) -> int:
    """To nearest, ties to even."""
    return round(number)
