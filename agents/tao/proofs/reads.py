"""Which elements of its operands an output element is made of, by the record's maps and attributes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product

from tao.errors import InvalidTensor
from tao.graph.moves import CAT, LOOKUPS, PADS, UPSAMPLES
from tao.graph.operators import CONTRACTION, EMBEDDING
from tao.graph.resizing import ADAPTIVE, BILINEAR, averaged, interpolated
from tao.graph.rows import CUMSUM
from tao.graph.windows import CONVOLUTIONS, POOLS, Windows
from tao.proofs.leaf import Leaf
from tao.proofs.positions import POSITIONS, better_lane

Runs = list[list[tuple[int, int]]]
"""For each operand, the first element and the length of each run that is read of it, in order."""

_FROM_THE_FRONT = (EMBEDDING, "aten.gather.default")
"""Lookups in which a negative index has no meaning."""


def reads(leaf: Leaf, element: int) -> Runs:
    """What output element `element` reads. Raises InvalidTensor outside the output, and where it looks up an
    index outside the table."""
    operator = leaf.node.operator
    if operator in _READS:
        return _READS[operator](leaf, element)
    points = [[(leaf.first(i, element), 1)] for i in range(1, len(leaf.operands))]
    if leaf.node.reduction:
        return [[_row(leaf, element)], *points]
    return [[(leaf.first(0, element), 1)], *points]


def is_reduced(leaf: Leaf) -> bool:
    """Whether a row operator gives one element per row."""
    lanes = leaf.node.reduction
    return lanes > 1 and leaf.output.numel() * lanes == math.prod(leaf.node.operands[0].view.shape)


def _row(leaf: Leaf, element: int) -> tuple[int, int]:
    length = leaf.node.reduction
    lane = 0 if is_reduced(leaf) else element % length
    return leaf.first(0, element - lane), length


def _contraction(leaf: Leaf, element: int) -> Runs:
    lengths = (leaf.node.reduction, leaf.node.reduction, 1)
    return [[(leaf.first(i, element), n)] for i, n in zip(range(len(leaf.operands)), lengths, strict=False)]


def _running_sum(leaf: Leaf, element: int) -> Runs:
    (dimension,) = leaf.node.attributes
    return [[(leaf.first(0, element), leaf.coordinates(element)[dimension] + 1)]]


def _position(leaf: Leaf, element: int) -> Runs:
    """The claimed lane and a better one, or itself where there is none; nothing where it is no lane."""
    first, claimed = leaf.first(0, element), int(leaf.output.flatten()[element])
    if not 0 <= claimed < leaf.node.reduction:
        return [[]]
    better = better_lane(leaf, element)
    return [[(first + claimed, 1), (first + (claimed if better is None else better), 1)]]


def _box(leaf: Leaf, element: int) -> Runs:
    rows, stride, columns, *aligned = leaf.node.attributes
    *_, y, x = leaf.coordinates(element)
    *_, height, width = leaf.shape
    axes = (y, rows, height), (x, columns, width)
    if leaf.node.operator in BILINEAR:
        (top, count), (left, length) = (interpolated(*axis, bool(aligned[0])) for axis in axes)
    else:
        (top, count), (left, length) = (averaged(*axis) for axis in axes)
    first = leaf.first(0, element) + left
    return [[(first + row * stride, length) for row in range(top, top + count)]]


def _cat(leaf: Leaf, element: int) -> Runs:
    axis, *starts = leaf.node.attributes
    coordinate = leaf.coordinates(element)[axis]
    source = sum(coordinate >= start for start in starts)
    back = [0, *starts][source] * leaf.map(source).strides[axis]
    runs: Runs = [[] for _ in leaf.operands]
    runs[source] = [(leaf.first(source, element) - back, 1)]
    return runs


def _pad(leaf: Leaf, element: int) -> Runs:
    sides, strides = leaf.node.attributes[1:], leaf.map(0).strides
    inside = [o - before for o, before in zip(leaf.coordinates(element), sides[::2], strict=True)]
    if any(not 0 <= o < size for o, size in zip(inside, sides[1::2], strict=True)):
        return [[]]
    back = sum(before * stride for before, stride in zip(sides[::2], strides, strict=True))
    return [[(leaf.first(0, element) - back, 1)]]


def _upsample(leaf: Leaf, element: int) -> Runs:
    terms = zip(leaf.coordinates(element), leaf.node.attributes, leaf.map(0).strides, strict=True)
    return [[(leaf.map(0).offset + sum(o // factor * stride for o, factor, stride in terms), 1)]]


def _lookup(leaf: Leaf, element: int) -> Runs:
    words = leaf.node.attributes
    place, runs = leaf.first(0, element), []
    for i, (stride, size) in enumerate(zip(words[::2], words[1::2], strict=True), 1):
        first = leaf.first(i, element)
        index = int(leaf.elements[i][first])
        low = 0 if leaf.node.operator in _FROM_THE_FRONT else -size
        if not low <= index < size:
            raise InvalidTensor(f"element {element} looks up row {index} of a table of {size}")
        place += index % size * stride
        runs.append([(first, 1)])
    return [[(place, 1)], *runs]


def _windows(leaf: Leaf, element: int) -> Runs:
    runs: Runs = [[] for _ in leaf.operands]
    pools = leaf.node.operator in POOLS
    for a, b, length in window_runs(leaf, element):
        runs[0].append((a, length))
        if not pools:
            runs[1].append((b, length))
    if len(leaf.operands) == 3:
        runs[2] = [(leaf.first(2, element), 1)]
    return runs


def window_runs(leaf: Leaf, element: int) -> Iterator[tuple[int, int, int]]:
    """First element in a and in b and length of each run of a window, without what lies in the padding."""
    windows, coordinates = Windows.of(leaf.node.attributes), leaf.coordinates(element)
    a = leaf.first(0, element) + coordinates[1] // windows.per_group * windows.group_stride
    b = leaf.first(1, element) if len(leaf.operands) > 1 else 0
    levels = []
    for level in windows.levels:
        places = [(lane, lane) for lane in range(level.size)]
        if found := windows.along(level, coordinates):
            axis, at = found
            moved = ((lane, axis.place(at, lane)) for lane in range(level.size))
            places = [(lane, place) for lane, place in moved if 0 <= place < axis.extent]
        levels.append([(place * level.a_stride, lane * level.b_stride) for lane, place in places])
    outer, inner, run = levels
    if run:
        for (a0, b0), (a1, b1) in product(outer, inner):
            yield a + a0 + a1 + run[0][0], b + b0 + b1 + run[0][1], len(run)


_READS: dict[str, Callable[[Leaf, int], Runs]] = {
    CONTRACTION: _contraction,
    CAT: _cat,
    **dict.fromkeys(PADS, _pad),
    **dict.fromkeys(UPSAMPLES, _upsample),
    **dict.fromkeys(LOOKUPS, _lookup),
    **dict.fromkeys((*CONVOLUTIONS, *POOLS), _windows),
    **dict.fromkeys((*ADAPTIVE, *BILINEAR), _box),
    **dict.fromkeys(POSITIONS, _position),
    CUMSUM: _running_sum,
}
