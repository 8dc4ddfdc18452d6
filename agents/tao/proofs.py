"""Proofs for the adjudicators: which output element is provably wrong, and the openings that show it.

What an element is made of is read from the node's index maps, as the contracts do (docs/protocol.md,
section 2), never from the call. ABI encodings are those of the `Proof` structs in contracts/adjudicators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from eth_abi import encode
from torch import Tensor

from tao.errors import InvalidTensor, ModelError, UnsupportedOperator
from tao.graph.canonical import Node
from tao.graph.maps import IndexMap
from tao.graph.operators import CONTRACTION, COPY, EMBEDDING
from tao.model import ModelBundle
from tao.numerics.contraction import excess, float_bits, refuted, window_exponent
from tao.tensors.codec import CHUNK, TensorType
from tao.tensors.tree import TensorTree

RELU, NEG = "aten.relu.default", "aten.neg.default"
MAX_OPENED = 120_000
"""Bytes of opened chunks: nodes refuse transactions above 128 KiB."""

_OPERAND = "(bytes,bytes32[],bytes32[])"
_OUTPUT = "(bytes,bytes32[])"
_CANDIDATES = 4


def contraction_proof(
    bundle: ModelBundle,
    node_index: int,
    state_before: Sequence[Tensor],
    outputs: Sequence[Tensor],
    element: int,
) -> bytes:
    """`ContractionAdjudicator.Proof` for one element of a contraction, ABI-encoded.

    state_before: the values live before the node, in the order of `Graph.live`. outputs: the node's only
    output, as claimed. element: row-major index into it. Raises ModelError for tensors that are not the
    graph's, UnsupportedOperator where the node is no contraction, InvalidTensor outside the output.
    """
    leaf = _Leaf.of(bundle, node_index, state_before, outputs, {CONTRACTION})
    runs = leaf.runs(element)
    openings = [leaf.open_operand(i, first, length) for i, (first, length) in enumerate(runs)]
    a, b, bias = leaf.lanes(runs)
    values = (element, window_exponent(a, b, bias), openings, leaf.open_output(element))
    return encode([f"(uint256,uint256,{_OPERAND}[],{_OUTPUT})"], [values])


def exact_proof(
    bundle: ModelBundle,
    node_index: int,
    state_before: Sequence[Tensor],
    outputs: Sequence[Tensor],
    element: int,
) -> bytes:
    """`ExactAdjudicator.Proof` for one element of a copy, lookup, relu or neg, ABI-encoded.

    Arguments and errors as for `contraction_proof`; InvalidTensor also where the index looked up is outside
    the table.
    """
    leaf = _Leaf.of(bundle, node_index, state_before, outputs, EXACT)
    openings = [leaf.open_operand(i, first, length) for i, (first, length) in enumerate(leaf.runs(element))]
    return encode([f"(uint256,{_OPERAND}[],{_OUTPUT})"], [(element, openings, leaf.open_output(element))])


def element_proof(
    bundle: ModelBundle,
    node_index: int,
    state_before: Sequence[Tensor],
    outputs: Sequence[Tensor],
    element: int,
) -> bytes:
    """The proof that the operator's adjudicator takes; arguments and errors as for `contraction_proof`."""
    is_contraction = bundle.graph.nodes[node_index].operator == CONTRACTION
    prove = contraction_proof if is_contraction else exact_proof
    return prove(bundle, node_index, state_before, outputs, element)


def find_refutable_element(
    bundle: ModelBundle, node_index: int, state_before: Sequence[Tensor], outputs: Sequence[Tensor]
) -> int | None:
    """Row-major index of the output element furthest outside its bound, or of the first that is not exact.

    None where no element is provably wrong, where no adjudicator decides the operator, and where the openings
    would not fit a transaction. Arguments as for `contraction_proof`; raises ModelError for tensors that are
    not the graph's.
    """
    node = bundle.graph.nodes[node_index]
    if node.operator != CONTRACTION and node.operator not in EXACT:
        return None
    leaf = _Leaf.of(bundle, node_index, state_before, outputs, {node.operator})
    candidates = _outside_bound(leaf) if node.operator == CONTRACTION else _inexact(leaf)
    return next((element for element in candidates if leaf.opened_bytes(element) <= MAX_OPENED), None)


def leaf_claim(
    bundle: ModelBundle,
    node_index: int,
    state_before_commitments: Sequence[bytes],
    output_commitments: Sequence[bytes],
) -> dict[str, Any]:
    """The fields of `IDisputeGame.LeafClaim` for node `node_index`."""
    return {
        "record": bundle.graph.records[node_index],
        "graphProof": bundle.graph.proof(node_index),
        "stateBefore": list(state_before_commitments),
        "outputs": list(output_commitments),
    }


# ---- one node and the tensors around it ----


@dataclass(frozen=True)
class _Leaf:
    """operands: the committed tensors that the node's operands are views of; parameters: their indices."""

    bundle: ModelBundle
    node: Node
    operands: tuple[Tensor, ...]
    parameters: tuple[int | None, ...]
    output: Tensor

    @classmethod
    def of(
        cls,
        bundle: ModelBundle,
        index: int,
        state: Sequence[Tensor],
        outputs: Sequence[Tensor],
        operators: Iterable[str],
    ) -> _Leaf:
        graph, node = bundle.graph, bundle.graph.nodes[index]
        if node.operator not in operators:
            raise UnsupportedOperator(
                f"node {index} is {node.operator}; its adjudicator is another one, or none"
            )
        live = graph.live(index)
        if len(state) != len(live) or len(outputs) != len(node.outputs) or len(outputs) != 1:
            raise ModelError(
                f"node {index} has {len(live)} values before it and {len(node.outputs)} outputs;"
                f" one output can be decided, from as many tensors, not from {len(state)} and {len(outputs)}"
            )
        values = dict(zip([*live, *node.outputs], [*state, *outputs], strict=True))
        for value, tensor in values.items():
            if TensorType.of(tensor) != graph.types[value]:
                raise ModelError(
                    f"value {value} is a {TensorType.of(tensor)}, not the graph's {graph.types[value]}"
                )
        parameters = tuple(graph.parameter_of(operand.value) for operand in node.operands)
        operands = tuple(
            values[operand.value] if parameter is None else bundle.parameters[parameter]
            for operand, parameter in zip(node.operands, parameters, strict=True)
        )
        return cls(bundle, node, operands, parameters, outputs[0])

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.output.shape)

    def runs(self, element: int) -> list[tuple[int, int]]:
        """For each operand, the first element that output element `element` reads and how many."""
        if not 0 <= element < self.output.numel():
            raise InvalidTensor(f"element {element} is outside the output of {self.output.numel()} elements")
        firsts = [_first(self.map(i), self.shape, element) for i in range(len(self.operands))]
        if self.node.operator == EMBEDDING:
            table, index = TensorType.of(self.operands[0]), int(self.elements[1][firsts[1]])
            if not 0 <= index < table.rows:
                raise InvalidTensor(f"element {element} looks up row {index} of a table of {table.rows}")
            firsts[0] += index * self.map(0).lane_stride
        lanes = self.node.reduction
        return [(first, lanes if lanes and i < 2 else 1) for i, first in enumerate(firsts)]

    def map(self, operand: int) -> IndexMap:
        index_map = self.node.maps[operand]
        if index_map is None:
            raise UnsupportedOperator(f"operand {operand} of {self.node.target} has no index map")
        return index_map

    @cached_property
    def elements(self) -> list[Tensor]:
        """The operands' elements in row-major order, each [numel]."""
        return [tensor.detach().contiguous().flatten() for tensor in self.operands]

    def read(self, operand: int, dims: Sequence[int], lanes: int | None = None) -> Tensor:
        """What the elements along some output dimensions read of an operand: [*sizes of dims, lanes?]."""
        index_map, base = self.map(operand), self.elements[operand]
        size = [self.shape[d] for d in dims] + ([] if lanes is None else [lanes])
        strides = [index_map.strides[d] for d in dims] + ([] if lanes is None else [index_map.lane_stride])
        return base.as_strided(size, strides, base.storage_offset() + index_map.offset)

    def lanes(self, runs: list[tuple[int, int]]) -> tuple[list[int], list[int], int | None]:
        """FP32 encodings of the runs of a and b, and of the bias."""
        bits = [float_bits(self.elements[i][first : first + n]) for i, (first, n) in enumerate(runs)]
        return bits[0], bits[1], bits[2][0] if len(bits) == 3 else None

    def open_operand(self, operand: int, first: int, length: int) -> tuple[bytes, list[bytes], list[bytes]]:
        parameter = self.parameters[operand]
        if parameter is None:
            opening = TensorTree(self.operands[operand]).open(first, length)
            return opening.data, list(opening.path), []
        opening = self.bundle.parameter_tree(parameter).open(first, length)
        return opening.data, list(opening.path), self.bundle.parameter_path(parameter)

    def open_output(self, element: int) -> tuple[bytes, list[bytes]]:
        opening = TensorTree(self.output).open(element)
        return opening.data, list(opening.path)

    def opened_bytes(self, element: int) -> int:
        """Bytes of the chunks that the operands' openings hold."""
        types = map(TensorType.of, self.operands)
        return sum(_opened_bytes(t, *run) for t, run in zip(types, self.runs(element), strict=True))


def _first(index_map: IndexMap, shape: tuple[int, ...], element: int) -> int:
    position = index_map.offset
    for size, stride in zip(reversed(shape), reversed(index_map.strides), strict=True):
        element, coordinate = divmod(element, size)
        position += coordinate * stride
    return position


def _opened_bytes(tensor_type: TensorType, first: int, length: int) -> int:
    per_chunk = CHUNK // tensor_type.dtype.size
    column = first % tensor_type.row_length
    low, high = column // per_chunk, (column + length - 1) // per_chunk
    level = (low ^ high).bit_length()
    begin = low >> level << level
    return CHUNK * min(1 << level, tensor_type.chunks_per_row - begin)


# ---- the search ----


def _outside_bound(leaf: _Leaf) -> Iterable[int]:
    """Elements of a contraction that the contract refutes, the furthest outside first."""
    a, b = leaf.map(0).strides, leaf.map(1).strides
    dims = range(len(leaf.shape))
    # A dimension that only b follows counts columns, one that both follow counts independent products.
    batch = [d for d in dims if a[d] and b[d]]
    columns = [d for d in dims if b[d] and not a[d]]
    rows = [d for d in dims if not b[d]]
    order, lanes = batch + rows + columns, leaf.node.reduction

    def matrix(operand: int, along: list[int]) -> Tensor:
        sizes = [leaf.shape[d] for d in batch]
        return leaf.read(operand, batch + along, lanes).reshape(math.prod(sizes), -1, lanes)

    x, y = matrix(0, rows), matrix(1, columns)
    claimed = leaf.output.detach().permute(order).reshape(len(x), x.shape[1], y.shape[1])
    bias = leaf.read(2, order).reshape(claimed.shape) if len(leaf.operands) == 3 else None
    ratio = excess(claimed, x, y, bias).reshape([leaf.shape[d] for d in order])
    ratio = ratio.permute([order.index(d) for d in dims]).flatten()
    for value, element in zip(*(t.tolist() for t in ratio.topk(min(_CANDIDATES, len(ratio)))), strict=True):
        if value > 1 and _is_refuted(leaf, element):
            yield element


def _is_refuted(leaf: _Leaf, element: int) -> bool:
    a, b, bias = leaf.lanes(leaf.runs(element))
    claimed = float_bits(leaf.output.flatten()[element])[0]
    return refuted(claimed, a, b, bias, window_exponent(a, b, bias))


def _inexact(leaf: _Leaf) -> Iterable[int]:
    """The first element that differs from the exact result, if any does."""
    if leaf.node.operator in (RELU, NEG) and not leaf.output.is_floating_point():
        return  # integers wrap around; the committee decides them
    if leaf.node.operator == EMBEDDING:
        expected, decidable = _looked_up(leaf)
    else:
        expected, decidable = _POINTWISE[leaf.node.operator](leaf.read(0, range(len(leaf.shape)))), True
    claimed = leaf.output.detach()
    differs = (claimed != expected) & decidable
    if claimed.is_floating_point():
        differs &= ~(claimed.isnan() & expected.isnan())
    if differs.any():
        yield int(differs.flatten().byte().argmax())


def _relu(values: Tensor) -> Tensor:
    return values.where(~(values < 0), 0)


def _looked_up(leaf: _Leaf) -> tuple[Tensor, Tensor]:
    """The rows that an embedding looks up, and where the contract can tell."""
    table, table_type = leaf.map(0), TensorType.of(leaf.operands[0])
    indices = leaf.read(1, range(len(leaf.shape)))
    inside = (indices >= 0) & (indices < table_type.rows)
    if (
        table.lane_stride != table_type.row_length
        or table.offset
        or indices.dtype not in (torch.int32, torch.int64)
    ):
        inside &= False
    positions = indices.long().where(inside, 0) * table.lane_stride
    for d, (size, stride) in enumerate(zip(leaf.shape, table.strides, strict=True)):
        steps = torch.arange(size) * stride
        positions = positions + steps.reshape([-1 if i == d else 1 for i in range(len(leaf.shape))])
    return leaf.elements[0][positions], inside


_POINTWISE: dict[str, Callable[[Tensor], Tensor]] = {COPY: Tensor.detach, RELU: _relu, NEG: Tensor.neg}
EXACT = frozenset({*_POINTWISE, EMBEDDING})
