"""The calls of a step's nodes, and which of them may be computed together, block by block."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor

from tao.execution.kernels import kernel
from tao.graph.attributes import float32_number
from tao.graph.canonical import Graph, Node, Operand
from tao.graph.literals import Slot, fill
from tao.graph.operators import COPY, LOG, POINTWISE
from tao.graph.rounding import EXTREMA, Kind, kind
from tao.graph.views import View
from tao.tensors.codec import DType
from tao.training import kernels, memory
from tao.training.rounding import FLOAT32_BITS, round_to_grid

_LARGE = 1 << 18
"""Elements from which on even a single elementwise node is computed block by block."""


class Call:
    """A node's call as a function of its tensors."""

    def __init__(self, graph: Graph, index: int, bits: int) -> None:
        self.index, self.node, self.bits = index, graph.nodes[index], bits
        node = self.node
        self.operands = _read(node)
        output = graph.types[node.outputs[0]]
        self.function = kernels.function_of(node)
        self.in_blocks = self.function is not None or (
            _is_elementwise(graph, node) and output.numel >= _LARGE
        )
        self._single = kind(node.operator) is Kind.SINGLE
        self._wide = self._single and (bits != FLOAT32_BITS or node.target == "aten.sqrt.default")
        # A single operation takes numbers as tensors: some kernels multiply by a number's reciprocal.
        target = node.target.replace(".Scalar", ".Tensor") if self._single else node.target
        self._target = None if target in (COPY, LOG) else kernel(target)
        if target == "aten.cat.default":
            self._target = partial(_join, output.shape)
        self._args, self._kwargs = node.args, node.kwargs
        self._places = [(i, a.index) for i, a in enumerate(node.args) if isinstance(a, Slot)]
        self._numbers = [(i, a) for i, a in enumerate(node.args) if self._single and not isinstance(a, Slot)]
        self._held: dict[Any, Tensor] = {}
        self._nested = len(self._places) < len(self.operands)
        self._loses_sign = node.target in EXTREMA and output.dtype is DType.FLOAT32

    def __call__(self, tensors: list[Tensor]) -> Any:
        """The call's result; of a single operation, rounded to the grid."""
        if not self._single:
            result = self._apply(tensors)
            return result.add_(0.0) if self._loses_sign else result  # -0 + 0 is +0
        if self._wide:
            tensors = [t.double() if t.is_floating_point() else t for t in tensors]
        result = self._apply(tensors)
        if self._wide:
            values = round_to_grid(result.contiguous(), None, self.bits).values
            return values.copysign_(result.float())  # zeros have the sign of IEEE 754
        return result

    def in_float64(self, tensors: list[Tensor]) -> Tensor:
        """The result of a single operation in float64."""
        return self._apply([t.double() if t.is_floating_point() else t for t in tensors]).contiguous()

    def _apply(self, tensors: list[Tensor]) -> Any:
        if self._nested:
            args, kwargs = fill(self._args, self._kwargs, tensors)
            return self._target(*args, **kwargs)
        args = list(self._args)
        for position, index in self._places:
            args[position] = tensors[index]
        for position, number in self._numbers:
            args[position] = self._as_tensor(number, tensors[0])
        return self._target(*args, **self._kwargs)

    def _as_tensor(self, number: float, like: Tensor) -> Tensor:
        """The float32 number that a literal means, beside a tensor of the call."""
        key = (number, like.dtype, like.device)
        if key not in self._held:
            self._held[key] = torch.tensor(float32_number(number), dtype=torch.float32).to(
                like.device, like.dtype
            )
        return self._held[key]


def _join(shape: tuple[int, ...], tensors: list[Tensor], dim: int = 0) -> Tensor:
    """torch.cat into memory that is kept: banks are the largest tensors of a step."""
    dtype = reduce(torch.promote_types, (t.dtype for t in tensors))
    return torch.cat(tensors, dim, out=memory.empty(shape, dtype, tensors[0].device))


def elementwise_runs(graph: Graph, start: int, stop: int) -> Iterable[tuple[int, int]]:
    """Maximal ranges of elementwise nodes of one shape that read each other's elements in place; every other
    node is a range of its own."""
    first = start
    made: set[int] = set()
    for index in range(start, stop):
        node = graph.nodes[index]
        shape = graph.types[node.outputs[0]].shape
        joins = _is_elementwise(graph, node) and (
            first == index
            or shape == graph.types[graph.nodes[first].outputs[0]].shape
            and all(o.value not in made or o.view == View.whole(shape) for o in node.operands)
        )
        if index > first and not joins:
            yield first, index
            first, made = index, set()
        if not _is_elementwise(graph, node):
            yield index, index + 1
            first, made = index + 1, set()
        else:
            made.update(node.outputs)
    if first < stop:
        yield first, stop


def _is_elementwise(graph: Graph, node: Node) -> bool:
    """Whether output element o depends on the operands' elements at o alone."""
    kind = graph.types[node.outputs[0]]
    if node.target not in POINTWISE or node.slots != (0,) or not kind.numel:
        return False
    views = [o.view.shape for o in _read(node)]
    return kind.shape == tuple(torch.broadcast_shapes(*views))


def _read(node: Node) -> tuple[Operand, ...]:
    """The operands that the call reads, all but the log, without the strides of eager execution: what is computed
    here is the same for any, and laying it out anew is a copy."""
    operands = node.operands[:-1] if kernels.is_logged(node) else node.operands
    return tuple(replace(operand, layout=None) for operand in operands)
