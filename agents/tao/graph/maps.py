"""Index maps: which element of an operand an output element reads (docs/protocol.md, section 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tao.graph.literals import Slot
from tao.graph.views import View
from tao.tensors.codec import DType, TensorType


@dataclass(frozen=True)
class IndexMap:
    """Output element (o_0, ...) reads element `offset + sum o_d * strides[d] + lane * lane_stride` of the
    operand's value, in row-major order."""

    strides: tuple[int, ...]
    lane_stride: int
    offset: int


@dataclass(frozen=True)
class Meaning:
    """What a call is on chain: the operator's name, a map or None per operand, the lanes reduced over, and
    the numbers that it depends on."""

    operator: str
    maps: tuple[IndexMap | None, ...]
    reduction: int = 0
    attributes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Call:
    """A canonical call: operands are `views` of values of `types`; `outputs` are those of its `slots`."""

    target: str
    args: Sequence[Any]
    kwargs: dict[str, Any]
    views: Sequence[View]
    types: Sequence[TensorType]
    outputs: Sequence[TensorType]
    slots: Sequence[int] = (0,)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first output."""
        return self.outputs[0].shape

    @property
    def is_float32(self) -> bool:
        """Whether all tensors are float32."""
        return all(t.dtype is DType.FLOAT32 for t in (*self.types, *self.outputs))

    def argument(self, place: int | str, default: Any) -> Any:
        """A literal by position or keyword, or its default where it is left out."""
        if isinstance(place, str):
            return self.kwargs.get(place, default)
        return self.args[place] if place < len(self.args) else default

    def tensor(self, place: int) -> int | None:
        """The operand at a position of the arguments, None where there is none."""
        given = self.argument(place, None)
        return given.index if isinstance(given, Slot) else None

    def opaque(self) -> Meaning:
        """The meaning of a call that cannot be followed on chain: by name and types alone."""
        return Meaning(self.target, (None,) * len(self.views))


@dataclass(frozen=True)
class Rows:
    """What an operand must be like: permuted to `order`, its last `length` elements are one run inside a row
    of its value, for any place of the dimensions before them."""

    order: tuple[int, ...]
    length: int

    def holds(self, view: View, row_length: int) -> bool:
        """Whether an operand of that view, of a value with rows of that length, is so."""
        rows = self.split(view.permute(list(self.order)))
        if rows is None:
            return False
        starts = zip(rows.shape[:-1], rows.strides[:-1], strict=True)
        last_start = rows.offset % row_length + sum((n - 1) * (s % row_length) for n, s in starts)
        return last_start + self.length <= row_length

    def split(self, view: View) -> View | None:
        """A permuted view with its last `length` elements as one dimension, None where they are scattered."""
        left, step = self.length, 1
        outer: list[tuple[int, int]] = []
        for size, stride in reversed(list(zip(view.shape, view.strides, strict=True))):
            if size == 1:
                continue
            if left == 1:
                outer.append((size, stride))
                continue
            taken = math.gcd(size, left)
            if stride != step or taken != min(size, left):
                return None
            if taken < size:
                outer.append((size // taken, stride * taken))
            left, step = left // taken, step * taken
        if left != 1:
            return None
        outer.reverse()
        return View.of((*(n for n, _ in outer), self.length), (*(s for _, s in outer), 1), view.offset)


def broadcast(view: View, shape: tuple[int, ...]) -> IndexMap:
    """The map of an operand that broadcasting puts under each output element."""
    missing = (0,) * (len(shape) - len(view.shape))
    return IndexMap(missing + view.strides, 0, view.offset)


def along(view: View, dim: int, shape: tuple[int, ...]) -> IndexMap:
    """The map of a vector that follows dimension `dim` of the output."""
    strides = tuple(view.strides[0] if d == dim else 0 for d in range(len(shape)))
    return IndexMap(strides, 0, view.offset)
