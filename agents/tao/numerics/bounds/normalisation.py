"""Layer, group, RMS and (inference) batch normalisation.

For a group of n values, m their mean, A = mean |x|, Q = mean x^2, V = Q - m^2, W = V + eps, r = W^(-1/2):

    k   = n + 8 + 3 ceil(ln n)                    roundings of a moment, Welford's recurrence included
    dm  = gamma_k A + 3 MIN                        the mean
    rho = 3 (gamma_k + u) Q / W + 3 u + 8 MIN / W  the variance with eps; undecided where rho >= 1/2
    R   = (1 - rho)^(-1/2) - 1 + 6 u               the reciprocal root
    t   = r (1 + R) (dm + 4 u (|x| + |m|) + MIN [2]) + |(x - m) r| R
    tau = |w| (t + 5 u |(x - m) r|) (1 + 2^-7) + 4 u |b| + MIN (4 + |w| (2 + r))

rho allows the one-pass variance mean(x^2) - mean(x)^2: Q to gamma_k Q, the square of the mean to
2 gamma_k |m| A <= 2 gamma_k Q. Two-pass and Welford's algorithms are better (Chan, Golub and LeVeque,
1983). The output may be folded to x (r w) + (b - m r w), hence |x| + |m|. Subnormal inputs read as zero
shift x and m by MIN each. rms_norm has no mean and Q / W <= 1:

    R   = (1 - rho)^(-1/2) - 1 + 6 u,   rho = gamma_(n+4) Q / W + 3 u + 8 MIN / W
    tau = |y| (R + 4 u) (1 + 2^-7) + MIN (3 + |w| (2 + 2 r (1 + R)))

batch_norm reads mean, var, w, b; with s = |w| (var + eps)^(-1/2), separate or folded:

    tau = 12 u (|x| s + |mean| s + |b|) + MIN (3 + |x| + |mean| + 3 s + |w|)

where undecided for var + eps < MIN. Squares that may overflow (Q >= 2^126 / n) decide nothing.
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
    Rule,
    as_float32,
)

_MORE = 1 + 2.0**-7
FP32_EPSILON = 2.0**-23


def _root(rho: Tensor) -> Tensor:
    """R of the module's description; infinite where rho >= 1/2."""
    return torch.where(rho < 0.5, (1 - rho).clamp_min(0.5).rsqrt() - 1, math.inf) + 6 * UNIT_ROUNDOFF


def _normalise(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, rule: Rule
) -> list[Bound]:
    """input [groups, n]; weight and bias broadcastable to it. The output [groups, n], mean and rstd
    [groups, 1]."""
    x, n, eps = input.double(), input.shape[-1], as_float32(eps)
    # var_mean centres first: Q - m^2 would cancel in FP64, too.
    variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    magnitude = x.abs().mean(-1, keepdim=True)
    width, squares = variance + eps, variance + mean.square()
    rstd = width.rsqrt()
    gamma = rule.gamma(n + 8 + 3 * math.ceil(math.log(max(n, 1))))
    mean_error = gamma * magnitude + 3 * SMALLEST_NORMAL
    rho = 3 * (gamma + UNIT_ROUNDOFF) * squares / width + 3 * UNIT_ROUNDOFF + 8 * SMALLEST_NORMAL / width
    decided = squares * n < OVERFLOW / 2
    root = torch.where(decided, _root(rho), math.inf)
    # One factor for each of |x|, |x - m| and 1, so that elements take few passes.
    by_input = _MORE * 4 * UNIT_ROUNDOFF * rstd * (1 + root)
    by_shift = _MORE * rstd * (root + 5 * UNIT_ROUNDOFF)
    fixed = mean_error + 4 * UNIT_ROUNDOFF * mean.abs() + 2 * SMALLEST_NORMAL
    fixed = _MORE * rstd * (1 + root) * fixed + SMALLEST_NORMAL * (2 + rstd)
    flush: Tensor | float = 4 * SMALLEST_NORMAL
    if bias is not None:
        flush = (4 * UNIT_ROUNDOFF * bias.abs() + flush).to(rule.dtype)
    by_input, by_shift, fixed, centre = (f.to(rule.dtype) for f in (by_input, by_shift, fixed, mean))
    wide = input.to(rule.dtype)
    tolerance = (wide - centre).abs_().mul_(by_shift).add_(fixed)
    # The mean in FP32 moves |x - m| by u |m|, times R: second order to 4 u |m|.
    tolerance.addcmul_(wide.abs(), by_input)
    if weight is not None:
        tolerance.mul_(weight.abs().to(rule.dtype))
    tolerance.add_(flush)

    def value() -> Tensor:
        y = (x - mean) * rstd
        y = y if weight is None else y * weight.double()
        return y if bias is None else y + bias.double()

    return [
        rule.bound(tolerance, value),
        rule.bound(torch.where(decided, mean_error, math.inf), lambda: mean),
        rule.bound(rstd * root + 2 * SMALLEST_NORMAL, lambda: rstd),
    ]


def _reshaped(bound: Bound, shape: tuple[int, ...]) -> Bound:
    value = None if bound.value is None else bound.value.reshape(shape)
    return Bound(value, bound.tolerance.reshape(shape))


def native_layer_norm(
    input: Tensor,
    normalized_shape: list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    rule: Rule = DETERMINISTIC,
) -> list[Bound]:
    """Output, mean and reciprocal deviation. input: FP32 [*, *normalized_shape]; weight, bias
    [*normalized_shape]."""
    n = math.prod(normalized_shape)
    flat = (None if x is None else x.reshape(n) for x in (weight, bias))
    output, mean, rstd = _normalise(input.reshape(-1, n), *flat, eps, rule)
    rows = (*input.shape[: input.dim() - len(normalized_shape)], *[1] * len(normalized_shape))
    return [_reshaped(output, input.shape), _reshaped(mean, rows), _reshaped(rstd, rows)]


def layer_norm(
    input: Tensor,
    normalized_shape: list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    rule: Rule = DETERMINISTIC,
) -> Bound:
    """The output of `native_layer_norm`."""
    return native_layer_norm(input, normalized_shape, weight, bias, eps, rule=rule)[0]


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    rule: Rule = DETERMINISTIC,
) -> Bound:
    """input: FP32 [N, C, *]; weight, bias [C]; a group is C / num_groups channels with all their
    positions."""
    batch, channels = input.shape[:2]
    size = math.prod(input.shape[2:])
    return native_group_norm(input, weight, bias, batch, channels, size, num_groups, eps, rule=rule)[0]


def native_group_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    N: int,
    C: int,
    HxW: int,
    group: int,
    eps: float,
    *,
    rule: Rule = DETERMINISTIC,
) -> list[Bound]:
    """Output, mean and reciprocal deviation [N, group], as `group_norm`."""

    def expanded(parameter: Tensor | None) -> Tensor | None:
        if parameter is None:
            return None
        return parameter.reshape(1, group, C // group, 1).expand(N, -1, -1, HxW).reshape(N * group, -1)

    found = _normalise(input.reshape(N * group, -1), expanded(weight), expanded(bias), eps, rule)
    return [_reshaped(b, s) for b, s in zip(found, (input.shape, (N, group), (N, group)), strict=True)]


def rms_norm(
    input: Tensor,
    normalized_shape: list[int],
    weight: Tensor | None = None,
    eps: float | None = None,
    *,
    rule: Rule = DETERMINISTIC,
) -> Bound:
    """input: FP32 [*, *normalized_shape]; weight [*normalized_shape]; eps: 2^-23 where None."""
    n = math.prod(normalized_shape)
    x = input.reshape(-1, n).double()
    squares = x.square().mean(-1, keepdim=True)
    width = squares + as_float32(FP32_EPSILON if eps is None else eps)
    rstd = width.rsqrt()
    rho = rule.gamma(n + 4) * squares / width + 3 * UNIT_ROUNDOFF + 8 * SMALLEST_NORMAL / width
    root = torch.where(squares * n < OVERFLOW / 2, _root(rho), math.inf)
    scale = torch.ones((), dtype=x.dtype) if weight is None else weight.reshape(n).double()
    value = x * rstd * scale.to(x.device)
    tolerance = value.abs() * ((root + 4 * UNIT_ROUNDOFF) * _MORE)
    flushed = 3 + scale.to(x.device).abs() * (2 + 2 * rstd * (1 + root))
    tolerance = tolerance + SMALLEST_NORMAL * flushed
    return _reshaped(rule.bound(tolerance, lambda: value), input.shape)


def batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    *,
    rule: Rule = DETERMINISTIC,
) -> Bound:
    """input: FP32 [N, C, *]; weight, bias, running_mean, running_var [C].

    Raises UnsupportedOperator in training.
    """
    if training or running_mean is None or running_var is None:
        raise UnsupportedOperator(
            "aten.batch_norm.default over a batch's own statistics has no bound; use eval()"
        )
    shape = [1, -1] + [1] * (input.dim() - 2)
    mean, variance = running_mean.double(), running_var.double()
    width = variance + as_float32(eps)
    scale = width.rsqrt() * (1.0 if weight is None else weight.double())
    factor = torch.ones_like(scale) if weight is None else weight.double().abs()
    offset = torch.zeros_like(scale) if bias is None else bias.double()
    unit, s = 12 * UNIT_ROUNDOFF, scale.abs()
    fixed = unit * (mean.abs() * s + offset.abs())
    fixed = fixed + SMALLEST_NORMAL * (3 + mean.abs() + 3 * s + factor)
    slope = unit * s + SMALLEST_NORMAL
    fixed = torch.where((width >= SMALLEST_NORMAL) & width.isfinite(), fixed, math.inf)

    def wide(channels: Tensor, dtype: torch.dtype) -> Tensor:
        return channels.to(dtype).reshape(shape)

    magnitude = input.abs().to(rule.dtype)
    tolerance = magnitude.mul_(wide(slope, rule.dtype)).add_(wide(fixed, rule.dtype))

    def value() -> Tensor:
        wanted = torch.float64
        return (input.double() - wide(mean, wanted)) * wide(scale, wanted) + wide(offset, wanted)

    return rule.bound(tolerance, value)


def batch_norm_no_training(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
    *,
    rule: Rule = DETERMINISTIC,
) -> list[Bound | None]:
    """_native_batch_norm_legit_no_training: the output; its saved statistics are empty tensors."""
    bound = batch_norm(input, weight, bias, running_mean, running_var, False, momentum, eps, rule=rule)
    return [bound, None, None]
