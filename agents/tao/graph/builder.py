"""Assembles a canonical graph: views become operands, copies stand where they must, equal calls merge."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from tao.errors import UnsupportedOperator
from tao.graph import views
from tao.graph.canonical import Graph, Node, Operand
from tao.graph.contractions import is_contraction, operand_order
from tao.graph.literals import Slot, canonical_json, encode, leaves, substitute
from tao.graph.maps import Call, Meaning, Rows
from tao.graph.meaning import meaning, rows
from tao.graph.operators import COPY, LOG
from tao.graph.rounding import Kind, kind, rounded
from tao.graph.views import Strides, View, row_major
from tao.tensors import codec
from tao.tensors.codec import DType, TensorType

MAX_OPERANDS = 0xFF
MAX_ELEMENTS = 2**32


@dataclass(eq=False)
class Value:
    """A value before it has a number. layout: its strides in eager execution. tensor: of a parameter."""

    type: TensorType
    layout: Strides
    tensor: Tensor | None = None


@dataclass(frozen=True)
class Ref:
    """What a traced tensor is: a view of a value, and the strides that the tensor has in eager execution."""

    value: Value
    view: View
    strides: Strides


@dataclass(eq=False)
class Step:
    target: str
    args: Any
    kwargs: dict[str, Any]
    operands: tuple[Ref, ...]
    path: str
    outputs: dict[int, Value] = field(default_factory=dict)
    """By ATen output slot, those in use."""
    log: Ref | None = None
    """Of a logged call in a training step: its last operand."""

    @property
    def reads(self) -> tuple[Ref, ...]:
        return self.operands if self.log is None else (*self.operands, self.log)


class Builder:
    """log_capacity: of the rounding log of a training step; its operators are then named as rounded."""

    def __init__(self, log_capacity: int | None = None) -> None:
        self.log: Ref | None = None
        self.inputs: list[Value] = []
        self._steps: list[Step] = []
        self._known: dict[Any, Any] = {}
        if log_capacity is not None:
            log = Value(TensorType(DType.INT64, (2, log_capacity)), (log_capacity, 1))
            self._step(LOG, (log_capacity,), {}, (), "").outputs[0] = log
            self.log = Ref(log, View.whole(log.type.shape), log.layout)

    def input(self, tensor: Tensor) -> Ref:
        """A new input of a tensor's type. Raises InvalidTensor for types that cannot be committed."""
        ref = _whole(tensor, None)
        self.inputs.append(ref.value)
        return ref

    def parameter(self, tensor: Tensor) -> Ref:
        """A parameter; tensors that are the same view of the same memory are the same parameter."""
        place = (tensor.untyped_storage()._cdata, tensor.storage_offset())
        key = (place, tensor.dtype, tensor.shape, tensor.stride())
        return self._known.setdefault(key, _whole(tensor, tensor))

    def constant(self, tensor: Tensor) -> Ref:
        """A parameter known by what it holds: constants of equal type and elements are one."""
        key = (TensorType.of(tensor), codec.encode(tensor))
        known = self._known.setdefault(key, _whole(tensor, tensor))
        return Ref(known.value, known.view, tensor.stride())

    def view(self, ref: Ref, call: Callable[[Tensor], Any], strides: list[Strides]) -> list[Ref] | None:
        """What a view operator gives, or None where it is no strided view of the value.

        call: the operator as a function of its tensor. strides: of each result in eager execution.
        """
        made = views.apply(call, ref.view, ref.value.type.dtype.torch, ref.value.type.numel)
        if made is None:
            return None
        return [Ref(ref.value, view, s) for view, s in zip(made, strides, strict=True)]

    def copy(self, ref: Ref, layout: Strides, path: str) -> Ref:
        """A new value in the view's order. layout: its strides in memory; where they are those of the view,
        the executor lets both share memory."""
        step = self._step(COPY, (Slot(0),), {}, (ref,), path, layout)
        if 0 not in step.outputs:
            step.outputs[0] = Value(TensorType(ref.value.type.dtype, ref.view.shape), layout)
        return Ref(step.outputs[0], View.whole(ref.view.shape), layout)

    def call(
        self, target: str, args: Any, kwargs: dict[str, Any], results: dict[int, Tensor], path: str
    ) -> dict[int, Ref]:
        """An ATen call, with Refs for tensors in `args` and `kwargs`.

        results: by output slot, tensors of the type and strides of the outputs in use. Raises InvalidTensor
        for outputs that cannot be committed, UnsupportedOperator for too many operands and, beside a log, for
        calls that are neither exact, single nor logged.
        """
        tensors = [leaf for leaf in leaves([args, list(kwargs.values())]) if isinstance(leaf, Ref)]
        if not 0 < len(tensors) <= MAX_OPERANDS:
            raise UnsupportedOperator(f"it has {len(tensors)} tensors; a node takes 1 to {MAX_OPERANDS}")
        order = list(range(len(tensors)))
        if is_contraction(target, kwargs, [ref.value.type.dtype for ref in tensors]):
            order = operand_order(target, len(tensors))
        operands = [tensors[position] for position in order]
        slots = iter(order.index(i) for i in range(len(tensors)))

        def slot(leaf: Any) -> Any:
            return Slot(next(slots)) if isinstance(leaf, Ref) else leaf

        args = substitute(args, slot)
        kwargs = {name: substitute(value, slot) for name, value in kwargs.items()}
        types = [_type_of(tensor) for tensor in results.values()]
        for operand, needed in rows(_call(target, args, kwargs, operands, types, [*results])).items():
            operands[operand] = self._with_rows(needed, operands[operand], path)
        step = self._step(target, args, kwargs, tuple(operands), path)
        if self.log is not None:
            call = _call(target, args, kwargs, operands, types, [*results])
            step.log = self.log if kind(rounded(call, _meaning(call)).operator) is Kind.LOGGED else None
        refs = {}
        for index, tensor in results.items():
            if index not in step.outputs:
                step.outputs[index] = Value(_type_of(tensor), tensor.stride())
            refs[index] = Ref(step.outputs[index], View.whole(tuple(tensor.shape)), tensor.stride())
        return refs

    def finish(
        self, outputs: list[Ref], aside: Sequence[Ref] = ()
    ) -> tuple[Graph, list[Tensor], dict[Value, int]]:
        """The graph with these outputs, its parameters, and the ids of its values. A copy stands for each
        output that is an input, a parameter, a view or an output already.

        aside: what is computed although no output needs it.
        """
        produced = {value for step in self._steps for value in step.outputs.values()}
        results: list[Value] = []
        for ref in outputs:
            value = ref.value
            if value not in produced or value in results or ref.view != View.whole(value.type.shape):
                step = Step(COPY, (Slot(0),), {}, (ref,), "", {0: Value(_viewed(ref), ref.strides)})
                self._steps.append(step)
                value = step.outputs[0]
            results.append(value)
        steps = _prune(self._steps, results + [ref.value for ref in aside])
        return _number(self.inputs, steps, results, self.log is not None)

    def _with_rows(self, needed: Rows, ref: Ref, path: str) -> Ref:
        """An operand as its call needs it: copied first where its rows are scattered in its value."""
        if needed.holds(ref.view, ref.value.type.row_length):
            return ref
        view, order = ref.view.permute([*needed.order]), needed.order
        # Expanded dimensions are copied once, except those that rows run along.
        inner = [math.prod(view.shape[d + 1 :]) for d in range(len(view.shape))]
        whole = [
            stride != 0 or lanes < needed.length for stride, lanes in zip(view.strides, inner, strict=True)
        ]
        once = tuple(n if kept else 1 for n, kept in zip(view.shape, whole, strict=True))
        source = View.of(once, view.strides, view.offset)
        copied = Ref(ref.value, source, tuple(ref.strides[d] for d in order))
        if math.prod(once[-1:]) == needed.length or not source.covers_in_order(ref.value.type.numel):
            copied = self.copy(copied, copied.strides, path)
        if math.prod(once[-1:]) != needed.length:
            flat = (math.prod(once) // needed.length, needed.length)
            copied = self.copy(Ref(copied.value, View.whole(flat), row_major(flat)), row_major(flat), path)
        steps = row_major(once)
        back = [0 if n == 1 else step for n, step in zip(once, steps, strict=True)]
        strides = tuple(back[order.index(d)] for d in range(len(order)))
        return Ref(copied.value, View.of(ref.view.shape, strides), ref.strides)

    def _step(
        self,
        target: str,
        args: Any,
        kwargs: dict[str, Any],
        operands: tuple[Ref, ...],
        path: str,
        layout: Strides | None = None,
    ) -> Step:
        """A new step, or the equal one that there is already. layout: tells copies apart by their memory."""
        literals = canonical_json([encode(args), {name: encode(value) for name, value in kwargs.items()}])
        key = (target, literals, operands, layout)
        if key not in self._known:
            self._known[key] = Step(target, args, kwargs, operands, path)
            self._steps.append(self._known[key])
        return self._known[key]


def _whole(tensor: Tensor, held: Tensor | None) -> Ref:
    value = Value(_type_of(tensor), tensor.stride(), held)
    return Ref(value, View.whole(tuple(tensor.shape)), tensor.stride())


def _type_of(tensor: Tensor) -> TensorType:
    kind = TensorType.of(tensor)
    if kind.numel >= MAX_ELEMENTS:
        raise UnsupportedOperator(f"a tensor of shape {kind.shape} has 2^32 elements or more; split it")
    return kind


def _viewed(ref: Ref) -> TensorType:
    return TensorType(ref.value.type.dtype, ref.view.shape)


def _prune(steps: list[Step], wanted: list[Value]) -> list[Step]:
    needed, kept = set(wanted), []
    for step in reversed(steps):
        if needed.intersection(step.outputs.values()):
            needed.update(ref.value for ref in step.reads)
            kept.append(step)
    for step in kept:
        step.outputs = {slot: value for slot, value in sorted(step.outputs.items()) if value in needed}
    return kept[::-1]


def _number(
    inputs: list[Value], steps: list[Step], results: list[Value], trains: bool
) -> tuple[Graph, list[Tensor], dict[Value, int]]:
    parameters = list(dict.fromkeys(r.value for s in steps for r in s.operands if r.value.tensor is not None))
    values = inputs + parameters + [value for step in steps for value in step.outputs.values()]
    ids = {value: number for number, value in enumerate(values)}
    graph = Graph(
        types=tuple(value.type for value in values),
        input_count=len(inputs),
        parameter_count=len(parameters),
        nodes=tuple(_node(step, ids, number if trains else None) for number, step in enumerate(steps)),
        outputs=tuple(ids[value] for value in results),
        layouts=tuple(None if v.layout == row_major(v.type.shape) else v.layout for v in values),
        names=tuple(f"{step.path}:{step.target}" for step in steps),
    )
    return graph.checked(), [value.tensor for value in parameters], ids


def _node(step: Step, ids: dict[Value, int], number: int | None) -> Node:
    outputs = [value.type for value in step.outputs.values()]
    call = _call(step.target, step.args, step.kwargs, step.operands, outputs, [*step.outputs])
    what = _meaning(call) if number is None else rounded(call, _meaning(call), number)
    return Node(
        operator=what.operator,
        target=step.target,
        args=tuple(step.args),
        kwargs=step.kwargs,
        operands=tuple(Operand(ids[r.value], r.view, _layout_hint(r)) for r in step.reads),
        maps=what.maps,
        outputs=tuple(ids[value] for value in step.outputs.values()),
        slots=tuple(step.outputs),
        reduction=what.reduction,
        attributes=what.attributes,
    )


def _meaning(call: Call) -> Meaning:
    what = meaning(call)
    if what is None:
        raise AssertionError(f"{call.target} was built without the copies it needs")
    return what


def _call(
    target: str,
    args: Any,
    kwargs: dict[str, Any],
    operands: Sequence[Ref],
    outputs: list[TensorType],
    slots: list[int],
) -> Call:
    views, types = [ref.view for ref in operands], [ref.value.type for ref in operands]
    return Call(target, args, kwargs, views, types, outputs, slots)


def _layout_hint(ref: Ref) -> Strides | None:
    whole = ref.view == View.whole(ref.value.type.shape) and ref.strides == ref.value.layout
    return None if whole else ref.strides
