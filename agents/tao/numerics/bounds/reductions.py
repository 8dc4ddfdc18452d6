"""Sums, means, running sums and norms over dimensions, in any order of addition.

For n terms x_i, T = sum |x_i| and D = the same over subnormal terms (which may count as zero):

    sum     tau = gamma_(n-1) T + n MIN + D
    mean    tau = gamma_(n+2) T / n + ((n + 1) MIN + D) / n + 2 MIN
    cumsum  as sum, for the terms so far
    2-norm  tau = (gamma_(n+1) / 2 + 4 u) |f| (1 + 2^-7) + sqrt(4 n MIN) + 2 MIN

(Higham, Accuracy and Stability, 4.2.) The mean may multiply by the rounded reciprocal of n. In the norm a
flushed square is off by less than 4 MIN, and sqrt(a + b) - sqrt(a) <= sqrt(b); the square root is good to 4
u. T is accumulated in FP64, its error being covered by the inflation.
"""

import math

import torch
from torch import Tensor

from tao.errors import UnsupportedOperator
from tao.numerics.bounds.rule import (
    DETERMINISTIC,
    OVERFLOW,
    SMALLEST_NORMAL,
    UNIT_ROUNDOFF,
    Bound,
    Exact,
    Rule,
    is_subnormal,
)


def _dims(input: Tensor, dim: int | list[int] | None) -> list[int]:
    if dim is None or (isinstance(dim, list | tuple) and not dim):
        return list(range(input.dim()))
    return [dim] if isinstance(dim, int) else list(dim)


def _count(input: Tensor, dims: list[int]) -> int:
    return math.prod(input.shape[d] for d in dims) if input.dim() else 1


def _total(x: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    return x.sum(dims, keepdim, dtype=torch.float64) if dims else x.double()


def _magnitudes(input: Tensor, dims: list[int], keepdim: bool) -> tuple[Tensor, Tensor | float]:
    """T and D, float64."""
    small = is_subnormal(input)
    part = _total(torch.where(small, input.abs(), 0.0), dims, keepdim) if bool(small.any()) else 0.0
    return _total(input.abs(), dims, keepdim), part


def _check(dtype: torch.dtype | None) -> None:
    if dtype not in (None, torch.float32):
        raise UnsupportedOperator(f"a reduction in {dtype} has no bound; reduce in float32")


def sum(
    input: Tensor,
    dim: int | list[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
    rule: Rule = DETERMINISTIC,
) -> Bound | Exact:
    """tau = gamma_(n-1) T + n MIN + D, in the terms of the module's description.

    input: FP32 of any shape; integers add exactly. dim: all dimensions where None or empty.
    """
    if not input.is_floating_point() and dtype in (None, torch.int64):
        return Exact()
    _check(dtype)
    dims = _dims(input, dim)
    n = _count(input, dims)
    total, small = _magnitudes(input.float(), dims, keepdim)
    tolerance = rule.gamma(n - 1) * total + n * SMALLEST_NORMAL + small
    tolerance = torch.where(total + tolerance < OVERFLOW, tolerance, math.inf)
    return rule.bound(tolerance, lambda: _total(input.float(), dims, keepdim))


def mean(
    input: Tensor,
    dim: int | list[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
    rule: Rule = DETERMINISTIC,
) -> Bound:
    """tau = gamma_(n+2) T / n + ((n + 1) MIN + D) / n + 2 MIN, in the terms of the module's description.

    input: FP32 of any shape. dim: all dimensions where None or empty.
    """
    _check(dtype)
    dims = _dims(input, dim)
    n = max(_count(input, dims), 1)
    total, small = _magnitudes(input.float(), dims, keepdim)
    lost = ((n + 1) * SMALLEST_NORMAL + small) / n + 2 * SMALLEST_NORMAL
    tolerance = rule.gamma(n + 2) * total / n + lost
    tolerance = torch.where(total * (1 + rule.gamma(n + 2)) < OVERFLOW, tolerance, math.inf)
    return rule.bound(tolerance, lambda: _total(input.float(), dims, keepdim) / n)


def cumsum(
    input: Tensor, dim: int, *, dtype: torch.dtype | None = None, rule: Rule = DETERMINISTIC
) -> Bound | Exact:
    """tau = gamma_(k-1) T + k MIN + D over the k terms so far, which every scan adds in some order.

    input: FP32 of any shape; integers add exactly.
    """
    if not input.is_floating_point() and dtype in (None, torch.int64):
        return Exact()
    _check(dtype)
    input = input.float()
    if not input.dim():
        return rule.bound(input.abs().double() * 0 + SMALLEST_NORMAL, lambda: input.double())
    length = input.shape[dim]
    shape = [1] * input.dim()
    shape[dim] = length
    gammas = [rule.gamma(k) for k in range(length)]
    gamma = torch.tensor(gammas, dtype=torch.float64, device=input.device).reshape(shape)
    terms = torch.arange(1, length + 1, dtype=torch.float64, device=input.device).reshape(shape)
    total = input.abs().cumsum(dim, dtype=torch.float64)
    small = torch.where(is_subnormal(input), input.abs(), 0.0).cumsum(dim, dtype=torch.float64)
    tolerance = gamma * total + terms * SMALLEST_NORMAL + small
    tolerance = torch.where(total + tolerance < OVERFLOW, tolerance, math.inf)
    return rule.bound(tolerance, lambda: input.cumsum(dim, dtype=torch.float64))


def norm(
    input: Tensor,
    ord: float | None = 2,
    dim: int | list[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
    rule: Rule = DETERMINISTIC,
) -> Bound | Exact:
    """The vector norm over dimensions: tau = (gamma_(n+1) / 2 + 4 u) |f| (1 + 2^-7) + sqrt(4 n MIN) + 2 MIN of order 2,
    that of `sum` of order 1; exact of order infinity.

    input: FP32 of any shape. Raises UnsupportedOperator for other orders.
    """
    _check(dtype)
    if ord is None or ord == 2:
        dims = _dims(input, dim)
        n = _count(input, dims)
        squares = _total(input.double().square(), dims, keepdim)
        value = squares.sqrt()
        relative = (rule.gamma(n + 1) / 2 + 4 * UNIT_ROUNDOFF) * (1 + 2.0**-7)
        tolerance = relative * value + math.sqrt(4 * n * SMALLEST_NORMAL) + 2 * SMALLEST_NORMAL
        tolerance = torch.where((squares < OVERFLOW / 2) & (relative < 2.0**-8), tolerance, math.inf)
        return rule.bound(tolerance, lambda: value)
    if ord == 1:
        return sum(input.abs(), dim, keepdim, rule=rule)
    if ord in (math.inf, -math.inf):
        return Exact()
    raise UnsupportedOperator(f"the norm of order {ord} has no bound; use 1, 2 or infinity")


def norm_of_order_p(
    input: Tensor,
    p: float | None = 2,
    dim: int | list[int] | None = None,
    keepdim: bool = False,
    *,
    rule: Rule = DETERMINISTIC,
) -> Bound | Exact:
    """`norm` as aten.norm calls its order: p, and 2 where that is None."""
    return norm(input, p, dim, keepdim, rule=rule)
