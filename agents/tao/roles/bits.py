"""Training steps judged by bits: the values around operators."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tao.graph import log_format
from tao.graph.canonical import Graph
from tao.roles.states import fetch_segment, zeros
from tao.tensors.store import TensorStore

States = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]


def log_value(graph: Graph) -> int:
    """The value that is the step's own log."""
    return graph.nodes[0].outputs[0]


def stand_in(graph: Graph, value: int) -> Tensor:
    """A tensor in the place of a value that nobody reads: zeros, or a log without entries."""
    if value == log_value(graph):
        return log_format.empty(graph.types[value].shape[1])
    return zeros(graph, value)


def fetch_around(
    store: TensorStore, graph: Graph, lo: int, before: Sequence[bytes], hi: int, after: Sequence[bytes]
) -> States:
    """`fetch_segment`, with a log without entries where the segment's operators do not read the log."""
    start, end = fetch_segment(store, graph, lo, before, hi, after)
    value = log_value(graph)
    if value not in graph.live(lo) or any(o.value == value for n in graph.nodes[lo:hi] for o in n.operands):
        return start, end
    empty = stand_in(graph, value)
    return tuple(
        tuple(empty if held == value else tensor for held, tensor in zip(graph.live(cut), state, strict=True))
        for cut, state in ((lo, start), (hi, end))
    )
