"""When one element of a contraction is provably wrong, or beyond the calibrated rule, decided exactly.

The rules are those of `tao.numerics.contraction`. `violates` and `exceeds` are the rules themselves, in rationals;
`refuted` and `accusable` are what the contract proves with 128-bit integers, so they imply the former: they mirror
Float32Dot.sol. Elements are float32 encodings.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tao.numerics.float32 import ONE, WINDOW, is_finite, is_subnormal, unpack, value

MAX_LANES = 1 << 17
"""Sums of this many lanes fit 128 bits."""
THETA_ONE = 1 << 16
"""The Q16.16 number 1: theta has 16 fractional bits of 32."""


def _lanes(a: Sequence[int], b: Sequence[int], bias: int | None) -> list[tuple[int, int]]:
    return [*zip(a, b, strict=True), *([(bias, ONE)] if bias is not None else [])]


def _exact_sums(lanes: Sequence[tuple[int, int]]) -> tuple[Fraction, Fraction, Fraction]:
    """S, T and D."""
    products = [value(x) * value(y) for x, y in lanes]
    s, t = sum(products, Fraction(0)), sum(map(abs, products), Fraction(0))
    subnormal = [is_subnormal(x) or is_subnormal(y) for x, y in lanes]
    return s, t, sum((abs(p) for p, small in zip(products, subnormal, strict=True) if small), Fraction(0))


def tolerance(
    a: Sequence[int], b: Sequence[int], bias: int | None = None
) -> tuple[Fraction, Fraction, Fraction]:
    """S, T and tau of one element as exact rationals, from float32 encodings of finite lanes."""
    lanes = _lanes(a, b, bias)
    s, t, d = _exact_sums(lanes)
    n = len(lanes)
    return s, t, t * Fraction(n, (1 << 24) - n) + 2 * d + (2 * n + 1) * Fraction(2) ** -126


def violates(y: int, a: Sequence[int], b: Sequence[int], bias: int | None = None) -> bool:
    """Whether element y is outside tolerance, in exact rationals; all arguments are float32 encodings."""
    if not all(is_finite(x) and is_finite(z) for x, z in _lanes(a, b, bias)):
        return False
    s, t, tau = tolerance(a, b, bias)
    return abs(value(y) - s) > tau if is_finite(y) else t + tau < 2**127


def window_exponent(a: Sequence[int], b: Sequence[int], bias: int | None = None) -> int:
    """The lowest window that holds every lane: max over nonzero lanes of e_a + e_b, less 63, at least 2."""
    tops = [unpack(x)[0] + unpack(y)[0] for x, y in _lanes(a, b, bias) if unpack(x)[1] and unpack(y)[1]]
    return max([2, *(top - WINDOW for top in tops)])


def exceeds(y: int, a: Sequence[int], b: Sequence[int], bias: int | None, theta: int) -> bool:
    """Whether element y exceeds theta, a Q16.16 number, in rationals; the others are float32 encodings."""
    lanes = _lanes(a, b, bias)
    if theta == 0 or not is_finite(y) or not all(is_finite(x) and is_finite(z) for x, z in lanes):
        return False
    s, _, d = _exact_sums(lanes)
    n, squares = len(lanes), sum(((value(x) * value(z)) ** 2 for x, z in lanes), Fraction(0))
    beyond = abs(value(y) - s) - 2 * d - (2 * n + 1) * Fraction(2) ** -126
    return beyond > 0 and beyond**2 > Fraction(theta, THETA_ONE << 24) ** 2 * n * squares


@dataclass(frozen=True)
class _Window:
    """Sums of n lanes in units of 2^(exponent - 300), as the contract makes them: S, T, D and of squares."""

    n: int
    s: int
    t: int
    d: int
    squares: int
    exponent: int

    @classmethod
    def of(cls, lanes: Sequence[tuple[int, int]], window: int) -> "_Window | None":
        """None where the contract reverts: lanes that are not finite or above the window, bad windows."""
        if not 2 <= window <= 508:
            return None
        s = t = d = squares = 0
        for x, z in lanes:
            if not (is_finite(x) and is_finite(z)):
                return None
            (ex, mx), (ez, mz) = unpack(x), unpack(z)
            shift = ex + ez - window
            if mx * mz == 0 or shift < 0:
                continue
            if shift > WINDOW:
                return None
            units = mx * mz << shift
            t += units
            s += -units if (x ^ z) >> 31 else units
            d += units if is_subnormal(x) or is_subnormal(z) else 0
            squares += units**2
        return cls(len(lanes), s, t, d, squares, window)

    @property
    def skipped(self) -> int:
        """More than the lanes below the window can come to."""
        return self.n << 47

    @property
    def slack(self) -> int:
        # S is off by `skipped` at most, and D, which counts twice, as well. The last unit is for `distance`.
        flush = 174 - self.exponent  # 2^-126 in units
        flushed = 2 * self.n + 1 << flush if flush >= 0 else 2 * self.n + 1
        return 2 * self.d + flushed + 3 * self.skipped + 1

    def distance(self, y: int) -> int:
        """|y - S|, off by less than a unit for the truncation of y."""
        exponent, significand = unpack(y)
        shift = exponent + 150 - self.exponent
        units = significand << shift if shift >= 0 else significand >> -shift
        return abs((-units if y >> 31 else units) - self.s)


def refuted(y: int, a: Sequence[int], b: Sequence[int], bias: int | None, window: int) -> bool:
    """Whether the contract accepts the proof that y is outside tolerance; arguments are float32 encodings.

    Sums are integers in units of 2^(window - 300). Lanes below the window are left
    out; each is less than 2^47 units, and all slack goes to y's side. A bad window can only lose the proof.
    """
    found = _Window.of(_lanes(a, b, bias), window)
    if found is None or len(a) > MAX_LANES:
        return False
    t = found.t + found.skipped
    tau = t * found.n // ((1 << 24) - found.n) + 1 + found.slack
    if not is_finite(y):
        overflow = 427 - window  # 2^127 in units
        return overflow >= 0 and t + tau < 1 << overflow
    return found.distance(y) > tau


def accusable(y: int, a: Sequence[int], b: Sequence[int], bias: int | None, window: int, theta: int) -> bool:
    """Whether the contract accepts the proof that y exceeds theta, a Q16.16 number; else as for `refuted`.

    Lanes in a convolution's padding count: give them as zeros.
    """
    found = _Window.of(_lanes(a, b, bias), window)
    if found is None or len(a) > MAX_LANES or theta == 0 or not is_finite(y):
        return False
    squares = found.squares + (found.n << 94)  # the square of a skipped lane is below 2^94
    root = (math.isqrt(found.n * ((squares >> 8) + 1)) + 1) << 4
    return found.distance(y) > (theta * root >> 40) + 1 + found.slack
