"""Tensors in memory as eager execution lays them out: kernels choose their order of summation by strides."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from tao.graph.canonical import Operand
from tao.graph.views import Strides, View, is_dense_enough, physical, row_major, same_layout

_physical = lru_cache(maxsize=1 << 16)(physical)


def lay_out(tensor: Tensor, strides: Strides | None) -> Tensor:
    """The tensor's elements with the given strides (None: row-major), without a copy where it has them.

    Expanded dimensions (stride 0) are laid out so only where the elements do repeat. Strides in which
    elements would share memory otherwise are hints that cannot be met: the result is then row-major.
    """
    shape = tuple(tensor.shape)
    strides = row_major(shape) if strides is None else strides
    if tensor.stride() == strides:
        return tensor
    if not is_dense_enough(shape, strides):
        return tensor.contiguous()
    repeated = [d for d, (n, s) in enumerate(zip(shape, strides, strict=True)) if n > 1 and s == 0]
    source = tensor
    for dim in repeated:
        source = source.narrow(dim, 0, 1)
    if repeated and not _same_bits(source.expand(shape), tensor):
        return tensor.contiguous()
    result = torch.empty_strided(source.shape, strides, dtype=tensor.dtype, device=tensor.device)
    return result.copy_(source).as_strided(shape, strides)


def view_operand(tensor: Tensor, operand: Operand) -> Tensor:
    """The tensor that a call gets for an operand whose value is held by `tensor`, whatever its strides.

    Shares memory wherever strides can express the view with the layout that eager execution has.
    """
    if is_whole(operand, tuple(tensor.shape)):
        return tensor
    view, hint = operand.view, operand.layout
    place = _physical(tuple(tensor.shape), tensor.stride(), view)
    if place is None:
        tensor, place = tensor.contiguous(), (view.strides, view.offset)
    strides, offset = place
    if hint is not None and same_layout(view.shape, strides, hint):
        strides = hint
    viewed = tensor.as_strided(view.shape, strides, tensor.storage_offset() + offset)
    return viewed if hint is None else lay_out(viewed, hint)


def is_whole(operand: Operand, shape: tuple[int, ...]) -> bool:
    """Whether the call gets the tensor that holds the value, of the given shape, as it is."""
    return operand.layout is None and operand.view == View.whole(shape)


def _same_bits(a: Tensor, b: Tensor) -> bool:
    bits = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    return torch.equal(a.view(bits), b.view(bits))
