"""A disputed node with the tensors around it: what an output element reads, and openings of that.

What an element is made of is read from the node's index maps, as the contracts do (docs/protocol.md,
section 2), never from the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from tao.errors import InvalidTensor, ModelError, UnsupportedOperator
from tao.graph.canonical import Node
from tao.graph.maps import IndexMap
from tao.model import ModelBundle
from tao.numerics.float32 import float_bits
from tao.tensors.codec import CHUNK, TensorType
from tao.tensors.tree import TensorTree

_AROUND_CLAIM = 10
"""Words that the ABI puts around a LeafClaim."""


@dataclass(frozen=True)
class Leaf:
    """One node and the tensors around it.

    operands: the committed tensors that the node's operands are views of; parameters: their indices, None for
    values. output: the node's only output, as claimed. claim_bytes: of the LeafClaim that goes with a proof about it.
    """

    bundle: ModelBundle
    node: Node
    operands: tuple[Tensor, ...]
    parameters: tuple[int | None, ...]
    output: Tensor
    claim_bytes: int = 0

    @classmethod
    def of(
        cls,
        bundle: ModelBundle,
        index: int,
        state: Sequence[Tensor],
        outputs: Sequence[Tensor],
    ) -> Leaf:
        """Raises ModelError for tensors that are not the graph's."""
        graph, node = bundle.graph, bundle.graph.nodes[index]
        if len(outputs) != len(node.outputs) or len(outputs) != 1:
            raise ModelError(
                f"node {index} has {len(node.outputs)} outputs; one can be decided, from as many tensors, not from"
                f" {len(outputs)}"
            )
        (output,), (value,) = outputs, node.outputs
        if TensorType.of(output) != graph.types[value]:
            raise ModelError(
                f"value {value} is {TensorType.of(output)}, not the graph's {graph.types[value]}"
            )
        return replace(cls.before(bundle, index, state), output=output)

    @classmethod
    def before(cls, bundle: ModelBundle, index: int, state: Sequence[Tensor]) -> Leaf:
        """A node of which only the operands matter; its output is empty. Raises as `of`."""
        graph, node = bundle.graph, bundle.graph.nodes[index]
        live = graph.live(index)
        if len(state) != len(live):
            raise ModelError(f"node {index} has {len(live)} values before it, not {len(state)}")
        values = dict(zip(live, state, strict=True))
        for value, tensor in values.items():
            if TensorType.of(tensor) != graph.types[value]:
                raise ModelError(
                    f"value {value} is {TensorType.of(tensor)}, not the graph's {graph.types[value]}"
                )
        parameters = tuple(graph.parameter_of(operand.value) for operand in node.operands)
        operands = tuple(
            values[operand.value] if parameter is None else bundle.parameters[parameter]
            for operand, parameter in zip(node.operands, parameters, strict=True)
        )
        words = len(live) + len(node.outputs) + (len(graph) - 1).bit_length() + _AROUND_CLAIM
        claim_bytes = 32 * words + len(graph.records[index])
        return cls(bundle, node, operands, parameters, torch.empty(0), claim_bytes)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.output.shape)

    @property
    def is_float32(self) -> bool:
        return all(tensor.dtype == torch.float32 for tensor in (self.output, *self.operands))

    def first(self, operand: int, element: int) -> int:
        """The operand's element that the map gives to an output element at lane 0."""
        position = self.map(operand).offset
        coordinates = self.coordinates(element)
        return position + sum(o * s for o, s in zip(coordinates, self.map(operand).strides, strict=True))

    def coordinates(self, element: int) -> tuple[int, ...]:
        """Of an output element by its row-major index; raises InvalidTensor outside the output."""
        if not 0 <= element < self.output.numel():
            raise InvalidTensor(f"element {element} is outside the output of {self.output.numel()} elements")
        reversed_coordinates = []
        for size in reversed(self.shape):
            element, coordinate = divmod(element, size)
            reversed_coordinates.append(coordinate)
        return tuple(reversed(reversed_coordinates))

    def viewed(self) -> list[Tensor]:
        """The tensors that the call gets: views of the operands."""
        views = [operand.view for operand in self.node.operands]
        return [
            base.as_strided(view.shape, view.strides, base.storage_offset() + view.offset)
            for base, view in zip(self.elements, views, strict=True)
        ]

    def map(self, operand: int) -> IndexMap:
        index_map = self.node.maps[operand]
        if index_map is None:
            raise UnsupportedOperator(f"operand {operand} of {self.node.target} has no index map")
        return index_map

    @cached_property
    def elements(self) -> list[Tensor]:
        """The operands' elements in row-major order, each [numel]."""
        return [tensor.detach().contiguous().flatten() for tensor in self.operands]

    def bits(self, operand: int, first: int, length: int) -> list[int]:
        """FP32 encodings of a run of an operand."""
        return float_bits(self.elements[operand][first : first + length])

    def open_operand(self, operand: int, first: int, length: int) -> tuple[bytes, list[bytes], list[bytes]]:
        opening = self.tree(operand).open(first, length)
        return opening.data, list(opening.path), self.source(operand)[1]

    def tree(self, operand: int) -> TensorTree:
        """The tree that opens elements of an operand, built on first use."""
        parameter = self.parameters[operand]
        if parameter is not None:
            return self.bundle.parameter_tree(parameter)
        if operand not in self._trees:
            self._trees[operand] = TensorTree(self.operands[operand])
        return self._trees[operand]

    @cached_property
    def _trees(self) -> dict[int, TensorTree]:
        return {}

    def source(self, operand: int) -> tuple[bytes, list[bytes]]:
        """The operand's commitment, and its path in the weights tree, empty for values."""
        parameter = self.parameters[operand]
        path = [] if parameter is None else self.bundle.parameter_path(parameter)
        return self.tree(operand).commitment, path

    def type_of(self, operand: int) -> TensorType:
        return TensorType.of(self.operands[operand])

    def open_output(self, element: int) -> tuple[bytes, list[bytes]]:
        opening = TensorTree(self.output).open(element)
        return opening.data, list(opening.path)

    def opened_bytes(self, operand: int, first: int, length: int) -> int:
        """Bytes of the chunks and of the path that the opening of a run holds."""
        return _opened_bytes(self.type_of(operand), first, length)


def _opened_bytes(tensor_type: TensorType, first: int, length: int) -> int:
    per_chunk = CHUNK // tensor_type.dtype.size
    column = first % tensor_type.row_length
    low, high = column // per_chunk, (column + length - 1) // per_chunk
    level = (low ^ high).bit_length()
    begin = low >> level << level
    height = (tensor_type.chunks_per_row - 1).bit_length() + (tensor_type.rows - 1).bit_length()
    return CHUNK * min(1 << level, tensor_type.chunks_per_row - begin) + 32 * (height - level)
