"""Operators of a training step that no network has: what is drawn from a seed, and gradients of lookups."""

from __future__ import annotations

from tao.graph.maps import Call, IndexMap, Meaning, Rows
from tao.graph.operators import EMBEDDING_GRADIENT, KEEP, LOG, SAMPLE
from tao.graph.views import View
from tao.tensors.codec import DType

OPERATORS = (LOG, SAMPLE, KEEP, EMBEDDING_GRADIENT)


class _Apart(Rows):
    """What an operand must be like that is to be a value of its own; needed only where it is not."""

    def holds(self, view: View, row_length: int) -> bool:
        return False


def rows(call: Call) -> dict[int, Rows]:
    """Looked-up indices are one row, read whole, so that one opening shows them; a column of a gradient is one run."""
    if call.target != EMBEDDING_GRADIENT:
        return {}
    places = call.views[1].shape[0]
    runs = {0: Rows((1, 0), places)} if len(call.views[0].shape) == 2 else {}
    if call.views[1].covers_in_order(places) and call.types[1].shape == (places,):
        return runs
    return {**runs, 1: _Apart((0,), places)}


def meaning(call: Call) -> Meaning:
    """Maps and attributes. A log has neither operands nor attributes.

    sample: attributes size and count; keep: stream and threshold. Every element reads the step, and both
    words of the seed as lanes. embedding_gradient: lanes run over the places that were looked up.
    """
    if call.target == LOG:
        return Meaning(LOG, ())
    if call.target == EMBEDDING_GRADIENT:
        return _embedding_gradient(call)
    step, seed = call.views
    none = (0,) * len(call.shape)
    lane = seed.strides[0] if seed.shape else 0
    maps = (IndexMap(none, 0, step.offset), IndexMap(none, lane, seed.offset))
    numbers = call.args[2:4] if call.target == SAMPLE else call.args[3:5]
    return Meaning(call.target, maps, attributes=tuple(number & 0xFFFFFFFF for number in numbers))


def _embedding_gradient(call: Call) -> Meaning:
    gradient, indices = call.views
    if len(gradient.shape) != 2 or len(indices.shape) != 1 or call.types[1].dtype is not DType.INT64:
        return call.opaque()
    maps = (
        IndexMap((0, gradient.strides[1]), 1, gradient.offset),
        IndexMap((0, 0), indices.strides[0], indices.offset),
    )
    return Meaning(call.target, maps, indices.shape[0])
