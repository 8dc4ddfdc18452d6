"""Sums, means, softmax and losses. Every sum is one `sum.dim_IntList`, every mean a sum and a division."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tao.training.decompositions.register import Table, register

TABLE: Table = {}
MEAN, SUM = 1, 2
"""ATen's numbers of reductions; 0 is none."""


def mean(x: Tensor, dims: Sequence[int], keepdim: bool = False) -> Tensor:
    """The sum over some dimensions, divided by their count."""
    return x.sum(list(dims), keepdim) / math.prod(x.shape[d] for d in dims)


@register(TABLE, "sum")
def sum_all(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    return x.sum(list(range(x.dim())), dtype=dtype)


@register(TABLE, "sum.dim_IntList")
def sum_dims(
    x: Tensor, dims: Sequence[int] | None, keepdim: bool = False, dtype: torch.dtype | None = None
) -> Tensor:
    reduced = _dims(x, dims)
    if not x.is_floating_point():  # integers are counted as floats, which is exact below 2^24
        return x.to(torch.float32).sum(reduced, keepdim).to(dtype or torch.int64)
    if all(x.shape[d] == 1 for d in reduced):
        kept = [n for d, n in enumerate(x.shape) if keepdim or d not in reduced]
        return x.reshape(kept).clone()
    if dims is None or len(dims) != len(reduced):
        return x.sum(reduced, keepdim)
    return NotImplemented


@register(TABLE, "mean")
def mean_all(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    return mean(x, range(x.dim()))


@register(TABLE, "mean.dim")
def mean_dims(
    x: Tensor, dims: Sequence[int] | None, keepdim: bool = False, dtype: torch.dtype | None = None
) -> Tensor:
    return mean(x, _dims(x, dims), keepdim)


@register(TABLE, "var_mean.correction")
def var_mean(
    x: Tensor, dims: Sequence[int] | None = None, correction: float | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    reduced = _dims(x, dims)
    average = mean(x, reduced, True)
    centred = x - average
    count = math.prod(x.shape[d] for d in reduced) - (1 if correction is None else correction)
    variance = (centred * centred).sum(reduced, keepdim) / count
    return variance, average if keepdim else average.reshape(variance.shape)


@register(TABLE, "var.correction")
def var(
    x: Tensor, dims: Sequence[int] | None = None, correction: float | None = None, keepdim: bool = False
) -> Tensor:
    return var_mean(x, dims, correction, keepdim)[0]


@register(TABLE, "linalg_vector_norm")
def vector_norm(
    x: Tensor, ord: float = 2, dims: Sequence[int] | None = None, keepdim: bool = False, dtype: Any = None
) -> Tensor:
    return (x * x).sum(_dims(x, dims), keepdim).sqrt() if ord == 2 else NotImplemented


@register(TABLE, "_softmax")
def softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor:
    exponentials = (x - torch.amax(x, [dim], True)).exp()
    return exponentials / exponentials.sum([dim], True)


@register(TABLE, "_safe_softmax")
def safe_softmax(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """A row of minus infinities, which only a mask makes, gives zeros."""
    top = torch.amax(x, [dim], True)
    exponentials = (x - torch.where(top == -math.inf, 0.0, top)).exp()
    total = exponentials.sum([dim], True)
    return exponentials / torch.where(total == 0, 1.0, total)


@register(TABLE, "_softmax_backward_data")
def softmax_backward(g: Tensor, y: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    product = g * y
    return product - y * product.sum([dim], True)


@register(TABLE, "_log_softmax")
def log_softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor:
    shifted = x - torch.amax(x, [dim], True)
    return shifted - shifted.exp().sum([dim], True).log()


@register(TABLE, "_log_softmax_backward_data")
def log_softmax_backward(g: Tensor, y: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    return g - y.exp() * g.sum([dim], True)


@register(TABLE, "logsumexp")
def logsumexp(x: Tensor, dims: Sequence[int], keepdim: bool = False) -> Tensor:
    top = torch.amax(x, dims, True)
    result = (x - top).exp().sum(list(dims), True).log() + top
    return result if keepdim else result.reshape(x.sum(list(dims)).shape)


@register(TABLE, "nll_loss_forward")
def nll_loss(
    x: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignore_index: int
) -> tuple[Tensor, Tensor]:
    if x.dim() != 2:
        return NotImplemented
    used = target != ignore_index
    place = torch.where(used, target, 0)
    weights = used.to(x.dtype) if weight is None else torch.where(used, weight[place], 0.0)
    picked = x.gather(1, place[:, None])[:, 0]
    losses = torch.where(used, -picked if weight is None else -picked * weights, 0.0)
    total = weights.sum()
    if reduction == MEAN:
        return losses.sum() / total, total
    return (losses.sum() if reduction == SUM else losses), total


@register(TABLE, "nll_loss_backward")
def nll_loss_backward(
    g: Tensor,
    x: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: int,
    ignore_index: int,
    total: Tensor,
) -> Tensor:
    if x.dim() != 2:
        return NotImplemented
    each = -(g / total) if reduction == MEAN else -g
    if weight is not None:
        each = each * weight[torch.where(target != ignore_index, target, 0)]
    classes = torch.arange(x.shape[1], device=x.device)
    hit = (classes == target[:, None]) & (target != ignore_index)[:, None]
    return torch.where(hit, each[:, None] if each.dim() else each, 0.0)


@register(TABLE, "mse_loss")
def mse_loss(x: Tensor, y: Tensor, reduction: int = MEAN) -> Tensor:
    squares = (x - y) * (x - y)
    return _reduced(squares, reduction)


@register(TABLE, "mse_loss_backward")
def mse_loss_backward(g: Tensor, x: Tensor, y: Tensor, reduction: int) -> Tensor:
    return g * ((x - y) * (2 / x.numel() if reduction == MEAN else 2.0))


@register(TABLE, "binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(
    x: Tensor,
    y: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: int = MEAN,
) -> Tensor:
    if weight is not None or pos_weight is not None:
        return NotImplemented
    return _reduced(torch.clamp(x, min=0.0) - x * y + ((-x.abs()).exp() + 1).log(), reduction)


def _reduced(x: Tensor, reduction: int) -> Tensor:
    return x.mean() if reduction == MEAN else x.sum() if reduction == SUM else x


def _dims(x: Tensor, dims: Sequence[int] | None) -> list[int]:
    """Dimensions that are reduced, ascending; none given means all."""
    return sorted({d % x.dim() for d in dims}) if dims and x.dim() else list(range(x.dim()))
