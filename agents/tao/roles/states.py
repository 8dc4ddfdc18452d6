"""The prover's states as tensors: fetched, and checked against the graph."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tao.errors import StoreError
from tao.graph.canonical import Graph
from tao.protocol.views import ChainView, DisputeView, Phase
from tao.tensors import TensorType
from tao.tensors.store import TensorStore


def fetch(store: TensorStore, graph: Graph, cut: int, commitments: Sequence[bytes]) -> tuple[Tensor, ...]:
    """The values live at `cut`, in the graph's order.

    Raises StoreError where one is missing, or has another type than the graph gives it.
    """
    live = graph.live(cut)
    if len(commitments) != len(live):
        raise StoreError(f"the state at cut {cut} has {len(commitments)} values and the graph {len(live)}")
    return tuple(
        fetch_value(store, graph, value, held) for value, held in zip(live, commitments, strict=True)
    )


def fetch_segment(
    store: TensorStore, graph: Graph, lo: int, before: Sequence[bytes], hi: int, after: Sequence[bytes]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Both ends of a segment whose states are consistent, as far as the segment has to do with them.

    A value that passes by unread is not fetched, so that nobody can hide an operator behind it; zeros stand
    in its place. Raises StoreError where a value read or produced is missing or of another type.
    """
    held = dict(zip(graph.live(lo), fetch_read(store, graph, lo, hi, before), strict=True))
    end = tuple(
        held[value] if value in held else fetch_value(store, graph, value, commitment)
        for value, commitment in zip(graph.live(hi), after, strict=True)
    )
    return tuple(held.values()), end


def fetch_read(
    store: TensorStore, graph: Graph, lo: int, hi: int, before: Sequence[bytes]
) -> tuple[Tensor, ...]:
    """The values live at `lo` that operators up to `hi` read; zeros in the place of others."""
    read = {operand.value for node in graph.nodes[lo:hi] for operand in node.operands}
    return tuple(
        fetch_value(store, graph, value, commitment) if value in read else zeros(graph, value)
        for value, commitment in zip(graph.live(lo), before, strict=True)
    )


def zeros(graph: Graph, value: int) -> Tensor:
    """What stands in the place of a value that is not read."""
    kind = graph.types[value]
    return torch.zeros(kind.shape, dtype=kind.dtype.torch)


def fetch_value(store: TensorStore, graph: Graph, value: int, commitment: bytes) -> Tensor:
    """One value of the graph; raises StoreError where it is missing or of another type."""
    expected = graph.types[value]
    tensor = store.get_tensor(commitment, expected)
    given = TensorType.of(tensor)
    if given != expected:
        raise StoreError(f"the tensor 0x{commitment.hex()} is {given}, not the graph's {expected}")
    return tensor


Ends = tuple[int, int, tuple[bytes, ...], tuple[bytes, ...]]
"""A segment and the commitments at its ends: after a reorganisation other states may stand at the same cuts."""


def ends(dispute: DisputeView, lo: int, hi: int) -> Ends:
    """What a verdict about the segment [lo, hi) of a dispute is about."""
    return lo, hi, dispute.states[lo], dispute.states[hi]


def disputed(view: ChainView) -> set[Ends]:
    """The segments that disputes are about now."""
    return {ends(d, d.lo, d.hi) for d in view.disputes if d.phase is not Phase.CLOSED}


def around(dispute: DisputeView) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The commitments at both ends of the disputed segment."""
    return dispute.states[dispute.lo], dispute.states[dispute.hi]


def chunk_numbered(tensor_type: TensorType, number: int) -> int:
    """Leaf index of a tensor's chunk `number`, counted through its rows and round."""
    row, chunk = divmod(number % (tensor_type.rows * tensor_type.chunks_per_row), tensor_type.chunks_per_row)
    return (row << tensor_type.row_height) + chunk
