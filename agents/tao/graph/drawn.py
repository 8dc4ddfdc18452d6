"""Operators of a training step that no network has: what is drawn from a seed, and gradients of lookups."""

from __future__ import annotations

from tao.graph.maps import Call, IndexMap, Meaning
from tao.graph.operators import EMBEDDING_GRADIENT, KEEP, LOG, SAMPLE
from tao.tensors.codec import DType

OPERATORS = (LOG, SAMPLE, KEEP, EMBEDDING_GRADIENT)


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
        IndexMap((0, gradient.strides[1]), gradient.strides[0], gradient.offset),
        IndexMap((0, 0), indices.strides[0], indices.offset),
    )
    return Meaning(call.target, maps, indices.shape[0])
