"""Operators on rows: softmax, normalisations and reductions read their first operand in contiguous rows."""

from __future__ import annotations

import math
from collections.abc import Callable

from tao.errors import UnsupportedOperator
from tao.graph.attributes import float32_word
from tao.graph.maps import Call, IndexMap, Meaning, Rows, along, broadcast
from tao.graph.operators import overloads
from tao.graph.resizing import ADAPTIVE
from tao.tensors.codec import DType


def _or(given: float | None, default: float) -> float:
    return default if given is None else given


_NORMS: dict[str, Callable[[Call], tuple[int | None, int | None, float]]] = {
    "aten.layer_norm.default": lambda c: (c.tensor(2), c.tensor(3), c.argument(4, 1e-5)),
    "aten.native_layer_norm.default": lambda c: (c.tensor(2), c.tensor(3), c.argument(4, 1e-5)),
    "aten.group_norm.default": lambda c: (c.tensor(2), c.tensor(3), c.argument(4, 1e-5)),
    "aten.native_group_norm.default": lambda c: (c.tensor(1), c.tensor(2), c.argument(7, 1e-5)),
    "aten.rms_norm.default": lambda c: (c.tensor(2), None, _or(c.argument(3, None), 2.0**-23)),
}
"""Operands weight and bias, and eps."""


SOFTMAXES = overloads("softmax.int _softmax log_softmax.int _log_softmax")
SUMS = overloads("sum sum.dim_IntList mean mean.dim cumsum")
NORMS = frozenset(_NORMS)
BATCH_NORMS = {"aten.batch_norm.default": 7, "aten._native_batch_norm_legit_no_training.default": 6}
"""Position of eps."""
MEAN = "aten.mean.dim"
CUMSUM = "aten.cumsum.default"
VECTOR_NORM = "aten.linalg_vector_norm.default"
_EXTREMA = {"aten.max.dim": "max", "aten.min.dim": "min"}
"""Their outputs are one extremum and its position; whichever is in use goes by the name of the operator that gives
it alone."""
_POSITIONS = overloads("argmax argmin")
_LAYER = overloads("layer_norm native_layer_norm")
_REDUCTIONS = (SUMS | _POSITIONS | overloads("amax amin max min")).union(ADAPTIVE, _EXTREMA, [VECTOR_NORM])
OPERATORS = (SOFTMAXES | NORMS | _REDUCTIONS).union(BATCH_NORMS)


def rows(call: Call) -> dict[int, Rows]:
    """What the first operand must be like; nothing for calls that cannot be followed."""
    trailing = _trailing(call)
    if trailing is not None:
        return {0: Rows(tuple(range(len(call.views[0].shape))), trailing)}
    reduced = _reduced(call)
    if reduced is None:
        return {}
    shape = call.views[0].shape
    kept = tuple(d for d in range(len(shape)) if d not in reduced)
    return {0: Rows((*kept, *reduced), math.prod(shape[d] for d in reduced))}


def meaning(call: Call) -> Meaning:
    """Maps and reduction of a row operator, of a batch normalisation, or the opaque meaning."""
    if call.target in BATCH_NORMS:
        return _batch_norm(call)
    if (length := _trailing(call)) is not None:
        return _on_rows(call, length)
    if (reduced := _reduced(call)) is not None:
        return _reduction(call, reduced)
    return call.opaque()


def _trailing(call: Call) -> int | None:
    """Elements of a row of an operator that keeps its operand's shape."""
    if not call.is_float32 or tuple(call.slots) != (0,):
        return None
    shape = call.views[0].shape
    if call.target in SOFTMAXES:
        dim = call.argument(1, -1)
        return shape[-1] if shape and dim in (-1, len(shape) - 1) else None
    if call.target in _LAYER or call.target == "aten.rms_norm.default":
        return math.prod(call.argument(1, ()))
    if call.target == "aten.group_norm.default":
        return math.prod(shape[1:]) // call.argument(1, 1)
    if call.target == "aten.native_group_norm.default":
        given = tuple(call.argument(place, None) for place in (3, 4, 5))
        whole = (*shape[:2], math.prod(shape[2:]))
        return math.prod(shape[1:]) // call.argument(6, 1) if given == whole else None
    return None


def _on_rows(call: Call, length: int) -> Meaning:
    x, shape = call.views[0], call.shape
    first = IndexMap(x.strides, 1, x.offset)
    if call.target in SOFTMAXES:
        return Meaning(call.target, (first,), length)
    weight, bias, eps = _NORMS[call.target](call)
    if bias is not None and weight is None:
        return call.opaque()
    of_group = "group_norm" in call.target
    if of_group and any(view.shape != (shape[1],) for view in call.views[1:]):
        return call.opaque()
    affine = (along(view, 1, shape) if of_group else broadcast(view, shape) for view in call.views[1:])
    return Meaning(call.target, (first, *affine), length, (float32_word(eps),))


def _batch_norm(call: Call) -> Meaning:
    place = BATCH_NORMS[call.target]
    trains = place == 7 and call.argument(5, False)
    if any(view.shape != (call.shape[1],) for view in call.views[1:]):
        raise UnsupportedOperator(
            "weight, bias and statistics of a batch norm have one number for each channel"
        )
    if not call.is_float32 or tuple(call.slots) != (0,) or len(call.views) != 5 or trains:
        return call.opaque()
    vectors = (along(view, 1, call.shape) for view in call.views[1:])
    eps = float32_word(call.argument(place, 1e-5))
    return Meaning(call.target, (broadcast(call.views[0], call.shape), *vectors), attributes=(eps,))


def _reduced(call: Call) -> tuple[int, ...] | None:
    """Dimensions that a reduction runs over, ascending; None for calls that cannot be followed."""
    if call.target not in _REDUCTIONS or len(call.slots) != 1:
        return None
    if _is_position(call):
        if call.types[0].dtype is DType.BOOL:
            return None
    elif not call.is_float32:
        return None
    rank = len(call.views[0].shape)
    if call.target in ADAPTIVE:
        return (rank - 2, rank - 1) if list(call.args[1]) == [1, 1] else None
    if call.target == VECTOR_NORM:
        if call.argument(1, 2) != 2:
            return None
        dims = call.argument(2, None)
    else:
        whole = call.target.endswith(("aten.sum.default", "mean.default"))
        dims = None if whole else call.argument(1, 0 if call.target == CUMSUM else None)
    if dims is None or dims == []:
        return tuple(range(rank))
    dims = [dims] if isinstance(dims, int) else dims
    return tuple(sorted(d % rank for d in dims)) if rank else None


def _is_position(call: Call) -> bool:
    """Whether the output is where an extremum is."""
    return call.target in _POSITIONS or (call.target in _EXTREMA and tuple(call.slots) == (1,))


def _reduction(call: Call, reduced: tuple[int, ...]) -> Meaning:
    x = call.views[0]
    keeps = len(call.shape) == len(x.shape)
    strides = tuple(0 if d in reduced else s for d, s in enumerate(x.strides) if keeps or d not in reduced)
    operator = MEAN if call.target in ADAPTIVE else call.target
    if call.target in _EXTREMA:
        operator = f"aten.{'arg' if _is_position(call) else 'a'}{_EXTREMA[call.target]}.default"
    lanes = math.prod(x.shape[d] for d in reduced)
    attributes = reduced if call.target == CUMSUM else ()
    return Meaning(operator, (IndexMap(strides, 1, x.offset),), lanes, attributes)
