"""Layer, group, RMS and (inference) batch normalisation.

The bounds of the library Normalisation in contracts/libraries, which derives them; Welford's recurrence, the
one-pass variance and the output folded to x (r w) + (b - m r w) are among the algorithms. For a group of n
values, m their mean, A = mean |x|, Q = mean x^2, V = Q - m^2, W = V + eps, r = W^(-1/2), z = (x - m) r:

    k   = n + 9 + 2 floor(log2 n)                  roundings of a moment
    rho = (3 (gamma_k + u) (1 + gamma_k) Q + F) / W + 3 u        undecided where rho >= 1/2
    R   = (1 - rho)^(-1/2) - 1 + 6 u               the reciprocal root
    t   = |w| (r (1 + R) (gamma_k A + 4 u (|x| + |m|) + G) + R |z|) + 2 u |b|
    tau = t (1 + 2^-7) + H

G = (2 n + 6) MIN and F = (4 n + 16) MIN are what flushed results and subnormal inputs read as zero cost the
mean and the variance; products with w, and w itself, may be flushed before they meet the other factors:
H = MIN (5 + 2 (|x| + |m|) + 3 |w| + |z|). rms_norm has no mean and Q / W <= 1, with z = x r:

    rho = (gamma_(n+4) Q + F) / W + 3 u
    tau = |z w| (R + 4 u) (1 + 2^-7) + 4 MIN r (1 + R) |w| + H

batch_norm reads mean, var, w, b, separate or folded, and is undecided for W = var + eps < 2^-98:

    tau = 12 u (r |w| (|x| + |m|) + |b|) + 4 MIN r |w| + H

Squares that may overflow, n times their sum included (Q >= 2^126 / n^2), decide nothing, nor does anything that r w, or
another of the products and sums on the way, may overflow in: (1 + r (1 + R)) (1 + |w|) (1 + |x| + |m|) + |b| >= 2^127
for the largest x, w and b of a row (of the input for batch_norm, where R counts as 1).
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


def _root(deviation: Tensor, n: int, width: Tensor, decided: Tensor) -> Tensor:
    """R of the module's description, for a variance that is off by `deviation` and F; infinite where
    undecided."""
    rho = (deviation + (4 * n + 16) * SMALLEST_NORMAL) / width + 3 * UNIT_ROUNDOFF
    root = (1 - rho).clamp_min(0.5).rsqrt() - 1 + 6 * UNIT_ROUNDOFF
    return torch.where(decided & (rho < 0.5), root, math.inf)


def _reach(root: Tensor, weight: Tensor | None, size: Tensor, bias: Tensor | None) -> Tensor:
    """What no intermediate result exceeds. root: r (1 + R); size: |x| + |m|."""
    weights, biases = (0.0 if w is None else w.abs().max().double() for w in (weight, bias))
    return (1 + root) * (1 + weights) * (1 + size) + biases


def _normalise(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, rule: Rule
) -> list[Bound]:
    """input [groups, n]; weight and bias broadcastable to it. The output [groups, n], mean and rstd
    [groups, 1]."""
    x, n, eps = input.double(), input.shape[-1], as_float32(eps)
    # var_mean centres first: Q - m^2 would cancel in FP64, too.
    variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    width, squares = variance + eps, variance + mean.square()
    rstd = width.rsqrt()
    gamma = rule.gamma(n + 9 + 2 * (n.bit_length() - 1))
    mean_error = gamma * x.abs().mean(-1, keepdim=True) + (2 * n + 6) * SMALLEST_NORMAL
    decided = squares * n**2 < OVERFLOW / 2
    root = _root(3 * (gamma + UNIT_ROUNDOFF) * (1 + gamma) * squares, n, width, decided)
    # One factor for each of |x|, |x - m| and 1, so that elements take few passes.
    by_input = _MORE * 4 * UNIT_ROUNDOFF * rstd * (1 + root)
    by_shift = _MORE * rstd * root
    fixed = _MORE * rstd * (1 + root) * (mean_error + 4 * UNIT_ROUNDOFF * mean.abs())
    largest = mean.abs() + x.abs().amax(-1, keepdim=True)
    finite = _reach(rstd * (1 + root), weight, largest, bias) < OVERFLOW
    fixed = torch.where(finite, fixed, math.inf)
    flushed = SMALLEST_NORMAL * (5 + 2 * mean.abs())
    by_input, by_shift, fixed, flushed, centre, scale = (
        f.to(rule.dtype) for f in (by_input, by_shift, fixed, flushed, mean, rstd)
    )
    wide = input.to(rule.dtype)
    shift, size = (wide - centre).abs_(), wide.abs()
    tolerance = (shift * by_shift).add_(fixed)
    # The mean in FP32 moves |x - m| by u |m|, times R: second order to 4 u |m|.
    tolerance.addcmul_(size, by_input)
    flushed = flushed + SMALLEST_NORMAL * (2 * size + shift.mul_(scale))
    factor = torch.ones((), dtype=rule.dtype) if weight is None else weight.abs().to(rule.dtype)
    tolerance.mul_(factor).add_(flushed + 3 * SMALLEST_NORMAL * factor)
    if bias is not None:
        tolerance.add_((_MORE * 2 * UNIT_ROUNDOFF * bias.abs()).to(rule.dtype))

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
    """Output, mean and reciprocal deviation: tau = t (1 + 2^-7) + H, gamma_k A + G and r R + 2 MIN, as in the module's
    description.

    input: FP32 [*, *normalized_shape]; weight, bias [*normalized_shape].
    """
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
    """The output of `native_layer_norm`: tau = t (1 + 2^-7) + H."""
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
    """tau of `layer_norm`; a group is C / num_groups channels with all their positions.

    input: FP32 [N, C, *]; weight, bias [C].
    """
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
    """Output, mean and reciprocal deviation [N, group]: tau of `native_layer_norm`, shapes as for `group_norm`."""

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
    """tau = |z w| (R + 4 u) (1 + 2^-7) + 4 MIN r (1 + R) |w| + H, with the rho of RMS in the module's description.

    input: FP32 [*, *normalized_shape]; weight [*normalized_shape]; eps: 2^-23 where None.
    """
    n = math.prod(normalized_shape)
    x = input.reshape(-1, n).double()
    squares = x.square().mean(-1, keepdim=True)
    width = squares + as_float32(FP32_EPSILON if eps is None else eps)
    rstd = width.rsqrt()
    root = _root(rule.gamma(n + 4) * squares, n, width, squares * n**2 < OVERFLOW / 2)
    finite = _reach(rstd * (1 + root), weight, x.abs().amax(-1, keepdim=True), None) < OVERFLOW
    root = torch.where(finite, root, math.inf)
    scale = torch.ones((), dtype=x.dtype) if weight is None else weight.reshape(n).double()
    scale = scale.to(x.device)
    normalised = x * rstd
    value = normalised * scale
    tolerance = value.abs() * ((root + 4 * UNIT_ROUNDOFF) * _MORE)
    flushed = 5 + 2 * x.abs() + scale.abs() * (3 + 4 * rstd * (1 + root)) + normalised.abs()
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
    """tau = 12 u (r |w| (|x| + |m|) + |b|) + 4 MIN r |w| + H, undecided for W < 2^-98 (see the module's description).

    input: FP32 [N, C, *]; weight, bias, running_mean, running_var [C]. Raises UnsupportedOperator in training.
    """
    if training or running_mean is None or running_var is None:
        raise UnsupportedOperator(
            "aten.batch_norm.default over a batch's own statistics has no bound; use eval()"
        )
    shape = [1, -1] + [1] * (input.dim() - 2)
    mean, variance = running_mean.double(), running_var.double()
    width = variance + as_float32(eps)
    rstd = width.rsqrt()
    weights = torch.ones_like(rstd) if weight is None else weight.double()
    scale, factor = rstd * weights, weights.abs()
    offset = torch.zeros_like(rstd) if bias is None else bias.double()
    unit, s, centre = 12 * UNIT_ROUNDOFF, scale.abs(), mean.abs()
    fixed = unit * (centre * s + offset.abs())
    # |z| is at most (|x| + |m|) r.
    fixed = fixed + SMALLEST_NORMAL * (5 + (2 + rstd) * centre + 3 * factor + 4 * s)
    slope = unit * s + SMALLEST_NORMAL * (2 + rstd)
    decided = (variance >= 0) & (as_float32(eps) >= 0) & (width >= 2.0**-98) & (width < OVERFLOW)
    largest = input.abs().amax([d for d in range(input.dim()) if d != 1]).double()
    reach = _reach(2 * rstd, weights, centre + largest, offset)
    fixed = torch.where(decided & (reach < OVERFLOW), fixed, math.inf)

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
    """_native_batch_norm_legit_no_training: the output as `batch_norm`; its saved statistics are empty tensors."""
    bound = batch_norm(input, weight, bias, running_mean, running_var, False, momentum, eps, rule=rule)
    return [bound, None, None]
