"""States at the cuts of a graph, whatever stands for the values: tensors or their commitments."""

from collections.abc import Sequence
from typing import TypeVar

from tao.graph.canonical import Graph

T = TypeVar("T")


def is_consistent(graph: Graph, lo: int, before: Sequence[bytes], hi: int, after: Sequence[bytes]) -> bool:
    """True iff both states have the graph's lengths and what passes from `lo` to `hi` is unchanged."""
    live_before, live_after = graph.live(lo), graph.live(hi)
    if len(before) != len(live_before) or len(after) != len(live_after):
        return False
    held = dict(zip(live_before, before, strict=True))
    return all(
        held.get(value, commitment) == commitment for value, commitment in zip(live_after, after, strict=True)
    )


def of_outputs(graph: Graph, node: int, after: Sequence[T]) -> tuple[T, ...]:
    """What the state after operator `node` holds of its outputs, by output slot."""
    held = dict(zip(graph.live(node + 1), after, strict=True))
    return tuple(held[value] for value in graph.nodes[node].outputs)
