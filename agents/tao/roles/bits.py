"""Training steps judged by bits: the values around operators, and whether one state follows from another."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tao.graph import log_format
from tao.graph.canonical import Graph
from tao.roles.states import fetch_segment, zeros
from tao.tensors.store import TensorStore
from tao.training.examine import same_bits
from tao.training.log import LogError
from tao.training.policies import ReplayError
from tao.training.replay import Replay

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


def follows(replay: Replay, lo: int, hi: int, states: States) -> bool:
    """Whether the state at cut hi follows from the one at lo, bit for bit, given the log in them.

    An honest trainer's always does: devices agree on what is not logged, and obey its entries. Others are not
    obeyed.
    """
    graph, (start, end) = replay.graph, states
    held = dict(zip(graph.live(hi), end, strict=True))
    try:
        own = replay.advance(lo, start, hi, log=held.get(log_value(graph)), strict=False)
    except (ReplayError, LogError):
        return False  # no honest run has such a log, or values on which an operator has no result
    return all(same_bits(mine, theirs) for mine, theirs in zip(own, end, strict=True))
