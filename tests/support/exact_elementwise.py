"""The tolerance rule of elementwise operators (Elementwise.sol) in Arb's ball arithmetic of 640 bits.

f, tau and the largest intermediate result as `flint.arb`; arguments are FP32 encodings. An independent
statement of the rule: nothing here is shared with the contracts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from flint import arb, ctx

ctx.prec = 640  # sums of FP32 numbers and of products of two are exact

UNIT_ROUNDOFF = arb(2) ** -24
SMALLEST_NORMAL = arb(2) ** -126
OVERFLOW = arb(2) ** 127
TENSOR_PAIRS = ("aten.add.Tensor", "aten.sub.Tensor", "aten.mul.Tensor", "aten.div.Tensor")
SECOND_ORDER = 1 + arb(2) ** -20


def value(bits: int) -> arb:
    """A finite FP32 number, exactly."""
    return arb(float(np.uint32(bits).view(np.float32)))


def is_finite(bits: int) -> bool:
    return bits & 0x7F800000 != 0x7F800000


def is_subnormal(bits: int) -> bool:
    return bits & 0x7F800000 == 0 and bits & 0x7FFFFFFF != 0


@dataclass(frozen=True)
class Bound:
    """f, tau, and what must overflow before y may be infinite or NaN."""

    exact: arb
    tolerance: arb
    largest: arb

    def deviation(self, y: int) -> arb:
        return abs(value(y) - self.exact)

    def violates(self, y: int) -> bool:
        """Whether y is out of tolerance; raises where the precision does not tell."""
        if is_finite(y):
            return decided(self.deviation(y) > self.tolerance, self.deviation(y) <= self.tolerance)
        least = self.largest + self.tolerance
        return decided(least < OVERFLOW, least >= OVERFLOW)


def decided(yes: bool, no: bool) -> bool:
    if yes == no:
        raise ArithmeticError("undecided at this precision")
    return yes


def erf_gelu(x: arb) -> arb:
    return x * (-x / arb(2).sqrt()).erfc() / 2


def tanh_gelu(x: arb) -> arb:
    inner = (arb(2) / arb.pi()).sqrt() * (x + arb(44715) / 10**6 * x**3)
    return x * sigmoid(2 * inner)


def sigmoid(x: arb) -> arb:
    small = (-abs(x)).exp()
    return (small if x < 0 else 1) / (1 + small)


def exp(x: arb) -> arb:
    """Above 1024 every FP32 number is far below the result, and below the overflow."""
    return (x if x < 1024 else arb(1024)).exp()


UNARY: dict[str, tuple[Callable[[arb], arb], int]] = {
    "exp": (exp, 6),
    "tanh": (arb.tanh, 6),
    "erf": (arb.erf, 6),
    "sin": (arb.sin, 6),
    "cos": (arb.cos, 6),
    "sigmoid": (sigmoid, 10),
    "log": (arb.log, 4),
    "sqrt": (arb.sqrt, 4),
    "rsqrt": (arb.rsqrt, 6),
}
"""f and A; C is 2."""


def bound(operator: str, x: Sequence[int], attributes: Sequence[int] = ()) -> Bound | None:
    """The bound of one element, or None where nothing is refuted."""
    if not all(map(is_finite, (*x, *attributes))):
        return None
    name, overload = operator.removeprefix("aten.").split(".")
    if name in ("add", "sub", "rsub"):
        return _sum(name, overload == "Scalar", [*x, *attributes])
    if name == "mul":
        a, b = (*x, *attributes)
        return _product(a, b, 1 if overload == "Tensor" else 2)
    if name == "div":
        a, b = (*x, *attributes)
        return _quotient(a, b, 6 if overload == "Tensor" else 7)
    if name == "pow":
        return _power(x[0], attributes[0])
    if name == "leaky_relu":
        return (
            _product(x[0], attributes[0], 2) if x[0] >> 31 else _bound(value(x[0]), 0, 0, is_subnormal(x[0]))
        )
    if name == "gelu":
        form = erf_gelu if not attributes or attributes[0] == 0 else tanh_gelu
        extra = 16 * UNIT_ROUNDOFF * abs(value(x[0]))
        return _bound(form(value(x[0])), 0, 2, is_subnormal(x[0]), extra)
    return _unary(name, x[0])


def _bound(
    exact: arb,
    relative: int,
    minima: int,
    flushed: bool,
    extra: arb | int = 0,
    largest: arb | None = None,
) -> Bound:
    magnitude = abs(exact)
    tolerance = relative * UNIT_ROUNDOFF * magnitude + minima * SMALLEST_NORMAL + extra
    if flushed:
        tolerance += magnitude
    return Bound(exact, tolerance, magnitude if largest is None else largest)


def _sum(name: str, scalar: bool, words: Sequence[int]) -> Bound:
    a, b = words[:2]
    alpha = words[2] if len(words) > 2 else 0x3F800000
    reverse = name == "rsub"
    if reverse:
        a, b = b, a
    first, second = value(a), value(alpha) * value(b) * (1 if name == "add" else -1)
    scaled = abs(value(alpha)) != 1
    loose_second = (2 if scaled else 0) + (1 if scalar and not reverse else 0)
    loose = UNIT_ROUNDOFF * ((1 if reverse else 0) * abs(first) + loose_second * abs(second))
    minima = 3 + is_subnormal(a)
    if scaled and (is_subnormal(b) or is_subnormal(alpha)):
        loose += abs(second)
    else:
        minima += is_subnormal(b)
    plain = _bound(first + second, 1, minima, False, loose, abs(first) + abs(second))
    return Bound(plain.exact, plain.tolerance * SECOND_ORDER, plain.largest)


def _product(a: int, b: int, relative: int) -> Bound:
    return _bound(value(a) * value(b), relative, 1, is_subnormal(a) or is_subnormal(b))


def _quotient(a: int, b: int, relative: int) -> Bound | None:
    if value(b) == 0 or is_subnormal(b):
        return None
    reciprocal_flushed = abs(value(b)) > arb(2) ** 125
    return _bound(value(a) / value(b), relative, 2, is_subnormal(a) or reciprocal_flushed)


def _power(x: int, exponent: int) -> Bound | None:
    n = float(value(exponent))
    if n in (0.5, -0.5, -1.0):
        return _unary({0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}[n], x)
    return _bound(value(x) ** int(n), 2 * int(n), int(n), is_subnormal(x))


def _unary(name: str, bits: int) -> Bound | None:
    x, flushed = value(bits), is_subnormal(bits)
    if name == "reciprocal":
        return _quotient(0x3F800000, bits, 6)
    if name == "silu":
        return _bound(x * sigmoid(x), 12, 3, flushed, SMALLEST_NORMAL * abs(x))
    if name == "hardswish":
        exact = x if x >= 3 else arb(0) if x <= -3 else x * (x + 3) / 6
        return _bound(exact, 8, 3, flushed, UNIT_ROUNDOFF * abs(x), 6 * abs(exact))
    if name in ("sin", "cos") and abs(x) > 2**30:
        return None
    if name == "sqrt" and x < 0:
        return None
    if name in ("log", "rsqrt") and (x <= 0 or flushed):
        return None
    function, relative = UNARY[name]
    return _bound(function(x), relative, 2, flushed, 16 * UNIT_ROUNDOFF if name == "erf" else 0)
