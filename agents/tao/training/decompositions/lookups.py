"""Lookups, slices and masks, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tao.training.decompositions.register import Table, register
from tao.training.decompositions.windows import fit, spread

TABLE: Table = {}


@register(TABLE, "embedding_dense_backward")
def embedding_gradient(g: Tensor, indices: Tensor, rows: int, padding_idx: int, by_frequency: bool) -> Tensor:
    if by_frequency:
        return NotImplemented
    indices, g = indices.flatten().to(torch.int64), g.reshape(-1, g.shape[-1])
    if padding_idx >= 0:
        g = torch.where((indices == padding_idx)[:, None], 0.0, g)
    return torch.ops.tao.embedding_gradient(g, indices, rows)


@register(TABLE, "index_put", "_unsafe_index_put")
def index_put(
    x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    """Rows that are added to, which is what the gradient of indexing the first dimension does."""
    (index, *others), rest = indices, x.shape[1:]
    if not accumulate or others or index is None or index.dtype != torch.int64:
        return NotImplemented
    index = torch.where(index < 0, index + x.shape[0], index)
    rows = values.expand(*index.shape, *rest).reshape(index.numel(), -1)
    added = torch.ops.tao.embedding_gradient(rows, index.flatten(), x.shape[0])
    return x + added.reshape(x.shape)


@register(TABLE, "slice_backward")
def slice_backward(g: Tensor, sizes: Sequence[int], dim: int, start: int, end: int, step: int) -> Tensor:
    dim %= len(sizes)
    start = min(start + sizes[dim] if start < 0 else start, sizes[dim])
    last = tuple(sizes[dim:])
    g = spread(g, (step, *(1 for _ in last[1:])))
    return fit(g, (start, *(0 for _ in last[1:])), last)


@register(TABLE, "select_backward")
def select_backward(g: Tensor, sizes: Sequence[int], dim: int, index: int) -> Tensor:
    dim %= len(sizes)
    index %= sizes[dim]
    return slice_backward(g.unsqueeze(dim), sizes, dim, index, index + 1, 1)


@register(TABLE, "constant_pad_nd")
def pad(x: Tensor, pads: Sequence[int], value: float = 0) -> Tensor:
    """Padding by negative counts crops; other types than float32 are joined with what stands around them."""
    if any(p < 0 for p in pads):
        for i in range(len(pads) // 2):
            dim, (before, after) = x.dim() - 1 - i, pads[2 * i : 2 * i + 2]
            x = x.narrow(dim, max(-before, 0), x.shape[dim] + min(before, 0) + min(after, 0))
        return functional.pad(x, [max(p, 0) for p in pads], value=value)
    if x.dtype == torch.float32:
        return NotImplemented
    for i in range(len(pads) // 2):
        dim, parts = x.dim() - 1 - i, [x]
        for place, count in ((0, pads[2 * i]), (2, pads[2 * i + 1])):
            if count:
                shape = [count if d == dim else n for d, n in enumerate(x.shape)]
                parts.insert(place, torch.full(shape, value, dtype=x.dtype, device=x.device))
        x = torch.cat(parts, dim) if len(parts) > 1 else x
    return x


@register(TABLE, "stack")
def stack(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    dim %= parts[0].dim() + 1
    return torch.cat([part.unsqueeze(dim) for part in parts], dim)


@register(TABLE, "masked_fill.Tensor")
def masked_fill(x: Tensor, mask: Tensor, value: Tensor) -> Tensor:
    return torch.where(mask, value.to(x.dtype), x)


@register(TABLE, "tril")
def tril(x: Tensor, diagonal: int = 0) -> Tensor:
    return torch.where(_column_less_row(x) <= diagonal, x, torch.zeros((), dtype=x.dtype))


@register(TABLE, "triu")
def triu(x: Tensor, diagonal: int = 0) -> Tensor:
    return torch.where(_column_less_row(x) >= diagonal, x, torch.zeros((), dtype=x.dtype))


def _column_less_row(x: Tensor) -> Tensor:
    rows, columns = (torch.arange(n, device=x.device) for n in x.shape[-2:])
    return columns - rows[:, None]
