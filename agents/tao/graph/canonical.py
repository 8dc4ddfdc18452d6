"""The canonical operator graph and its committed records (docs/protocol.md, section 2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tao.errors import ModelError
from tao.graph.literals import canonical_json, encode
from tao.graph.maps import IndexMap
from tao.graph.views import Strides, View
from tao.tensors import merkle
from tao.tensors.codec import TensorType
from tao.tensors.keccak import keccak
from tao.tensors.tree import tag

FROM_STATE = 0
FROM_PARAMETERS = 1
OUTPUT_SLOT = 0x8000
NO_MAP = 0xFF


@dataclass(frozen=True)
class Operand:
    """A strided view of a value. `layout`, a hint, holds the strides that the call's tensor has in eager
    execution; None where the tensor is that of the whole value."""

    value: int
    view: View
    layout: Strides | None = None


@dataclass(frozen=True)
class Node:
    """One operator: an ATen call whose tensors are operands, or a layout copy.

    operator: the name decided on chain. target: the ATen overload, or `copy`. args, kwargs: literals, with a
    Slot for each operand. maps: an index map per operand, or None. outputs: ids of the values produced, and
    slots: the ATen output that each of them is. reduction: lanes that an element reduces, else 0.
    attributes: the numbers among the call's arguments that the operator's adjudicator needs, as 32-bit words.
    """

    operator: str
    target: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    operands: tuple[Operand, ...]
    maps: tuple[IndexMap | None, ...]
    outputs: tuple[int, ...]
    slots: tuple[int, ...]
    reduction: int
    attributes: tuple[int, ...] = ()

    @cached_property
    def call(self) -> bytes:
        """Canonical JSON of the ATen call, with the views its operands are and the output slots in use."""
        return canonical_json({
            "target": self.target,
            "args": encode(self.args),
            "kwargs": {name: encode(value) for name, value in self.kwargs.items()},
            "views": [[o.view.shape, o.view.strides, o.view.offset] for o in self.operands],
            "slots": self.slots,
        })  # fmt: skip


@dataclass(frozen=True)
class Graph:
    """A functional program over values: inputs 0..I-1, parameters I..I+P-1, then the nodes' outputs in order.

    types: of every value. outputs: distinct values produced by nodes. layouts, a hint: each value's strides
    in eager execution, None where row-major. names, a hint: module path and operator of each node.
    """

    types: tuple[TensorType, ...]
    input_count: int
    parameter_count: int
    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    layouts: tuple[Strides | None, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.nodes)

    def parameter_of(self, value: int) -> int | None:
        """The index of the parameter that a value is, or None."""
        index = value - self.input_count
        return index if 0 <= index < self.parameter_count else None

    def value_of_parameter(self, index: int) -> int:
        return self.input_count + index

    def live(self, cut: int) -> tuple[int, ...]:
        """Ids of the values live before node `cut`, in the order of the state at that cut.

        Cut 0 is all inputs, cut n the outputs, both in order; an inner cut is what was produced before it and
        is still needed, by ascending id, without parameters. Raises IndexError outside 0..n.
        """
        if not 0 <= cut <= len(self.nodes):
            raise IndexError(f"cut {cut} is outside a graph of {len(self.nodes)} nodes")
        return self._live[cut]

    @cached_property
    def _live(self) -> list[tuple[int, ...]]:
        needed = set(self.outputs)
        cuts = [self.outputs]
        for node in reversed(self.nodes):
            needed -= set(node.outputs)
            needed |= {o.value for o in node.operands if self.parameter_of(o.value) is None}
            cuts.append(tuple(sorted(needed)))
        cuts[-1] = tuple(range(self.input_count))
        return cuts[::-1]

    @cached_property
    def releases(self) -> list[tuple[int, ...]]:
        """For each node, the values (not parameters) that nothing after it needs."""
        cuts = [set(live) for live in self._live]
        return [tuple((cuts[i] | set(node.outputs)) - cuts[i + 1]) for i, node in enumerate(self.nodes)]

    def record(self, index: int) -> bytes:
        """The packed node record; raises ModelError for what does not fit its fields."""
        node = self.nodes[index]
        before = {value: position for position, value in enumerate(self.live(index))}
        slots = {value: OUTPUT_SLOT + slot for slot, value in enumerate(node.outputs)}
        after = [slots[v] if v in slots else before[v] for v in self.live(index + 1)]
        try:
            return b"".join([
                keccak(node.operator.encode())[:4],
                keccak(node.call),
                struct.pack(">B", len(node.outputs)),
                *(self.types[value].pack() for value in node.outputs),
                struct.pack(">B", len(node.operands)),
                *(self._pack_operand(o, m, before) for o, m in zip(node.operands, node.maps, strict=True)),
                struct.pack(">IB", node.reduction, len(node.attributes)),
                struct.pack(f">{len(node.attributes)}I", *node.attributes),
                struct.pack(">HH", len(before), len(after)),
                struct.pack(f">{len(after)}H", *after),
            ])  # fmt: skip
        except struct.error as error:
            name = self.names[index]
            raise ModelError(f"node {index} ({name}) does not fit a node record: {error}") from error

    def _pack_operand(self, operand: Operand, index_map: IndexMap | None, before: dict[int, int]) -> bytes:
        parameter = self.parameter_of(operand.value)
        if parameter is None:
            source = struct.pack(">BH", FROM_STATE, before[operand.value])
        else:
            source = struct.pack(">BH", FROM_PARAMETERS, parameter)
        head = source + self.types[operand.value].pack()
        if index_map is None:
            return head + struct.pack(">B", NO_MAP)
        rank = len(index_map.strides)
        fields = (*index_map.strides, index_map.lane_stride, index_map.offset)
        return head + struct.pack(f">B{rank + 2}I", rank, *fields)

    @cached_property
    def records(self) -> tuple[bytes, ...]:
        return tuple(self.record(i) for i in range(len(self.nodes)))

    @cached_property
    def leaves(self) -> list[bytes]:
        """keccak256(TAG_node || record) of each node."""
        return [keccak(tag("node") + record) for record in self.records]

    @cached_property
    def root(self) -> bytes:
        """Merkle root over the node records."""
        return merkle.root(self.leaves)

    def checked(self) -> Graph:
        """The graph itself, once every record fits its fields; better known now than in a dispute.

        Raises ModelError otherwise.
        """
        if len(self.records) != len(self.names):
            raise ModelError(f"{len(self.names)} names do not fit {len(self.records)} nodes")
        return self

    def proof(self, index: int) -> list[bytes]:
        """Merkle path of node `index` under `root`."""
        return merkle.path(self.leaves, index)

    def to_json(self) -> bytes:
        """Canonical JSON of the graph and its hints; `from_json` gives the same graph."""
        from tao.graph.serial import dump

        return dump(self)

    @classmethod
    def from_json(cls, data: bytes) -> Graph:
        """Read a graph that anybody may have written: everything is checked and everything derived is derived
        again. Raises ModelError with the first thing found wrong."""
        from tao.graph.serial import load

        return load(data)
