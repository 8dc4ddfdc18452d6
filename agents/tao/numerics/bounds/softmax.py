"""softmax and log_softmax over a row x_0 .. x_(n-1).

With M = max, d_j = M - x_j, e_j = exp(-d_j), S = sum e_j and W = sum e_j d_j:

    softmax      y_i = e_i / S,         r = u (3 (d_i + W/S) + 12 + 7) + gamma_(n-1),
                 tau = y_i r' + 2 MIN
    log_softmax  y_i = -d_i - log S,    r = 6 u + gamma_(n-1) + 3 u W/S,
                 tau = (r' / r) (u (3 d_i + |y_i| + 4 |log S|) + r) + 4 MIN

The shift is rounded (u d_j a lane), and kernels may scale by log2(e) first: the product's and the constant's
rounding make that 3 u d_j. exp is good to 6 u, in e_i and in S. Division is good to 6 u, or a reciprocal is
multiplied. r' = r (1 + 2^-7) while r < 2^-8 covers second order, since (1 + a) / (1 - b) - 1 <= r / (1 - r)
for a + b = r, and r' = r (1 + 2^-5) while r < 2^-6; beyond, nothing is refuted. A lane flushed from S is
below MIN while S >= 1. A subnormal input read as zero moves a shift by less than MIN. The maximum is found
first: an online maximum rescales the sum, one more factor exp (6 u) and product each time, and is
`attention`'s business.
"""

import math

import torch
from torch import Tensor

from tao.errors import UnsupportedOperator
from tao.numerics.bounds.rule import DETERMINISTIC, SMALLEST_NORMAL, UNIT_ROUNDOFF, Bound, Rule

_SMALL, _LIMIT = 2.0**-8, 2.0**-6
SHIFT = 3 * UNIT_ROUNDOFF
EXP = 6 * UNIT_ROUNDOFF
DIVISION = 7 * UNIT_ROUNDOFF


def _second_order(relative: Tensor) -> Tensor:
    """r' / r of the module's description: infinite where r >= 2^-6."""
    factor = torch.where(relative < _SMALL, 1 + 2.0**-7, 1 + 2.0**-5)
    return torch.where(relative < _LIMIT, factor, math.inf).to(relative.dtype)


def _check(input: Tensor, dtype: torch.dtype | None) -> None:
    if dtype not in (None, torch.float32) or input.dtype != torch.float32:
        raise UnsupportedOperator(f"softmax of {input.dtype} in {dtype} has no bound; use float32")


def softmax(
    input: Tensor,
    dim: int,
    dtype: torch.dtype | None = None,
    half_to_float: bool = False,
    *,
    rule: Rule = DETERMINISTIC,
) -> Bound:
    """tau = y_i r' + 2 MIN, r = u (3 (d_i + W/S) + 19) + gamma_(n-1), in the terms of the module's description.

    input: FP32 of any shape. Raises UnsupportedOperator for other types.
    """
    _check(input, dtype)
    n = input.shape[dim] if input.dim() else 1
    x = input.to(rule.dtype)
    value = torch.softmax(x, dim)
    shift = x.amax(dim, keepdim=True) - x
    average = _weighted(value, shift).sum(dim, keepdim=True)
    relative = SHIFT * (shift + average) + (2 * EXP + DIVISION + rule.gamma(n - 1))
    factor = _second_order(relative)
    relative = relative * factor
    if not rule.with_value:
        relative = relative * factor  # values in FP32 are themselves off by r
    # A vanished value times an infinite r would be NaN; such values are below MIN anyway.
    tolerance = torch.where(value == 0, 0.0, value * relative) + 2.5 * SMALLEST_NORMAL
    return rule.bound(torch.where(average.isfinite(), tolerance, math.inf), lambda: value)


def log_softmax(
    input: Tensor,
    dim: int,
    dtype: torch.dtype | None = None,
    half_to_float: bool = False,
    *,
    rule: Rule = DETERMINISTIC,
) -> Bound:
    """tau = (r' / r) (u (3 d_i + |y_i| + 4 |log S|) + r) + 4 MIN, r = 6 u + gamma_(n-1) + 3 u W/S, in the terms of the
    module's description.

    input: FP32 of any shape. Raises UnsupportedOperator for other types.
    """
    _check(input, dtype)
    n, x = input.shape[dim] if input.dim() else 1, input.double()
    shift = x.amax(dim, keepdim=True) - x
    weight = torch.exp(-shift)
    total = weight.sum(dim, keepdim=True)
    average = _weighted(weight, shift).sum(dim, keepdim=True) / total
    log_total = total.log()
    value = -shift - log_total
    rounded = UNIT_ROUNDOFF * (3 * shift + value.abs() + 4 * log_total)
    relative = EXP + rule.gamma(n - 1) + SHIFT * average
    tolerance = (rounded + relative) * _second_order(relative) + 4 * SMALLEST_NORMAL
    return rule.bound(tolerance, lambda: value)


def _weighted(weight: Tensor, shift: Tensor) -> Tensor:
    """Their products; zero where the weight is, as that of a lane of -inf."""
    return torch.where(weight == 0, 0.0, weight * shift)
