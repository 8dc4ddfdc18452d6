"""The tolerance rules of softmax, log_softmax, sum, mean, 2-norm and amax (Softmax.sol, Reduction.sol) in
Arb's ball arithmetic of 640 bits, where sums of FP32 numbers and of their squares are exact to far below
every tolerance.

Arguments are FP32 encodings. An independent statement of the rules: nothing here is shared with the
contracts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from flint import arb

from support.exact_elementwise import SMALLEST_NORMAL, UNIT_ROUNDOFF, Bound, is_finite, is_subnormal, value

NEGATIVE_INFINITY = 0xFF800000
SIGN = 0x80000000
SMALL, LIMIT = arb(2) ** -8, arb(2) ** -6
MORE = 1 + arb(2) ** -7


def gamma(n: int) -> arb:
    return n * UNIT_ROUNDOFF / (1 - n * UNIT_ROUNDOFF)


def is_nan(bits: int) -> bool:
    return bits & ~SIGN > 0x7F800000


class Row:
    """A row of FP32 encodings with the sums that several of its elements need."""

    def __init__(self, bits: Sequence[int]):
        self.bits = list(bits)
        self.n = len(self.bits)

    @cached_property
    def is_finite(self) -> bool:
        return all(map(is_finite, self.bits))

    @cached_property
    def is_soft(self) -> bool:
        """Whether all lanes are finite or -inf, and one is finite."""
        return any(map(is_finite, self.bits)) and all(
            is_finite(b) or b == NEGATIVE_INFINITY for b in self.bits
        )

    @cached_property
    def values(self) -> list[arb]:
        return [value(b) if is_finite(b) else arb("-inf") for b in self.bits]

    @cached_property
    def largest(self) -> int:
        """The first lane with the largest number."""
        floats = [float(x) for x in self.values]
        return floats.index(max(floats))

    def shift(self, lane: int) -> arb:
        """d_i, or infinity at -inf."""
        return self.values[self.largest] - self.values[lane] if is_finite(self.bits[lane]) else arb("inf")

    @cached_property
    def exponential_sums(self) -> tuple[arb, arb]:
        """S and W."""
        total = weighted = arb(0)
        for lane in range(self.n):
            d = self.shift(lane)
            if d < 400:  # e^-400 n is far below 2^-500
                e = (-d).exp()
                total += e
                weighted += e * d
        return total, weighted

    @cached_property
    def plain_sums(self) -> tuple[arb, arb, arb]:
        """S, T and D."""
        small = (abs(x) for x, b in zip(self.values, self.bits, strict=True) if is_subnormal(b))
        return sum(self.values, arb(0)), sum(map(abs, self.values), arb(0)), sum(small, arb(0))

    @cached_property
    def squares(self) -> arb:
        return sum((x * x for x in self.values), arb(0))


def second_order(r: arb) -> arb:
    """What covers the second order of a softmax."""
    return MORE if r < SMALL else 1 + arb(2) ** -5


def _softmax(row: Row, lane: int) -> Bound | None:
    if not row.is_soft:
        return None
    d, (total, weighted) = row.shift(lane), row.exponential_sums
    if not d <= 1024:
        return Bound(arb(0), 2 * SMALLEST_NORMAL, arb(0))
    r = UNIT_ROUNDOFF * (3 * (d + weighted / total) + 19) + gamma(row.n - 1)
    if not r < LIMIT:
        return None
    f = (-d).exp() / total
    return Bound(f, r * second_order(r) * f + 2 * SMALLEST_NORMAL, f)


def _log_softmax(row: Row, lane: int) -> Bound | None:
    if not row.is_soft:
        return None
    d, (total, weighted) = row.shift(lane), row.exponential_sums
    r = UNIT_ROUNDOFF * (3 * weighted / total + 6) + gamma(row.n - 1)
    if not r < LIMIT:
        return None
    f = -d - total.log()
    tolerance = (UNIT_ROUNDOFF * (3 * d + abs(f) + 4 * total.log()) + r) * second_order(r)
    tolerance += 4 * SMALLEST_NORMAL
    return Bound(f, tolerance, abs(f))


def _sum(row: Row, _: int) -> Bound | None:
    if not row.is_finite:
        return None
    s, t, d = row.plain_sums
    return Bound(s, gamma(row.n - 1) * t + row.n * SMALLEST_NORMAL + d, t)


def _mean(row: Row, _: int) -> Bound | None:
    if not row.is_finite:
        return None
    s, t, d = row.plain_sums
    n = row.n
    tolerance = (gamma(n + 2) * t + (n + 1) * SMALLEST_NORMAL + d) / n + 2 * SMALLEST_NORMAL
    return Bound(s / n, tolerance, t + (n - 1) * tolerance)


def _norm(row: Row, _: int) -> Bound | None:
    if not row.is_finite:
        return None
    n, f, flushed = row.n, row.squares.sqrt(), 4 * row.n * SMALLEST_NORMAL
    lost = flushed / f if f > flushed.sqrt() else flushed.sqrt()
    tolerance = (gamma(n) / 2 + 4 * UNIT_ROUNDOFF) * MORE * f + lost + 2 * SMALLEST_NORMAL
    return Bound(f, tolerance, row.squares * (1 + arb(2) ** -6) + flushed - tolerance)


_BOUNDS = {"softmax": _softmax, "log_softmax": _log_softmax, "sum": _sum, "mean": _mean, "norm": _norm}


def bound(name: str, row: Row, lane: int) -> Bound | None:
    """The bound of one element, or None where nothing is refuted."""
    return _BOUNDS[name](row, lane)


def order(bits: int) -> int:
    """A number that is larger for a larger FP32 number, and 0 for all below the smallest normal one."""
    magnitude = bits & ~SIGN
    if magnitude < 0x800000:
        return 0
    return -magnitude if bits & SIGN else magnitude


def is_other_maximum(row: Row, y: int) -> bool:
    """Whether y is not the largest number of a row without NaN."""
    if any(map(is_nan, row.bits)):
        return False
    return is_nan(y) or order(y) != max(map(order, row.bits))


def window(row: Row) -> int:
    """The least window that holds every term of a sum."""
    return max(1, max((b >> 23 & 0xFF) for b in row.bits) - 63)


def window_of_squares(row: Row) -> int:
    return max(2, 2 * max((b >> 23 & 0xFF) for b in row.bits) - 63)
