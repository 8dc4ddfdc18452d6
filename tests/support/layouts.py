"""Tensors as calls may read them: drawn shapes, kinds of numbers, and layouts in memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.kernels import KINDS
from benchmarks.kernels import draw as numbers


def _transposed(x: Tensor) -> Tensor:
    """Column-major."""
    return x.permute(*reversed(range(x.dim()))).contiguous().permute(*reversed(range(x.dim())))


def _every_other(x: Tensor) -> Tensor:
    return torch.stack([x, torch.full_like(x, torch.nan)], -1)[..., 0]


def _inside(x: Tensor) -> Tensor:
    """Part of a larger tensor, at an offset in every dimension."""
    larger = torch.full([size + 3 for size in x.shape], torch.nan)
    larger[tuple(slice(1, 1 + size) for size in x.shape)] = x
    return larger[tuple(slice(1, 1 + size) for size in x.shape)]


def _expanded(x: Tensor) -> Tensor:
    """The first slice of the first dimension in place of all, by a stride of 0."""
    return x[:1].expand(x.shape) if x.dim() else x


def _channels_last(x: Tensor) -> Tensor:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.contiguous(memory_format=formats.get(x.dim(), torch.contiguous_format))


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": Tensor.contiguous,
    "transposed": _transposed,
    "every other": _every_other,
    "inside": _inside,
    "expanded": _expanded,
    "channels last": _channels_last,
}
"""Ways to lay a tensor out in memory. Between the elements lies NaN, which no call may read."""


@st.composite
def tensors(draw: st.DrawFn, *shape: int, kinds: tuple[str, ...] = KINDS) -> Tensor:
    """A float32 tensor of a shape, of any kind of numbers, ordinary or hostile, in any layout."""
    kind, layout = draw(st.sampled_from(kinds)), draw(st.sampled_from(sorted(LAYOUTS)))
    torch.manual_seed(draw(st.integers(0, 2**20)))
    return LAYOUTS[layout](numbers(kind, *shape))


def shapes(rank: int, largest: int = 8) -> st.SearchStrategy[tuple[int, ...]]:
    """Sizes of so many dimensions, of 1 to `largest` elements each."""
    return st.tuples(*[st.integers(1, largest)] * rank)
