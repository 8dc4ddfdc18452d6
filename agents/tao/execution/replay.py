"""States at the cuts of a graph: captured in a dispute, and replayed between any two cuts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from tao.errors import ModelError
from tao.execution.layout import lay_out
from tao.execution.run import Executor, Override
from tao.graph.canonical import Graph


def capture(
    graph: Graph,
    parameters: Sequence[Tensor],
    inputs: Sequence[Tensor],
    cuts: Iterable[int],
    override: Override | None = None,
) -> dict[int, tuple[Tensor, ...]]:
    """The values live at each of the cuts, contiguous, in the order of `Graph.live`, from one run.

    Raises ModelError for cuts outside 0..n and for tensors that are not the graph's.
    """
    wanted = set(cuts)
    if wanted and not 0 <= min(wanted) <= max(wanted) <= len(graph):
        raise ModelError(f"cuts {min(wanted)} to {max(wanted)} are not within 0..{len(graph)}")
    states: dict[int, tuple[Tensor, ...]] = {}

    def keep(cut: int, values: list[Tensor]) -> None:
        if cut in wanted:
            states[cut] = tuple(value.contiguous() for value in values)

    Executor(graph, parameters).advance(0, inputs, max(wanted, default=0), override, keep)
    return states


def replay(
    graph: Graph,
    parameters: Sequence[Tensor],
    start_cut: int,
    state: Sequence[Tensor],
    stop_cut: int,
    dtype: torch.dtype | None = None,
    override: Override | None = None,
) -> tuple[Tensor, ...]:
    """The values live at `stop_cut`, contiguous, computed from those live at `start_cut`.

    Tensors of the state are laid out as they were when the graph was traced, so that a replay on the machine
    that ran the model gives the same bits. dtype: torch.float64 to compute in double precision. override: may
    replace the outputs of a node. Raises ModelError where cuts, state or parameters do not fit, NoResult where an
    operator has none on the values it gets.
    """
    laid_out = restore(graph, start_cut, state)
    values = Executor(graph, parameters, dtype).advance(start_cut, laid_out, stop_cut, override)
    return tuple(value.contiguous() for value in values)


def node_values(
    graph: Graph, parameters: Sequence[Tensor], index: int, state: Sequence[Tensor]
) -> list[Tensor]:
    """The whole values that the operands of node `index` read, not their views, from the state before it."""
    held = dict(zip(graph.live(index), state, strict=True))
    numbers = [(operand.value, graph.parameter_of(operand.value)) for operand in graph.nodes[index].operands]
    return [held[value] if number is None else parameters[number] for value, number in numbers]


def restore(graph: Graph, cut: int, state: Sequence[Tensor]) -> list[Tensor]:
    """Tensors of a state laid out as eager execution has them."""
    live = graph.live(cut)
    if len(state) != len(live):
        raise ModelError(f"{len(live)} values are live at cut {cut}, but {len(state)} were given")
    return [lay_out(tensor, graph.layouts[value]) for value, tensor in zip(live, state, strict=True)]
