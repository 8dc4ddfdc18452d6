"""Operators whose output element reads one element of each operand.

    tau = A u |f| + B u |x| + C MIN,  and |f| more where an input is subnormal, which may count as zero

| operator                      | A           | B  | C           |
|-------------------------------|-------------|----|-------------|
| mul                           | 1           | 0  | 1           |
| div, reciprocal               | 6           | 0  | 2           |
| exp, exp2, expm1, tanh, sin, cos, rsqrt, log2, log10, log1p | 6 | 0 | 2 |
| erf, and 16 u more            | 6           | 0  | 2           |
| log, sqrt                     | 4           | 0  | 2           |
| tan, erfc                     | 10          | 0  | 2           |
| sigmoid                       | 10          | 0  | 2           |
| silu                          | 12          | 0  | 3 + |x|     |
| gelu, both forms              | 0           | 16 | 2           |
| hardsigmoid, hardswish        | 8           | 0, 1 | 3         |
| square; pow with n = 2 .. 8   | 1; 2 n      | 0  | 1; n        |
| pow otherwise                 | 16 + 3 |p log x| | 0 | 2       |
| leaky_relu                    | 2 where x < 0 | 0 | 1 there    |

add, sub and rsub: u |f| + 2 u |alpha b| (unless |alpha| = 1) + MIN (3 + subnormal inputs). A number of the
call may be used before it is rounded: mul and div have A one more, and sums u times the number. addcmul:
u |f| + 3 u |v b c| + MIN (4 + |v| + |b| + |c| + subnormal addend), since any two of v, b and c may be multiplied
first, and that product be flushed.

The coefficients are what the documented worst cases of CPU and CUDA libraries need (2 ulp is 4 u; gelu loses
relative accuracy in its tail, so it is measured by x). Some libraries compute erf by a polynomial (Abramowitz and
Stegun, 7.1.26), which is accurate to 2^-22 of 1 and not of erf: in float32 it is off by up to 7 u. Division may be
fast (a reciprocal multiplied), so with a divisor above 2^125, whose reciprocal is subnormal, |f| is allowed more. The
slope of hardswish is a rounded sixth.

Nothing is refuted where an input is not finite; log of x <= 0, sqrt of x < 0, rsqrt of x <= 0, division by
zero; by a subnormal, which may count as zero (also in log, rsqrt, reciprocal); sin, cos, tan beyond 2^30;
hardswish from 2^124 on, where 6 x may overflow on the way; sums of which a scaled addend may overflow, and
addcmul where a product may.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from tao.numerics.bounds.rule import (
    DETERMINISTIC,
    OVERFLOW,
    SMALLEST_NORMAL,
    UNIT_ROUNDOFF,
    Bound,
    Exact,
    Rule,
    as_float32,
    is_subnormal,
)

Number = Tensor | float


@dataclass(frozen=True)
class Elementary:
    """A function of one variable, and by how much kernels miss it: A, B and C of the module's table.

    absolute: in units of u, whatever the function's value. domain: where it is decided; away_from_zero: a
    subnormal input may be read as a pole.
    """

    function: Callable[[Tensor], Tensor]
    relative: float
    by_input: float = 0.0
    flush: float = 2.0
    flush_by_input: float = 0.0
    absolute: float = 0.0
    domain: Callable[[Tensor], Tensor] | None = None
    away_from_zero: bool = False


def _sixth(x: Tensor) -> Tensor:
    return (x + 3).clamp(0, 6) / 6


def _gelu(x: Tensor) -> Tensor:
    return 0.5 * x * torch.special.erfc(-x * math.sqrt(0.5))


def _gelu_tanh(x: Tensor) -> Tensor:
    return x * torch.sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))


def _positive(x: Tensor) -> Tensor:
    return x > 0


def _reducible(x: Tensor) -> Tensor:
    return x.abs() <= 2.0**30


def _sixfold(x: Tensor) -> Tensor:
    return x.abs() < 2.0**124  # 6 x may be an intermediate result


ELEMENTARY = {
    "exp": Elementary(torch.exp, 6),
    "exp2": Elementary(torch.exp2, 6),
    "expm1": Elementary(torch.expm1, 6),
    "tanh": Elementary(torch.tanh, 6),
    "erf": Elementary(torch.erf, 6, absolute=16),
    "erfc": Elementary(torch.erfc, 10),
    "sin": Elementary(torch.sin, 6, domain=_reducible),
    "cos": Elementary(torch.cos, 6, domain=_reducible),
    "tan": Elementary(torch.tan, 10, domain=_reducible),
    "log": Elementary(torch.log, 4, domain=_positive, away_from_zero=True),
    "log2": Elementary(torch.log2, 6, domain=_positive, away_from_zero=True),
    "log10": Elementary(torch.log10, 6, domain=_positive, away_from_zero=True),
    "log1p": Elementary(torch.log1p, 6, domain=lambda x: x > -1),
    "sqrt": Elementary(torch.sqrt, 4, domain=lambda x: x >= 0),
    "rsqrt": Elementary(lambda x: 1 / torch.sqrt(x), 6, domain=_positive, away_from_zero=True),
    "reciprocal": Elementary(torch.reciprocal, 6, domain=lambda x: x != 0, away_from_zero=True),
    "sigmoid": Elementary(torch.sigmoid, 10),
    "silu": Elementary(lambda x: x * torch.sigmoid(x), 12, flush=3, flush_by_input=1),
    "gelu_erf": Elementary(_gelu, 0, 16),
    "gelu_tanh": Elementary(_gelu_tanh, 0, 16),
    "hardsigmoid": Elementary(_sixth, 8, flush=3),
    "hardswish": Elementary(lambda x: x * _sixth(x), 8, 1, flush=3, domain=_sixfold),
    "square": Elementary(torch.square, 1, flush=1),
}


def elementary(input: Tensor, *, name: str, rule: Rule = DETERMINISTIC) -> Bound:
    """f(input): tau = A u |f| + B u |x| + C MIN, with A, B, C and the domain of the module's table.

    input: FP32 of any shape (integers are converted first). name: a key of ELEMENTARY.
    Both kinds of rule give the same bound: one rounding has no average.
    """
    law, source = ELEMENTARY[name], input.float()
    x = source.to(rule.dtype)
    # gelu's tolerance needs |x| only, which is at least |f|.
    value = law.function(x) if law.relative or rule.with_value else x
    magnitude, subnormal = value.abs(), is_subnormal(source)
    fixed = law.absolute * UNIT_ROUNDOFF + law.flush * SMALLEST_NORMAL
    tolerance = law.relative * UNIT_ROUNDOFF * magnitude + fixed
    if law.by_input or law.flush_by_input:
        scale = law.by_input * UNIT_ROUNDOFF + law.flush_by_input * SMALLEST_NORMAL
        tolerance = tolerance + scale * x.abs()
    if name == "reciprocal":  # a division like any other
        tolerance = tolerance + torch.where(x.abs() > 2.0**125, magnitude, 0.0)
    decided = source.isfinite()
    if law.domain is not None:
        decided = decided & law.domain(x)
    if bool(subnormal.any()):
        if law.away_from_zero:
            decided = decided & ~subnormal
        else:
            tolerance = tolerance + torch.where(subnormal, magnitude, 0.0)
    return rule.bound(torch.where(decided, tolerance, math.inf), lambda: value)


def gelu(input: Tensor, *, approximate: str = "none", rule: Rule = DETERMINISTIC) -> Bound:
    """tau = 16 u |x| + 2 MIN, as `elementary`. input: FP32 of any shape. approximate: "none" (with erf) or "tanh"."""
    return elementary(input, name="gelu_erf" if approximate == "none" else "gelu_tanh", rule=rule)


def _operand(x: Number, dtype: torch.dtype) -> tuple[Number, Number]:
    """An operand as FP32 wrote it, in the dtype to compute in, and where it is subnormal."""
    if not isinstance(x, Tensor):
        number = as_float32(x)
        return number, float(0 < abs(number) < SMALLEST_NORMAL)
    source = x.float()
    return source.to(dtype), is_subnormal(source).to(dtype)


def _integers(*operands: Number) -> bool:
    tensors = [x for x in operands if isinstance(x, Tensor)]
    numbers = [x for x in operands if not isinstance(x, Tensor)]
    return not any(x.is_floating_point() for x in tensors) and not any(isinstance(x, float) for x in numbers)


def _numbers(*operands: Number) -> int:
    """How many operands are numbers of the call, which kernels may use before they are rounded to FP32."""
    return sum(not isinstance(x, Tensor) for x in operands)


def add(input: Number, other: Number, *, alpha: float = 1, rule: Rule = DETERMINISTIC) -> Bound | Exact:
    """input + alpha other, broadcast: tau = u |f| + 2 u |alpha b| (unless |alpha| = 1) + MIN (3 + subnormal inputs),
    and u times its term more for an operand that is a number, which means its FP32 value. FP32; integers add
    exactly."""
    if _integers(input, other, alpha):
        return Exact()
    factor = as_float32(alpha)
    if rule.with_value:
        (a, small_a), (b, small_b) = _operand(input, rule.dtype), _operand(other, rule.dtype)
    else:
        # Allowing for subnormal inputs everywhere is cheaper than to look for them.
        a, b = (x if isinstance(x, Tensor) else as_float32(x) for x in (input, other))
        small_a = small_b = 1.0
    value = torch.add(torch.as_tensor(a), torch.as_tensor(b), alpha=factor)
    tolerance = UNIT_ROUNDOFF * value.abs() + SMALLEST_NORMAL * (3 + small_a + abs(factor) * small_b)
    if abs(factor) != 1:
        scaled = torch.as_tensor(abs(factor * b))
        tolerance = tolerance + (2 * UNIT_ROUNDOFF + (abs(factor) < SMALLEST_NORMAL)) * scaled
        tolerance = torch.where(scaled.to(tolerance.device) < OVERFLOW, tolerance, math.inf)
    for number, scale in ((input, 1), (other, factor)):
        if not isinstance(number, Tensor):
            tolerance = tolerance + UNIT_ROUNDOFF * abs(scale * as_float32(number))
    return rule.bound(tolerance, lambda: value)


def sub(input: Number, other: Number, *, alpha: float = 1, rule: Rule = DETERMINISTIC) -> Bound | Exact:
    """input - alpha other, as `add`."""
    return add(input, other, alpha=-alpha, rule=rule)


def rsub(input: Tensor, other: Number, *, alpha: float = 1, rule: Rule = DETERMINISTIC) -> Bound | Exact:
    """other - alpha input, as `add`."""
    return sub(other, input, alpha=alpha, rule=rule)


def mul(input: Number, other: Number, *, rule: Rule = DETERMINISTIC) -> Bound | Exact:
    """input other, broadcast: tau = (1 + numbers) u |f| + MIN, and |f| more where a factor is subnormal; numbers mean
    their FP32 values. FP32; integers multiply exactly."""
    if _integers(input, other):
        return Exact()
    (a, small_a), (b, small_b) = _operand(input, rule.dtype), _operand(other, rule.dtype)
    value = a * b
    magnitude = value.abs()
    roundings = (1 + _numbers(input, other)) * UNIT_ROUNDOFF
    tolerance = (roundings + torch.clamp(torch.as_tensor(small_a + small_b), max=1)) * magnitude
    return rule.bound(tolerance + SMALLEST_NORMAL, lambda: value)


def div(input: Number, other: Number, *, rule: Rule = DETERMINISTIC) -> Bound:
    """input / other, broadcast: tau = (6 + numbers) u |f| + 2 MIN, and |f| more where the dividend is subnormal or the
    divisor above 2^125; undecided for a divisor of zero, subnormal or infinite.

    Numbers mean their FP32 values, integers are converted first.
    """
    (a, small_a), (b, small_b) = _operand(input, rule.dtype), _operand(other, rule.dtype)
    value = a / b
    magnitude, divisor = value.abs(), torch.as_tensor(abs(b))
    doubtful = torch.clamp(torch.as_tensor(small_a) + (divisor > 2.0**125), max=1)
    roundings = (6 + _numbers(input, other)) * UNIT_ROUNDOFF
    tolerance = (roundings + doubtful) * magnitude + 2 * SMALLEST_NORMAL
    decided = (divisor != 0) & (torch.as_tensor(small_b) == 0)
    # An infinite divisor gives a finite value, but decides nothing.
    decided = decided.to(value.device) & torch.isfinite(divisor).to(value.device)
    return rule.bound(torch.where(decided, tolerance, math.inf), lambda: value)


def addcmul(
    input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1, rule: Rule = DETERMINISTIC
) -> Bound:
    """input + value tensor1 tensor2, broadcast: tau = u |f| + 3 u |v b c| + MIN (4 + |v| + |b| + |c|), MIN more where
    the addend and |v b c| more where a factor is subnormal; undecided where the product of any factors may overflow.
    FP32."""
    (a, small_a), (b, small_b), (c, small_c) = (_operand(x, torch.float64) for x in (input, tensor1, tensor2))
    v, small_v = _operand(value, torch.float64)
    product = v * b * c
    result = a + product
    doubtful = torch.clamp(small_b + small_c + small_v, max=1)
    flushed = 4 + small_a + abs(v) + b.abs() + c.abs()
    tolerance = UNIT_ROUNDOFF * result.abs() + (3 * UNIT_ROUNDOFF + doubtful) * product.abs()
    tolerance = tolerance + SMALLEST_NORMAL * flushed
    pairs = torch.maximum(b.abs() * c.abs(), abs(v) * torch.maximum(b.abs(), c.abs()))
    decided = torch.maximum(pairs, product.abs()) < OVERFLOW
    return rule.bound(torch.where(decided, tolerance, math.inf), lambda: result)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, *, rule: Rule = DETERMINISTIC) -> Bound:
    """x where x > 0 (exactly, unless it is subnormal), negative_slope x elsewhere with tau = 2 u |f| + MIN, and |f|
    more where x is subnormal. FP32 of any shape."""
    x, small = _operand(input, rule.dtype)
    value = torch.where(x > 0, x, as_float32(negative_slope) * x)
    product = (2 * UNIT_ROUNDOFF + small) * value.abs() + SMALLEST_NORMAL
    tolerance = torch.where(x > 0, small * SMALLEST_NORMAL, product)
    return rule.bound(torch.where(x.isfinite(), tolerance, math.inf), lambda: value)


_POWERS = {0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}


def pow(input: Number, exponent: Number, *, rule: Rule = DETERMINISTIC) -> Bound | Exact:
    """input ** exponent, broadcast: tau = 2 n u |f| + n MIN for n = 2 .. 8, that of `elementary` for 1/2, -1/2 and -1,
    none for 0 and 1, (16 + 3 |p log x|) u |f| + 2 MIN otherwise.

    Of a negative base only whole powers from 0 to 8, and -1, are decided. FP32; integers have exact powers.
    """
    if _integers(input, exponent):
        return Exact()
    if not isinstance(exponent, Tensor):
        power = as_float32(exponent)
        if power in (0.0, 1.0):
            return Exact()
        if power in _POWERS:
            return elementary(input, name=_POWERS[power], rule=rule)
        if power == int(power) and 2 <= power <= 8:
            x, small = _operand(input, rule.dtype)
            value = x ** int(power)
            tolerance = (2 * power * UNIT_ROUNDOFF + small) * value.abs() + power * SMALLEST_NORMAL
            return rule.bound(torch.where(x.isfinite(), tolerance, math.inf), lambda: value)
    (x, small), (p, small_p) = _operand(input, rule.dtype), _operand(exponent, rule.dtype)
    base, p = torch.as_tensor(x, dtype=rule.dtype), torch.as_tensor(p, dtype=rule.dtype)
    base, p = base.to(p.device), p.to(base.device)
    value = base**p
    relative = UNIT_ROUNDOFF * (16 + 3 * (p * base.log()).abs())
    tolerance = (relative + small_p) * value.abs() + 2 * SMALLEST_NORMAL
    decided = (base > 0) & base.isfinite() & p.isfinite() & (torch.as_tensor(small) == 0).to(value.device)
    return rule.bound(torch.where(decided, tolerance, math.inf), lambda: value)


BY_NAME = {name: partial(elementary, name=name) for name in ELEMENTARY if not name.startswith("gelu")}
"""The functions of one operand, by ATen name."""
