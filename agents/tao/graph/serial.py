"""Graphs as canonical JSON, and the checks that make a stranger's graph safe to run."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from tao.errors import InvalidTensor, ModelError, UnsupportedOperator
from tao.graph import operators
from tao.graph.canonical import Graph, Node, Operand
from tao.graph.contractions import is_contraction, operand_order
from tao.graph.literals import Slot, canonical_json, decode, encode, fill, leaves
from tao.graph.maps import Call
from tao.graph.meaning import meaning
from tao.graph.operators import LOG
from tao.graph.rounding import Kind, rounded
from tao.graph.rounding import kind as kind_of
from tao.graph.views import Strides, View
from tao.tensors.codec import DType, TensorType
from tao.untrusted import parse_json

VERSION = 1
MAX_RANK = 64
MAX_ELEMENTS = 2**32


def dump(graph: Graph) -> bytes:
    """Canonical JSON: what the records commit to under `graph`, hints under `hints`."""
    return canonical_json({
        "version": VERSION,
        "graph": {
            "types": [[int(t.dtype), t.shape] for t in graph.types],
            "inputs": graph.input_count,
            "parameters": graph.parameter_count,
            "nodes": [_dump_node(node) for node in graph.nodes],
            "outputs": graph.outputs,
        },
        "hints": {
            "layouts": graph.layouts,
            "operands": [[o.layout for o in node.operands] for node in graph.nodes],
            "names": graph.names,
        },
    })  # fmt: skip


def _dump_node(node: Node) -> dict[str, Any]:
    return {
        "target": node.target,
        "args": encode(node.args),
        "kwargs": {name: encode(value) for name, value in node.kwargs.items()},
        "operands": [[o.value, o.view.shape, o.view.strides, o.view.offset] for o in node.operands],
        "outputs": node.outputs,
        "slots": node.slots,
    }


def load(data: bytes) -> Graph:
    """Inverse of `dump`. Raises ModelError for everything that `export` could not have given."""
    try:
        content = parse_json(data, parse_float=_no_float, parse_constant=_no_float)
        version, body, hints = _fields(content, "a graph", "version", "graph", "hints")
        _require(version == VERSION, f"graph format {version!r} is unknown; this package reads {VERSION}")
        return _Loader(body, hints).run()
    except ValueError as error:
        raise ModelError(f"a graph is not valid JSON: {error}") from error


class _Loader:
    def __init__(self, body: Any, hints: Any) -> None:
        fields = _fields(body, "a graph", "types", "inputs", "parameters", "nodes", "outputs")
        types, self.inputs, self.parameters, nodes, outputs = fields
        self.types = [_type(item) for item in _list(types, "types")]
        self.defined = self._count(self.inputs, "inputs", 1) + self._count(self.parameters, "parameters", 0)
        _require(self.defined <= len(self.types), "a graph has fewer types than inputs and parameters")
        self.raw_nodes = _list(nodes, "nodes")
        _require(bool(self.raw_nodes), "a graph needs at least one node")
        self.outputs = _ints(outputs, "outputs")
        layouts, operand_layouts, names = _fields(hints, "hints", "layouts", "operands", "names")
        self.layouts = _list(layouts, "layouts", len(self.types))
        self.operand_layouts = _list(operand_layouts, "operand layouts", len(self.raw_nodes))
        self.names = _list(names, "names", len(self.raw_nodes))
        self.reach = max((t.numel for t in self.types), default=1)
        self.next_parameter = self.inputs
        self.log: int | None = None

    def run(self) -> Graph:
        _require(all(isinstance(name, str) for name in self.names), "a node's name is not a string")
        layouts = tuple(self._layout(hint, t.shape) for hint, t in zip(self.layouts, self.types, strict=True))
        with FakeTensorMode(), torch.no_grad():
            nodes = tuple(self._node(i, raw) for i, raw in enumerate(self.raw_nodes))
        _require(self.defined == len(self.types), "a graph has types that no node produces")
        first = self.inputs + self.parameters
        _require(self.next_parameter == first, "a graph has a parameter that no node uses")
        produced = range(first, len(self.types))
        _require(bool(self.outputs), "a graph needs at least one output")
        _require(all(v in produced for v in self.outputs), "an output is not produced by a node")
        _require(len(set(self.outputs)) == len(self.outputs), "two outputs are the same value")
        used = {o.value for node in nodes for o in node.operands} | set(self.outputs)
        # A training step may compute its loss, which no state holds.
        unused = [self.types[value] for value in produced if value not in used]
        _require(len(unused) <= (self.log is not None), "a node produces a value that nothing uses")
        is_loss = all(t.dtype is DType.FLOAT32 and t.numel == 1 for t in unused)
        _require(is_loss, "the value that nothing uses is no loss: a loss is one float32 number")
        return Graph(
            types=tuple(self.types),
            input_count=self.inputs,
            parameter_count=self.parameters,
            nodes=nodes,
            outputs=self.outputs,
            layouts=layouts,
            names=tuple(self.names),
        ).checked()

    def _node(self, index: int, raw: Any) -> Node:
        try:
            return self._checked_node(index, raw, _list(self.operand_layouts[index], "operand layouts"))
        except (ModelError, UnsupportedOperator) as error:
            raise ModelError(f"node {index}: {error}") from error
        except (
            LookupError,
            TypeError,
            ValueError,
            ArithmeticError,
        ) as error:  # a stranger's call may be of any form
            raise ModelError(f"node {index} is not of the form that its operator has: {error!r}") from error

    def _checked_node(self, index: int, raw: Any, layouts: list[Any]) -> Node:
        target, args, kwargs, raw_operands, outputs, slots = _fields(
            raw, "a node", "target", "args", "kwargs", "operands", "outputs", "slots"
        )
        _require(isinstance(target, str), "a target is not a string")
        _require(isinstance(kwargs, dict), "keyword arguments are not a mapping")
        raw_operands = _list(raw_operands, "operands")
        _require(len(raw_operands) == len(layouts), "a node has not one layout hint per operand")
        _require(index == 0 or target != LOG, "a log is not the first node")
        operands = tuple(self._operand(o, hint) for o, hint in zip(raw_operands, layouts, strict=True))
        operands, log = self._without_log(operands)
        args = decode(_list(args, "arguments"))
        kwargs = {name: decode(value) for name, value in kwargs.items()}
        types = [self.types[o.value] for o in operands]
        self._check_slots(target, args, kwargs, types)
        outputs, slots = _ints(outputs, "outputs"), _ints(slots, "slots")
        expected = tuple(range(self.defined, self.defined + len(outputs)))
        _require(bool(outputs) and outputs == expected, "a node does not produce the next values in order")
        _require(outputs[-1] < len(self.types), "a node produces more values than the graph has types")
        ordered = len(slots) == len(outputs) and list(slots) == sorted(set(slots))
        _require(ordered, "output slots are not in order")
        self.defined += len(outputs)
        output_types = [self.types[value] for value in outputs]
        self._check_types(target, args, kwargs, operands, slots, output_types)
        views = [operand.view for operand in operands]
        call = Call(target, args, kwargs, views, types, output_types, slots)
        what = meaning(call)
        if what is None:
            raise ModelError(f"an operand of {target} is not contiguous along the dimensions that it reduces")
        if target == LOG:
            (self.log,) = outputs
        if self.log is not None:
            what = rounded(call, what, index)
        needs = self.log is not None and kind_of(what.operator) is Kind.LOGGED
        _require(needs == bool(log), "the log is not the last operand of the logged nodes alone")
        return Node(
            operator=what.operator,
            target=target,
            args=tuple(args),
            kwargs=kwargs,
            operands=operands + log,
            maps=what.maps,
            outputs=outputs,
            slots=slots,
            reduction=what.reduction,
            attributes=what.attributes,
        )

    def _without_log(self, operands: tuple[Operand, ...]) -> tuple[tuple[Operand, ...], tuple[Operand, ...]]:
        """The operands that a call uses, and the log where it is the last one."""
        if self.log is None or not operands or operands[-1].value != self.log:
            return operands, ()
        whole = Operand(self.log, View.whole(self.types[self.log].shape))
        _require(operands[-1] == whole, "a node reads a part of the log")
        return operands[:-1], operands[-1:]

    def _operand(self, raw: Any, hint: Any) -> Operand:
        value, shape, strides, offset = _list(raw, "an operand", 4)
        value, offset = _ints([value, offset], "an operand")
        shape, strides = _ints(shape, "a shape"), _ints(strides, "strides")
        _require(value < self.defined, f"value {value} is used before it is produced")
        if self.inputs <= value < self.inputs + self.parameters:
            _require(value <= self.next_parameter, "parameters are not numbered by first use")
            self.next_parameter = max(self.next_parameter, value + 1)
        _require(len(shape) == len(strides) <= MAX_RANK and all(shape), "a view has a bad shape")
        view = View.of(shape, strides, offset)
        _require(view.strides == strides, "a stride of a dimension of size 1 is not zero")
        _require(view.last < self.types[value].numel, "a view reads beyond its value")
        return Operand(value, view, self._layout(hint, shape))

    def _layout(self, hint: Any, shape: tuple[int, ...]) -> Strides | None:
        """A layout hint: any strides that stay within the size of the largest value of the graph."""
        if hint is None:
            return None
        strides = _ints(hint, "a layout")
        _require(len(strides) == len(shape), "a layout has not one stride per dimension")
        last = sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        _require(last < self.reach, "a layout spans more memory than any value needs")
        return strides

    @staticmethod
    def _check_slots(target: str, args: list[Any], kwargs: dict[str, Any], types: list[TensorType]) -> None:
        given = [leaf.index for leaf in leaves([args, list(kwargs.values())]) if isinstance(leaf, Slot)]
        order = list(range(len(types)))
        if is_contraction(target, kwargs, [t.dtype for t in types]):
            order = operand_order(target, len(types))
        expected = [order.index(i) for i in range(len(types))]
        _require(bool(types) != (target == LOG) and given == expected, "operands are not in order")

    def _check_types(
        self,
        target: str,
        args: list[Any],
        kwargs: dict[str, Any],
        operands: tuple[Operand, ...],
        slots: tuple[int, ...],
        claimed: list[TensorType],
    ) -> None:
        """The types that the call gives on fake tensors must be those claimed."""
        dtypes = [self.types[o.value].dtype.torch for o in operands]
        if target == operators.COPY:
            _require(args == [Slot(0)] and not kwargs and slots == (0,), "a copy takes one operand")
            given: Any = [torch.empty(operands[0].view.shape, dtype=dtypes[0])]
        else:
            overload = operators.resolve(target)
            operators.check_call(target, args)
            canonical = operators.normalise(overload, tuple(args), kwargs)
            _require(canonical == (args, kwargs), "arguments are not in canonical form")
            tensors = [torch.empty(o.view.shape, dtype=d) for o, d in zip(operands, dtypes, strict=True)]
            try:
                filled, named = fill(args, kwargs, tensors)
                given = overload(*filled, **named)
            except Exception as error:  # whatever torch raises for arguments that do not fit
                reason = str(error).strip().split("\n")[0]
                raise ModelError(f"{target} does not accept its arguments: {reason}") from error
            given = given if isinstance(given, list | tuple) else [given]
        for slot, kind in zip(slots, claimed, strict=True):
            _require(slot < len(given) and isinstance(given[slot], Tensor), f"{target} has no output {slot}")
            fits = _type_matches(given[slot], kind)
            _require(fits, f"{target} does not give the type claimed for output {slot}")

    @staticmethod
    def _count(value: Any, what: str, least: int) -> int:
        good = type(value) is int and least <= value <= 0xFFFF
        _require(good, f"the number of {what} is not in {least}..65535")
        return value


def _type_matches(tensor: Tensor, kind: TensorType) -> bool:
    return tuple(tensor.shape) == kind.shape and tensor.dtype == kind.dtype.torch


def _type(item: Any) -> TensorType:
    code, shape = _list(item, "a type", 2)
    _require(type(code) is int and code in set(DType), f"{code!r} is not a dtype code")
    shape = _ints(shape, "a shape")
    _require(len(shape) <= MAX_RANK, f"a type has more than {MAX_RANK} dimensions")
    try:
        kind = TensorType(DType(code), shape)
    except InvalidTensor as error:
        raise ModelError(f"a type of the graph is invalid: {error}") from error
    _require(kind.numel < MAX_ELEMENTS, f"a value of shape {shape} has 2^32 elements or more")
    return kind


def _fields(item: Any, what: str, *names: str) -> list[Any]:
    exact = isinstance(item, dict) and set(item) == set(names)
    _require(exact, f"{what} must have exactly the fields {', '.join(names)}")
    return [item[name] for name in names]


def _list(item: Any, what: str, length: int | None = None) -> list[Any]:
    _require(isinstance(item, list), f"{what} must be a list")
    _require(length is None or len(item) == length, f"{what} must have {length} entries")
    return item


def _ints(item: Any, what: str) -> tuple[int, ...]:
    values = _list(item, what)
    good = all(type(v) is int and 0 <= v < MAX_ELEMENTS for v in values)
    _require(good, f"{what} must hold integers in 0..2^32-1")
    return tuple(values)


def _no_float(text: str) -> NoReturn:
    raise ModelError(f"a graph holds the number {text}; floats are written as the hex of their bits")


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise ModelError(reason)
