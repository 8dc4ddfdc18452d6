"""Writes vectors/dot.bin and theta.bin: claimed elements of contractions, and whether they are out of
tolerance or exceed a calibrated constant.

The verdicts come from exact rationals alone, by the rules of docs/protocol.md, section 4. A case is
`window:uint16 lanes:uint16 hasBias:uint8 expected:uint8 y:uint32 bias:uint32 a:uint32*lanes b:uint32*lanes`,
big-endian, all numbers as FP32 encodings; in theta.bin theta:uint32, Q16.16, stands before `a`.
"""

import argparse
from collections.abc import Callable
from fractions import Fraction
from math import isqrt
from pathlib import Path
from random import Random
from struct import pack
from typing import NamedTuple

# "Within tolerance" stands for "does not exceed theta" in theta.bin.
ACCEPT = 0  # within tolerance, good window: returns false
REFUTE = 1  # out of tolerance by more than one part in 2^20, good window: returns true
NEVER = 2  # within tolerance, hostile window: returns false or reverts
NON_FINITE = 3  # an operand is infinite or NaN: reverts

INFINITY = 0x7F800000
SPECIAL = (INFINITY, 0xFF800000, 0x7FC00000, 0x7F800001, 0, 1 << 31, 1, 0x80000001, 0x7F7FFFFF, 0xFF7FFFFF)
KINDS = ("usual", "usual", "wide", "tiny", "subnormal", "large", "huge", "sparse")
PATH = Path(__file__).parent / "vectors" / "dot.bin"
THETA_PATH = PATH.with_name("theta.bin")
HAIR = 1 + Fraction(1, 1 << 10)  # beyond theta by this factor it is provable, whatever theta
THETAS = (1, 1 << 16, 1 << 16, 3 << 16, 9 << 16, 9 << 16, 171 << 16, (1 << 32) - 1, None, None)


class Case(NamedTuple):
    window: int
    expected: int
    y: int
    bias: int | None
    a: list[int]
    b: list[int]
    theta: int | None = None

    def packed(self) -> bytes:
        head = pack(">HHBB", self.window, len(self.a), self.bias is not None, self.expected)
        theta = () if self.theta is None else (self.theta,)
        words = (self.y, self.bias or 0, *theta, *self.a, *self.b)
        return head + pack(f">{len(words)}I", *words)


def is_finite(bits: int) -> bool:
    return bits & INFINITY != INFINITY


def exponent(bits: int) -> int:
    return max(bits >> 23 & 0xFF, 1)


def value(bits: int) -> Fraction:
    mantissa = bits & 0x7FFFFF | (0x800000 if bits & INFINITY else 0)
    return (-1 if bits >> 31 else 1) * mantissa * Fraction(2) ** (exponent(bits) - 150)


def nearest(x: Fraction) -> int:
    """The FP32 number nearest to x, ties to even; infinite beyond the range."""
    sign, x = (1 << 31 if x < 0 else 0), abs(x)
    if x == 0:
        return sign
    scale = max(x.numerator.bit_length() - x.denominator.bit_length() - 24, -149)
    while x >= Fraction(2) ** (scale + 24):
        scale += 1
    mantissa = round(x / Fraction(2) ** scale)
    if mantissa == 1 << 24:
        mantissa, scale = mantissa >> 1, scale + 1
    if scale > 104:
        return sign | INFINITY
    return sign | (mantissa if mantissa < 1 << 23 else (scale + 150 << 23) + mantissa - (1 << 23))


def tolerance(lanes: list[tuple[int, int]]) -> tuple[Fraction, Fraction, Fraction]:
    """S, T and the bound of |y - S|."""
    products = [(value(x) * value(z), not (x & INFINITY and z & INFINITY)) for x, z in lanes]
    total = sum((abs(p) for p, _ in products), Fraction(0))
    subnormal = sum((abs(p) for p, small in products if small), Fraction(0))
    n, u = len(lanes), Fraction(1, 1 << 24)
    bound = n * u / (1 - n * u) * total + 2 * subnormal + (2 * n + 1) * Fraction(2) ** -126
    return sum((p for p, _ in products), Fraction(0)), total, bound


def exceeds(y: int, lanes: list[tuple[int, int]], theta: int) -> tuple[bool, Fraction]:
    """Whether a finite y exceeds theta, and the deviation at which one does, to 2^-80 of it."""
    products = [value(x) * value(z) for x, z in lanes]
    flushed = sum(
        (abs(p) for p, (x, z) in zip(products, lanes, strict=True) if not (x & INFINITY and z & INFINITY)),
        Fraction(0),
    )
    n = len(lanes)
    slack = 2 * flushed + (2 * n + 1) * Fraction(2) ** -126
    square = Fraction(theta, 1 << 40) ** 2 * n * sum((p * p for p in products), Fraction(0))
    beyond = abs(value(y) - sum(products, Fraction(0))) - slack
    scale = 1 << 700  # squares of products are above 2^-600
    return beyond > 0 and beyond**2 > square, slack + Fraction(isqrt(int(square * scale**2)), scale)


def good_window(lanes: list[tuple[int, int]]) -> int:
    return max([2, *(exponent(x) + exponent(z) - 63 for x, z in lanes if value(x) * value(z))])


class Generator(Random):
    """Uses only `random` and `getrandbits`, whose sequences Python keeps."""

    def below(self, count: int) -> int:
        return int(self.random() * count)

    def pick(self, options):
        return options[self.below(len(options))]

    def number(self, kind: str) -> int:
        low, high = {
            "usual": (110, 136), "wide": (0, 255), "tiny": (0, 41), "large": (180, 255), "huge": (250, 255),
            "subnormal": (0, 1) if self.random() < 0.7 else (0, 31), "sparse": (120, 131),
        }[kind]  # fmt: skip
        sign, chance = self.getrandbits(1) << 31, self.random()
        if kind == "sparse" and chance < 0.5:
            return sign
        mantissa = 0 if chance > 0.95 else 0x7FFFFF if chance > 0.9 else self.getrandbits(23)
        return sign | low + self.below(high - low) << 23 | mantissa

    def operands(self) -> tuple[list[int], list[int], int | None]:
        count = 1 + self.below(self.pick((8, 24, 24, 70)))
        kinds = self.pick(KINDS), self.pick(KINDS)
        a, b = ([self.number(kind) for _ in range(count)] for kind in kinds)
        if self.random() < 0.5:  # the second half cancels the first, but for a few bits
            half = count // 2
            a[half : 2 * half] = [x ^ 1 << 31 for x in a[:half]]
            b[half : 2 * half] = b[:half]
            for _ in range(self.below(4)):
                a[self.below(count)] ^= self.getrandbits(3)
        bias = self.number(self.pick(KINDS)) if self.random() < 0.3 else None
        return a, b, bias

    def claim(self, exact: Fraction, bound: Fraction) -> int:
        chance = self.random()
        if chance < 0.1:
            return nearest(exact)
        if chance < 0.75:  # from twice the bound to 1e-9 of it, on both sides
            edge = 1 + self.pick((-1, 1)) * Fraction(1, 1 << self.below(31))
            return nearest(exact + self.pick((-1, 1)) * edge * bound)
        if chance < 0.85:
            return self.number("wide")
        if chance < 0.9:
            return self.pick(SPECIAL)
        return nearest(exact * (1 + Fraction(self.below(21) - 10, 1 << 24)))

    def case(self) -> Case | None:
        """A random case, or None where nothing is promised of it."""
        a, b, bias, lanes = self.lanes()
        if not all(is_finite(x) and is_finite(z) for x, z in lanes):
            return Case(2 + self.below(507), NON_FINITE, self.number("usual"), bias, a, b)
        exact, total, bound = tolerance(lanes)
        window, y = good_window(lanes), self.claim(exact, bound)
        # How far outside tolerance: at most 1 is inside.
        ratio = abs(value(y) - exact) / bound if is_finite(y) else 2**127 / (total + bound)
        inside = ratio <= 1
        if self.random() < 0.25:
            window = self.hostile(window)
            return Case(window, NEVER, y, bias, a, b) if inside else None
        if not inside and ratio < 1 + Fraction(1, 1 << 20):
            return None
        return Case(window, ACCEPT if inside else REFUTE, y, bias, a, b)

    def calibrated_case(self) -> Case | None:
        """A random case of theta, or None where nothing is promised of it."""
        a, b, bias, lanes = self.lanes()
        theta = self.pick(THETAS)
        theta = 1 + self.below(1 << 24) if theta is None else theta
        if not all(is_finite(x) and is_finite(z) for x, z in lanes):
            return Case(2 + self.below(507), NON_FINITE, self.number("usual"), bias, a, b, theta)
        exact, window = tolerance(lanes)[0], good_window(lanes)
        _, bound = exceeds(0, lanes, theta)
        y = self.claim(exact, bound)
        if self.random() < 0.02:
            theta = 0
        beyond = theta != 0 and is_finite(y) and exceeds(y, lanes, theta)[0]
        if self.random() < 0.25:
            return None if beyond else Case(self.hostile(window), NEVER, y, bias, a, b, theta)
        if beyond and abs(value(y) - exact) < bound * HAIR:
            return None
        return Case(window, REFUTE if beyond else ACCEPT, y, bias, a, b, theta)

    def lanes(self) -> tuple[list[int], list[int], int | None, list[tuple[int, int]]]:
        """Operands, of which now and then one is not finite, and all pairs of factors with the bias's."""
        a, b, bias = self.operands()
        if self.random() < 0.02:
            self.pick((a, b))[self.below(len(a))] = self.pick(SPECIAL[:4])
        return a, b, bias, [*zip(a, b, strict=True), *([] if bias is None else [(bias, 0x3F800000)])]

    def hostile(self, window: int) -> int:
        return min(max(window + self.below(101) - 40, 2), 508)


def generate(seed: int, count: int, draw: Callable[[Generator], Case | None] = Generator.case) -> bytes:
    generator, cases = Generator(seed), []
    while len(cases) < count:
        if case := draw(generator):
            cases.append(case.packed())
    return b"".join(cases)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=2600)
    parser.add_argument("--output", type=Path, default=PATH.parent, help="folder")
    options = parser.parse_args()
    for path, draw in ((PATH, Generator.case), (THETA_PATH, Generator.calibrated_case)):
        (options.output / path.name).write_bytes(generate(options.seed, options.count, draw))
