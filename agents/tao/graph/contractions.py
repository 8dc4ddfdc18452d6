"""Contractions: linear, matmul, mm, bmm and addmm without scaling, as sums of products of contiguous runs."""

from __future__ import annotations

from typing import Any

from tao.graph.maps import Call, IndexMap, Meaning, Rows, broadcast
from tao.graph.operators import CONTRACTION, CONTRACTIONS
from tao.tensors.codec import DType


def is_contraction(target: str, kwargs: dict[str, Any], dtypes: list[DType]) -> bool:
    """Whether a call is a bare sum of float32 products: an addmm that scales is not, nor are other dtypes,
    whose rounding the contraction's bound does not cover."""
    return target in CONTRACTIONS and not kwargs and all(dtype is DType.FLOAT32 for dtype in dtypes)


def operand_order(target: str, count: int) -> list[int]:
    """For each operand a, b, bias of a contraction, which tensor of the ATen call it is."""
    return [1, 2, 0] if target == "aten.addmm.default" else list(range(count))


def rows(call: Call) -> dict[int, Rows]:
    """Both factors are contiguous along the contracted dimension."""
    needed = {}
    for operand in (0, 1):
        shape = call.views[operand].shape
        dim = _contracted_dimension(call.target, operand, len(shape))
        needed[operand] = Rows((*(d for d in range(len(shape)) if d != dim), dim), shape[dim])
    return needed


def meaning(call: Call) -> Meaning:
    """Operands a, b and perhaps a bias; lanes run over the contracted dimension."""
    a, b = call.views[:2]
    k = _contracted_dimension(call.target, 1, len(b.shape))
    batch = list(b.strides[: max(len(b.shape) - 2, 0)])
    columns = [b.strides[d] for d in range(len(batch), len(b.shape)) if d != k]
    a_strides = list(a.strides[:-1]) + [0] * len(columns)
    b_strides = batch + [0] * (len(a.shape) > 1) + columns
    factors = [IndexMap(_padded(s, call.shape), 1, v.offset) for s, v in ((a_strides, a), (b_strides, b))]
    bias = (broadcast(view, call.shape) for view in call.views[2:])
    return Meaning(CONTRACTION, (*factors, *bias), a.shape[-1])


def _contracted_dimension(target: str, operand: int, rank: int) -> int:
    if operand == 0 or target == "aten.linear.default":
        return rank - 1
    return max(rank - 2, 0)


def _padded(strides: list[int], shape: tuple[int, ...]) -> tuple[int, ...]:
    return (0,) * (len(shape) - len(strides)) + tuple(strides)
