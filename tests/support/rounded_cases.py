"""Sums of FP32 numbers whose rounding is in doubt, or far from it; encodings, seeded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from support.floats import bits_of
from tao.numerics import float32
from tao.training import rules

ONE = 0x3F800000
NAN, NEGATIVE_NAN, NEGATIVE_INFINITY = 0x7FC00000, 0xFFC00001, 0xFF800000
LARGEST = 0x7F7FFFFF


def midpoint(place: int) -> Fraction:
    """Between the numbers of orders `place` and `place` + 1; beyond the largest, where infinity begins."""
    if place == float32.INFINITY - 1:
        return Fraction(2) ** 128 - Fraction(2) ** 103
    if place == -float32.INFINITY:
        return -midpoint(float32.INFINITY - 1)
    low, high = (float32.value(float32.encoding(p)) for p in (place, place + 1))
    return (low + high) / 2


def split(number: Fraction, parts: int) -> list[int]:
    """Encodings of float32 numbers with about that sum."""
    found = []
    for _ in range(parts):
        near = min(max(float32.nearest(number), -LARGEST), LARGEST)
        found.append(float32.encoding(near))
        number -= float32.value(found[-1])
    return found


def pairs(random: np.random.Generator, n: int) -> Iterator[tuple[list[int], list[int]]]:
    """Two runs of n numbers each."""
    a, b = random.normal(0, 1, (2, n))
    for scale in (1.0, 1e-20, 1e-30, 3e18):
        yield bits_of(a * scale), bits_of(b * scale)
    yield bits_of(a * 2.0 ** random.integers(-100, 100, n)), bits_of(b)
    yield bits_of(a * 2.0 ** random.integers(-12, 12, n)), bits_of(b)
    yield random.integers(0, 2**32, n).tolist(), random.integers(0, 2**32, n).tolist()
    subnormal = random.integers(0, 2**23, n) | random.integers(0, 2, n) << 31
    yield subnormal.tolist(), bits_of(b)
    yield bits_of(a * 1e-22), bits_of(b * 1e-22)
    yield bits_of(np.rint(a * 8)), bits_of(np.rint(b * 8))
    half = n // 2
    same, other = bits_of(a[:half]), bits_of(b[:half])
    rest = bits_of(a[: n - 2 * half])
    yield same + same + rest, other + bits_of(-b[:half]) + [0] * len(rest)
    tiny = bits_of(b[: n - 2 * half] * 1e-17)
    yield same + same + rest, other + bits_of(-b[:half]) + tiny
    yield [0] * n, bits_of(b)
    yield bits_of(np.full(n, 3.4e38)), bits_of(np.sign(a) * 1.0)


def steered(
    random: np.random.Generator, a: Sequence[int], b: Sequence[int]
) -> Iterator[tuple[list[int], list[int]]]:
    """The runs with lanes behind them that bring the sum to a midpoint, or a part of its magnitudes away."""
    start = rules.contraction(a, b)
    if start.mid is None or abs(start.mid) > 2**127:
        return
    magnitude = sum(
        (abs(float32.value(x) * float32.value(z)) for x, z in zip(a, b, strict=True)), Fraction(0)
    )
    # Where the sum cancels, a midpoint of the size of its terms, too.
    for place in {float32.nearest(start.mid), int(random.integers(2**23, 2**31 - 2**25))}:
        target = midpoint(place)
        if abs(target) > 2**126 and abs(start.mid) > 2**120:
            continue
        for digits in (None, 40, 50, 54, 60, 70):
            away = magnitude / 2**digits if digits else Fraction(0)
            lanes = split(target + away * int(random.choice([-1, 1])) - start.mid, 4)
            yield list(a) + lanes, list(b) + [ONE] * 4


def claims(random: np.random.Generator, zone: rules.Zone) -> list[int]:
    """Claimed elements on both sides of what a zone allows, and non-finite ones."""
    places = set()
    reach = zone.rad + zone.most
    for edge in () if zone.mid is None else (zone.mid, zone.mid - reach, zone.mid + reach):
        near = float32.nearest(edge)
        places |= {near - 1, near, near + 1}
    places = {p for p in places if abs(p) <= float32.INFINITY}
    others = {
        0,
        ONE,
        0x80000000,
        NAN,
        NEGATIVE_NAN,
        float32.INFINITY,
        NEGATIVE_INFINITY,
        int(random.integers(2**32)),
    }
    return sorted({float32.encoding(p) for p in places} | others)
