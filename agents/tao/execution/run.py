"""Runs a canonical graph with the kernels that eager execution uses, on tensors laid out alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tao.errors import ModelError, NoResult
from tao.execution.kernels import kernel, refuses_values
from tao.execution.layout import is_whole, lay_out, view_operand
from tao.graph.canonical import Graph, Node
from tao.graph.literals import Slot, fill, leaves, substitute
from tao.graph.operators import COPY
from tao.numerics.kernels import prepare

Override = Callable[[int, Node, tuple[Tensor, ...], tuple[Tensor, ...]], Sequence[Tensor]]
"""(node index, node, operand tensors, outputs) -> the outputs to go on with."""

Disturbance = Callable[[int, Node, list[Tensor]], list[Tensor]]
"""(node index, node, operand tensors) -> the operands to compute with."""


class Executor:
    """A graph ready to run: a plain loop over its nodes that frees every value after its last use.

    On tensors laid out as recorded, outputs are bit-identical to those of the module run eagerly on the same
    machine.
    """

    def __init__(self, graph: Graph, parameters: Sequence[Tensor], dtype: torch.dtype | None = None) -> None:
        """parameters: by index. dtype: None to run as traced, torch.float64 to compute every floating-point
        value and every conversion to floating point in double precision.

        Raises ModelError where the parameters are not those of the graph.
        """
        prepare()
        if len(parameters) != graph.parameter_count:
            raise ModelError(f"the graph has {graph.parameter_count} parameters, not {len(parameters)}")
        self.graph = graph
        self.dtype = dtype
        self._parameters = [
            _admit(graph, graph.value_of_parameter(i), tensor.detach(), f"parameter {i}")
            for i, tensor in enumerate(parameters)
        ]
        self._steps: dict[int, _Step] = {}

    def run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The outputs for the inputs, in the graph's order. Raises as `advance` does."""
        return self.advance(0, tuple(inputs), len(self.graph))

    def advance(
        self,
        start: int,
        state: Sequence[Tensor],
        stop: int,
        override: Override | None = None,
        keep: Callable[[int, list[Tensor]], None] | None = None,
        disturb: Disturbance | None = None,
    ) -> tuple[Tensor, ...]:
        """The values live at cut `stop`, given those live at cut `start`, each in the order of `Graph.live`.

        Tensors are taken as they are laid out (`replay.restore` lays them out). keep: called with each cut
        from `start` to `stop` and the values live there. Raises ModelError where cuts or state do not fit
        and where an operator cannot be computed, NoResult where that is for the values it gets.
        """
        env = self._enter(start, state, stop)
        with torch.no_grad():
            for index in range(start, stop):
                if keep is not None:
                    keep(index, [env[value] for value in self.graph.live(index)])
                step = self._step(index)
                tensors = step.operands(env)
                if disturb is not None:
                    tensors = disturb(index, step.node, tensors)
                try:
                    outputs = step.call(tensors)
                except (RuntimeError, IndexError, ValueError) as error:
                    # A cheating prover can commit to indices outside a table, for one.
                    what, reason = f"node {index} ({step.node.target})", str(error).split("\n")[0]
                    if refuses_values(error):
                        raise NoResult(f"{what} refuses its operands: {reason}") from error
                    raise ModelError(f"{what} cannot be computed: {reason}") from error
                if override is not None:
                    outputs = self._overridden(override, index, tensors, outputs)
                for value, output in zip(step.node.outputs, outputs, strict=True):
                    env[value] = output
                for value in self.graph.releases[index]:
                    env[value] = None
        result = [env[value] for value in self.graph.live(stop)]
        if keep is not None:
            keep(stop, result)
        return tuple(result)

    def operands(self, index: int, state: Sequence[Tensor]) -> list[Tensor]:
        """The tensors, as viewed by the call, that node `index` gets in the state before it."""
        return self._step(index).operands(self._enter(index, state, index))

    def _step(self, index: int) -> _Step:
        if index not in self._steps:
            self._steps[index] = _Step(self.graph, index, self.dtype)
        return self._steps[index]

    def _enter(self, start: int, state: Sequence[Tensor], stop: int) -> list[Any]:
        if not 0 <= start <= stop <= len(self.graph):
            raise ModelError(f"cuts {start} to {stop} are not in order within 0..{len(self.graph)}")
        live = self.graph.live(start)
        if len(state) != len(live):
            raise ModelError(f"{len(live)} values are live at cut {start}, but {len(state)} were given")
        env: list[Any] = [None] * len(self.graph.types)
        env[self.graph.input_count : self.graph.input_count + self.graph.parameter_count] = self._parameters
        what = "value" if start else "input"
        for value, tensor in zip(live, state, strict=True):
            _check(self.graph, value, tensor, f"{what} {value}", self.dtype)
            env[value] = tensor if self.dtype is None else widen(tensor, self.dtype)
        return env

    def _overridden(
        self, override: Override, index: int, operands: list[Tensor], outputs: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        node = self.graph.nodes[index]
        changed = tuple(override(index, node, tuple(operands), outputs))
        if len(changed) != len(outputs):
            raise ModelError(f"node {index} has {len(outputs)} outputs, but the override gave {len(changed)}")
        for value, tensor in zip(node.outputs, changed, strict=True):
            _check(self.graph, value, tensor, f"the override of node {index}", self.dtype)
        layouts = [self.graph.layouts[value] for value in node.outputs]
        return tuple(
            new if new is old else lay_out(new, layout)
            for new, old, layout in zip(changed, outputs, layouts, strict=True)
        )


class _Step:
    """A node prepared for the loop: a template of its call, and where its tensors go."""

    def __init__(self, graph: Graph, index: int, dtype: torch.dtype | None) -> None:
        self.node = node = graph.nodes[index]
        self._dtype = dtype
        self._layout = graph.layouts[node.outputs[0]]
        wholes = [is_whole(o, graph.types[o.value].shape) for o in node.operands]
        self._sources = [
            (o.value, None if whole else o, graph.parameter_of(o.value) is not None)
            for o, whole in zip(node.operands, wholes, strict=True)
        ]
        self._target = None if node.target == COPY else kernel(node.target)

        def literal(leaf: Any) -> Any:
            wide = dtype is not None and isinstance(leaf, torch.dtype) and leaf.is_floating_point
            return dtype if wide else leaf

        self._args = substitute(node.args, literal)
        self._kwargs = {name: substitute(value, literal) for name, value in node.kwargs.items()}
        self._places = [(i, arg.index) for i, arg in enumerate(self._args) if isinstance(arg, Slot)]
        slots = [leaf for leaf in leaves([node.args, *node.kwargs.values()]) if isinstance(leaf, Slot)]
        self._nested = len(self._places) < len(slots)
        self._single = node.slots == (0,)

    def operands(self, env: list[Any]) -> list[Tensor]:
        tensors = []
        for value, operand, is_parameter in self._sources:
            tensor = env[value]
            if is_parameter and self._dtype is not None:
                tensor = widen(tensor, self._dtype)
            tensors.append(tensor if operand is None else view_operand(tensor, operand))
        return tensors

    def call(self, tensors: list[Tensor]) -> tuple[Tensor, ...]:
        """The outputs in use. A copy whose operand is laid out as the output is shares memory with it."""
        if self._target is None:
            return (lay_out(tensors[0], self._layout),)
        if self._nested:
            args, kwargs = fill(self._args, self._kwargs, tensors)
            result = self._target(*args, **kwargs)
        else:
            args = self._args.copy()
            for position, index in self._places:
                args[position] = tensors[index]
            result = self._target(*args, **self._kwargs)
        if self._single and isinstance(result, Tensor):
            return (result,)
        return tuple(result[slot] for slot in self.node.slots)


def widen(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Floating-point tensors converted to `dtype`, others as they are."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _admit(graph: Graph, value: int, tensor: Tensor, what: str) -> Tensor:
    _check(graph, value, tensor, what, None)
    return lay_out(tensor, graph.layouts[value])


def _check(graph: Graph, value: int, tensor: Tensor, what: str, dtype: torch.dtype | None) -> None:
    """Raises ModelError unless the tensor has the value's type; its floats may already have `dtype`."""
    kind = graph.types[value]
    if not isinstance(tensor, Tensor):
        given = type(tensor).__name__
        raise ModelError(
            f"{what} must be {kind}, but is no torch.Tensor; convert the {given} with torch.as_tensor"
        )
    same_kind = tensor.dtype == kind.dtype.torch
    if dtype is not None:
        same_kind |= kind.dtype.torch.is_floating_point and tensor.dtype == dtype
    if not same_kind or tuple(tensor.shape) != kind.shape:
        got = f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
        raise ModelError(f"{what} must be {kind}, but is {got}")
