"""Index maps: which element of an operand an output element reads (docs/protocol.md, section 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from tao.graph.operators import CONTRACTION, CONTRACTIONS, COPY, EMBEDDING, POINTWISE
from tao.graph.views import View
from tao.tensors.codec import DType, TensorType


@dataclass(frozen=True)
class IndexMap:
    """Output element (o_0, ...) reads element `offset + sum o_d * strides[d] + lane * lane_stride` of the
    operand's value, in row-major order."""

    strides: tuple[int, ...]
    lane_stride: int
    offset: int


@dataclass(frozen=True)
class Meaning:
    """What a call is on chain: the operator's name, a map or None per operand, and the lanes summed over."""

    operator: str
    maps: tuple[IndexMap | None, ...]
    reduction: int = 0


def is_contraction(target: str, kwargs: dict[str, Any], dtypes: list[DType]) -> bool:
    """Whether a call is a bare sum of float32 products: an addmm that scales is not, nor are other dtypes,
    whose rounding the contraction's bound does not cover."""
    return target in CONTRACTIONS and not kwargs and all(dtype is DType.FLOAT32 for dtype in dtypes)


def operand_order(target: str, count: int) -> list[int]:
    """For each operand a, b, bias of a contraction, which tensor of the ATen call it is."""
    return [1, 2, 0] if target == "aten.addmm.default" else list(range(count))


def contracted_dimension(target: str, operand: int, rank: int) -> int:
    """The dimension of operand a (0) or b (1) that a contraction sums over."""
    if operand == 0 or target == "aten.linear.default":
        return rank - 1
    return max(rank - 2, 0)


def runs_in_rows(view: View, dim: int, row_length: int) -> bool:
    """Whether every run along `dim` is contiguous in the base and stays inside one row of it."""
    length = view.shape[dim]
    if length == 1:
        return True
    starts = [(n, s) for d, (n, s) in enumerate(zip(view.shape, view.strides, strict=True)) if d != dim]
    last_start = view.offset % row_length + sum((n - 1) * (s % row_length) for n, s in starts)
    return view.strides[dim] == 1 and last_start + length <= row_length


def meaning(
    target: str,
    kwargs: dict[str, Any],
    views: list[View],
    types: list[TensorType],
    outputs: list[TensorType],
) -> Meaning | None:
    """The meaning of a call whose operands are `views` of values of `types`.

    None where a contraction's operand is not made of runs inside rows, so that a copy must stand before it.
    """
    count, shape = len(views), outputs[0].shape
    if target == COPY:
        return Meaning(COPY, (_broadcast(views[0], shape),))
    if is_contraction(target, kwargs, [t.dtype for t in types]):
        for operand in (0, 1):
            dim = contracted_dimension(target, operand, len(views[operand].shape))
            if not runs_in_rows(views[operand], dim, types[operand].row_length):
                return None
        return _contraction(target, views, shape)
    if target == EMBEDDING:
        return Meaning(target, _lookup(*views))
    if target in POINTWISE and shape == torch.broadcast_shapes(*(view.shape for view in views)):
        return Meaning(target, tuple(_broadcast(view, shape) for view in views))
    return Meaning(target, (None,) * count)


def _broadcast(view: View, shape: tuple[int, ...]) -> IndexMap:
    missing = (0,) * (len(shape) - len(view.shape))
    return IndexMap(missing + view.strides, 0, view.offset)


def _lookup(weight: View, indices: View) -> tuple[IndexMap, IndexMap]:
    looked_up = IndexMap((0,) * len(indices.shape) + weight.strides[1:], weight.strides[0], weight.offset)
    return looked_up, IndexMap((*indices.strides, 0), 0, indices.offset)


def _contraction(target: str, views: list[View], shape: tuple[int, ...]) -> Meaning:
    a, b = views[:2]
    k = contracted_dimension(target, 1, len(b.shape))
    batch = list(b.strides[: max(len(b.shape) - 2, 0)])
    columns = [b.strides[d] for d in range(len(batch), len(b.shape)) if d != k]
    a_strides = list(a.strides[:-1]) + [0] * len(columns)
    b_strides = batch + [0] * (len(a.shape) > 1) + columns
    factors = [IndexMap(_padded(s, shape), 1, v.offset) for s, v in ((a_strides, a), (b_strides, b))]
    return Meaning(CONTRACTION, (*factors, *(_broadcast(bias, shape) for bias in views[2:])), a.shape[-1])


def _padded(strides: list[int], shape: tuple[int, ...]) -> tuple[int, ...]:
    return (0,) * (len(shape) - len(strides)) + tuple(strides)
