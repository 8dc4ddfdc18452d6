"""Operators whose output element is one element of an operand: joins, padding, upsampling and lookups."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from tao.graph.attributes import float32_word
from tao.graph.literals import Slot
from tao.graph.maps import Call, IndexMap, Meaning, broadcast
from tao.graph.operators import EMBEDDING
from tao.tensors.codec import DType

CAT = "aten.cat.default"
PADS = ("aten.pad.default", "aten.constant_pad_nd.default")
UPSAMPLES = ("aten.upsample_nearest2d.vec", "aten.upsample_nearest2d.default")
LOOKUPS = (EMBEDDING, "aten.gather.default", "aten.index_select.default", "aten.index.Tensor")


def meaning(call: Call) -> Meaning:
    """Maps and attributes, or the opaque meaning where they cannot say where an element comes from."""
    if call.target == CAT:
        return _cat(call)
    if call.target in PADS:
        return _pad(call)
    if call.target in UPSAMPLES:
        return _upsample(call)
    if any(t.dtype not in (DType.INT32, DType.INT64) for t in call.types[1:]):
        return call.opaque()
    if call.target == EMBEDDING:
        return _embedding(call)
    return _index(call) if call.target == "aten.index.Tensor" else _along_dimension(call)


def _cat(call: Call) -> Meaning:
    rank = len(call.shape)
    if any(len(view.shape) != rank for view in call.views):
        return call.opaque()
    axis = call.argument(1, 0) % rank
    *starts, _ = accumulate(view.shape[axis] for view in call.views)
    return Meaning(
        call.target, tuple(broadcast(v, call.shape) for v in call.views), attributes=(axis, *starts)
    )


def _pad(call: Call) -> Meaning:
    x, pads = call.views[0], call.args[1]
    constant = call.target == PADS[1] or call.argument(2, "constant") == "constant"
    if not constant or not call.is_float32 or any(pad < 0 for pad in pads):
        return call.opaque()
    value = call.argument(2 if call.target == PADS[1] else 3, 0.0) or 0.0
    before = [0] * (len(x.shape) - len(pads) // 2) + list(reversed(pads[::2]))
    sides = (word for pair in zip(before, x.shape, strict=True) for word in pair)
    return Meaning(call.target, (broadcast(x, call.shape),), attributes=(float32_word(value), *sides))


def _upsample(call: Call) -> Meaning:
    x = call.views[0]
    pairs = list(zip(call.shape, x.shape, strict=True))
    given = call.argument(2, None) if call.target.endswith("vec") else call.args[2:4]
    scales = (None, None, *(given or (None, None)))
    if any(large % small for large, small in pairs) or len(scales) != len(pairs):
        return call.opaque()
    if not all(_is_nearest(*pair, scale) for pair, scale in zip(pairs, scales, strict=True)):
        return call.opaque()
    factors = tuple(large // small for large, small in pairs)
    return Meaning(call.target, (broadcast(x, call.shape),), attributes=factors)


def _is_nearest(large: int, small: int, scale: float | None) -> bool:
    """Whether kernels, which multiply by the ratio of the sizes or the inverse of a scale in float32, read the place
    that the factor names for every output."""
    places = np.arange(large)
    ratios = [np.float32(small) / np.float32(large), *([np.float32(1 / scale)] if scale else [])]
    read = (np.minimum(np.floor(places.astype(np.float32) * ratio), small - 1) for ratio in ratios)
    return all(np.array_equal(place, places // (large // small)) for place in read)


def _embedding(call: Call) -> Meaning:
    weight, indices = call.views
    table = IndexMap((0,) * len(indices.shape) + weight.strides[1:], 0, weight.offset)
    looked_up = IndexMap((*indices.strides, 0), 0, indices.offset)
    return Meaning(call.target, (table, looked_up), attributes=(weight.strides[0], weight.shape[0]))


def _along_dimension(call: Call) -> Meaning:
    """gather and index_select."""
    x, index = call.views
    rank = len(x.shape)
    if not rank or len(call.shape) != rank:
        return call.opaque()
    dim = call.args[1] % rank
    table = IndexMap(tuple(0 if d == dim else s for d, s in enumerate(x.strides)), 0, x.offset)
    if call.target == "aten.gather.default":
        where = broadcast(index, call.shape)
    else:
        step = index.strides[0] if index.strides else 0
        where = IndexMap(tuple(step if d == dim else 0 for d in range(rank)), 0, index.offset)
    return Meaning(call.target, (table, where), attributes=(x.strides[dim], x.shape[dim]))


def _index(call: Call) -> Meaning:
    """x[:, i, j]: the indices' common dimensions stand where adjacent indexed ones were, otherwise first."""
    x, given = call.views[0], call.args[1]
    places = [d for d, item in enumerate(given) if isinstance(item, Slot)]
    indices = call.views[1:]
    common = max(len(view.shape) for view in indices)
    adjacent = places == list(range(places[0], places[-1] + 1))
    lead = places[0] if adjacent else 0
    plain = [x.strides[d] for d in range(len(x.shape)) if d not in places]
    table = IndexMap((*plain[:lead], *(0,) * common, *plain[lead:]), 0, x.offset)
    after = (0,) * (len(call.shape) - lead - common)
    where = []
    for view in indices:
        missing = (0,) * (lead + common - len(view.shape))
        where.append(IndexMap((*missing, *view.strides, *after), 0, view.offset))
    sides = (word for d in places for word in (x.strides[d], x.shape[d]))
    return Meaning(call.target, (table, *where), attributes=tuple(sides))
