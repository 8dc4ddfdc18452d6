"""Operators of a training step that no network has: what is drawn from a seed, and gradients of lookups."""

from __future__ import annotations

from tao.graph.maps import Call, IndexMap, Meaning, Rows
from tao.graph.operators import EMBEDDING_GRADIENT, KEEP, LOG, SAMPLE
from tao.graph.views import View
from tao.tensors.codec import DType, TensorType

_STEP_AND_SEED = (TensorType(DType.INT64, (1,)), TensorType(DType.INT64, (2,)))
OPERATORS = (LOG, SAMPLE, KEEP, EMBEDDING_GRADIENT)


class _Apart(Rows):
    """What an operand must be like that is to be a value of its own; needed only where it is not."""

    def holds(self, view: View, row_length: int) -> bool:
        return False


def rows(call: Call) -> dict[int, Rows]:
    """Looked-up indices are one row, read whole, so that one opening shows them; a column of a gradient is one run."""
    if call.target != EMBEDDING_GRADIENT:
        return {}
    if not _is_of_rows(call):
        return {}  # whatever its operands are like, no contract follows it
    places = call.views[1].shape[0]
    runs = {0: Rows((1, 0), places)}
    if call.views[1].covers_in_order(places) and call.types[1].shape == (places,):
        return runs
    return {**runs, 1: _Apart((0,), places)}


def meaning(call: Call) -> Meaning:
    """Maps and attributes. A log has neither operands nor attributes.

    sample: attributes size and count; keep: stream and threshold. Every element reads the step, and both
    words of the seed as lanes; step and seed are whole values, and all numbers words. embedding_gradient: lanes
    run over the places that were looked up.
    """
    if call.target == LOG:
        return Meaning(LOG, ())
    if call.target == EMBEDDING_GRADIENT:
        return _embedding_gradient(call)
    numbers = call.args[2:4] if call.target == SAMPLE else call.args[3:5]
    whole = tuple(View.whole(given.shape) for given in _STEP_AND_SEED)
    if tuple(call.types) != _STEP_AND_SEED or tuple(call.views) != whole or not all(map(_is_word, numbers)):
        return call.opaque()
    if call.target == SAMPLE and (numbers[0] == 0 or call.shape != (numbers[1],)):
        return call.opaque()
    none = (0,) * len(call.shape)
    maps = (IndexMap(none, 0, 0), IndexMap(none, 1, 0))
    return Meaning(call.target, maps, attributes=tuple(numbers))


def _is_word(number: int) -> bool:
    return 0 <= number < 1 << 32


def _is_of_rows(call: Call) -> bool:
    """Whether an embedding's gradient is float32 [rows, D], of [T, D] at int64 [T]."""
    (gradient, indices), (out,) = call.views, call.outputs
    if len(gradient.shape) != 2 or len(indices.shape) != 1:
        return False
    places, width = gradient.shape
    dtypes = call.types[0].dtype, call.types[1].dtype, out.dtype
    fits = indices.shape == (places,) and out.shape == (call.args[2], width)
    return fits and dtypes == (DType.FLOAT32, DType.INT64, DType.FLOAT32)


def _embedding_gradient(call: Call) -> Meaning:
    if not _is_of_rows(call):
        return call.opaque()
    gradient, indices = call.views
    maps = (
        IndexMap((0, gradient.strides[1]), 1, gradient.offset),
        IndexMap((0, 0), indices.strides[0], indices.offset),
    )
    return Meaning(call.target, maps, indices.shape[0])
