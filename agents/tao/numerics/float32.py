"""Float32 numbers as their encodings, taken apart, ordered and rounded to.

`order` makes encodings integers that are ordered as their values are: neighbours differ by 1, both zeros are 0, and
a NaN is beyond the infinities.
"""

import struct
from fractions import Fraction

import torch
from torch import Tensor

INFINITY = 0x7F800000
SIGN = 1 << 31
NEGATIVE_ZERO = SIGN
ONE = 127 << 23
"""The encoding of 1.0."""
WINDOW = 63
"""Shifts that a term may take inside the contracts' accumulators."""


def float_bits(values: Tensor) -> list[int]:
    """The IEEE encodings of a float32 tensor's elements, in row-major order."""
    return [word & 0xFFFFFFFF for word in values.detach().contiguous().view(torch.int32).flatten().tolist()]


def to_float(bits: int) -> float:
    """Of an encoding, infinite and NaN ones too."""
    return struct.unpack(">f", bits.to_bytes(4, "big"))[0]


def value(bits: int) -> Fraction:
    """Of a finite encoding."""
    return Fraction(to_float(bits))


def unpack(bits: int) -> tuple[int, int]:
    """Biased exponent e and significand m: |x| = m 2^(e - 150); subnormals have e = 1."""
    exponent, fraction = bits >> 23 & 0xFF, bits & 0x7FFFFF
    return (exponent, fraction | 1 << 23) if exponent else (1, fraction)


def is_finite(bits: int) -> bool:
    return bits & INFINITY != INFINITY


def is_subnormal(bits: int) -> bool:
    """Whether the magnitude is below 2^-126; true of zeros."""
    return bits & INFINITY == 0


def order(bits: int) -> int:
    return -(bits & ~SIGN) if bits & SIGN else bits


def encoding(place: int) -> int:
    """The encoding of an order; +0 for 0."""
    return place if place >= 0 else SIGN | -place


def nearest(number: Fraction) -> int:
    """The order of the float32 number nearest to a real one, ties to even."""
    if number == 0:
        return 0
    place = max(floor_log2(abs(number)), -126)
    if place > 127:
        rounded = INFINITY
    else:
        # In whole numbers: fractions take many times as long.
        top, bottom, unit = abs(number.numerator), number.denominator, place - 23
        kept, rest = divmod(top << max(-unit, 0), whole := bottom << max(unit, 0))
        kept += 2 * rest > whole or 2 * rest == whole and kept & 1  # to nearest, ties to even
        rounded = (place + 126 << 23) + kept
    return -rounded if number < 0 else rounded


def floor_log2(number: Fraction) -> int:
    """Of a positive number."""
    top, bottom = number.numerator, number.denominator
    guess = top.bit_length() - bottom.bit_length()
    return guess if bottom << max(guess, 0) <= top << max(-guess, 0) else guess - 1
