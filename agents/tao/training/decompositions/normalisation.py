"""Layer, group and batch normalisation and their gradients, in sums and single operations.

With xhat = (x - mean) / sqrt(var + eps) over n elements and gradient h of xhat, the gradient of x is
(h - mean(h) - xhat mean(h xhat)) / sqrt(var + eps) (Ioffe and Szegedy, "Batch normalization", ICML 2015).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from tao.training.decompositions.reductions import mean
from tao.training.decompositions.register import Table, register

TABLE: Table = {}


def _statistics(x: Tensor, dims: Sequence[int], eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x less its mean; mean, variance and 1 / sqrt(var + eps), each with the reduced dimensions kept."""
    average = mean(x, dims, True)
    centred = x - average
    variance = mean(centred * centred, dims, True)
    return centred, average, variance, (variance + eps).sqrt().reciprocal()


def _input_gradient(h: Tensor, xhat: Tensor, rstd: Tensor, dims: Sequence[int]) -> Tensor:
    return (h - mean(h, dims, True) - xhat * mean(h * xhat, dims, True)) * rstd


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


@register(TABLE, "native_layer_norm")
def layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    dims = range(x.dim() - len(shape), x.dim())
    centred, average, _, rstd = _statistics(x, dims, eps)
    return _affine(centred * rstd, weight, bias), average, rstd


@register(TABLE, "native_layer_norm_backward")
def layer_norm_backward(
    g: Tensor,
    x: Tensor,
    shape: Sequence[int],
    average: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    wanted: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    outer = x.dim() - len(shape)
    xhat = (x - average) * rstd
    h = g if weight is None else g * weight
    dx = _input_gradient(h, xhat, rstd, range(outer, x.dim())) if wanted[0] else None
    over = list(range(outer))
    dweight = _over(g * xhat, over) if wanted[1] and weight is not None else None
    return dx, dweight, _over(g, over) if wanted[2] and bias is not None else None


def _over(x: Tensor, dims: list[int]) -> Tensor:
    return x.sum(dims) if dims else x


@register(TABLE, "native_group_norm")
def group_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    n: int,
    c: int,
    places: int,
    groups: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    grouped = x.reshape(n, groups, c // groups * places)
    centred, average, _, rstd = _statistics(grouped, [2], eps)
    per_channel = (1, c) + (1,) * (x.dim() - 2)
    parts = (None if p is None else p.reshape(per_channel) for p in (weight, bias))
    return _affine((centred * rstd).reshape(x.shape), *parts), average[..., 0], rstd[..., 0]


@register(TABLE, "native_group_norm_backward")
def group_norm_backward(
    g: Tensor,
    x: Tensor,
    average: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    n: int,
    c: int,
    places: int,
    groups: int,
    wanted: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    row = (n, groups, c // groups * places)
    rstd = rstd[..., None]
    xhat = (x.reshape(row) - average[..., None]) * rstd
    by_channel = g.reshape(n, c, places)
    h = by_channel if weight is None else by_channel * weight[:, None]
    dx = _input_gradient(h.reshape(row), xhat, rstd, [2]).reshape(x.shape) if wanted[0] else None
    dweight = (by_channel * xhat.reshape(n, c, places)).sum([0, 2]) if wanted[1] else None
    return dx, dweight, by_channel.sum([0, 2]) if wanted[2] else None


@register(TABLE, "_native_batch_norm_legit", "_native_batch_norm_legit.no_stats")
def batch_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, *rest) -> tuple[Tensor, Tensor, Tensor]:
    """rest: perhaps running mean and variance, which are written to; then training, momentum and eps."""
    *running, training, momentum, eps = rest
    if not training:
        return batch_norm_fixed(x, weight, bias, *running, momentum, eps)
    dims = [d for d in range(x.dim()) if d != 1]
    centred, average, variance, rstd = _statistics(x, dims, eps)
    average, variance = average.flatten(), variance.flatten()
    if running:
        count = math.prod(x.shape[d] for d in dims)
        unbiased = variance * (count / (count - 1))
        for held, new in zip(running, (average, unbiased), strict=True):
            held.copy_(held * (1 - momentum) + new * momentum)
    return _affine(centred * rstd, *_channels(x, weight, bias)), average, rstd.flatten()


@register(TABLE, "_native_batch_norm_legit_no_training")
def batch_norm_fixed(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    average: Tensor,
    variance: Tensor,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    centre, rstd = _channels(x, average, (variance + eps).sqrt().reciprocal())
    return _affine((x - centre) * rstd, *_channels(x, weight, bias)), x.new_zeros(0), x.new_zeros(0)


@register(TABLE, "native_batch_norm_backward")
def batch_norm_backward(
    g: Tensor,
    x: Tensor,
    weight: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    average: Tensor | None,
    rstd: Tensor | None,
    training: bool,
    eps: float,
    wanted: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    dims = [d for d in range(x.dim()) if d != 1]
    if not training:
        average, rstd = running_mean, (running_var + eps).sqrt().reciprocal()
    factor = rstd if weight is None else rstd * weight
    centre, rstd, factor = _channels(x, average, rstd, factor)
    xhat = (x - centre) * rstd
    # The weight is one number for all that is averaged, so both means are gradients of weight and bias.
    dweight, dbias = (g * xhat).sum(dims), g.sum(dims)
    if training:
        count = math.prod(x.shape[d] for d in dims)
        of_bias, of_weight = _channels(x, dbias / count, dweight / count)
        dx = (g - of_bias - xhat * of_weight) * factor
    else:
        dx = g * factor
    return tuple(d if want else None for d, want in zip((dx, dweight, dbias), wanted, strict=True))


def _channels(x: Tensor, *vectors: Tensor | None) -> list[Tensor | None]:
    """Vectors along dimension 1 of x."""
    shape = (1, -1) + (1,) * (x.dim() - 2)
    return [None if v is None else v.reshape(shape) for v in vectors]
