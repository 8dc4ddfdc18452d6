"""Strided views: of a value's logical row-major order, and of the memory that holds it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

Strides = tuple[int, ...]


def row_major(shape: tuple[int, ...]) -> Strides:
    """Strides of a contiguous tensor, in elements."""
    strides = [1] * len(shape)
    for dim in range(len(shape) - 2, -1, -1):
        strides[dim] = strides[dim + 1] * shape[dim + 1]
    return tuple(strides)


@dataclass(frozen=True)
class View:
    """Element (i_0, ...) of the view is element `offset + sum i_d * strides[d]` of the base, row-major.

    Strides of dimensions of size 1 are zero, so that equal maps are equal objects. Build with `View.of`.
    """

    shape: tuple[int, ...]
    strides: Strides
    offset: int

    @classmethod
    def of(cls, shape: tuple[int, ...], strides: Strides, offset: int = 0) -> View:
        strides = tuple(s if n != 1 else 0 for n, s in zip(shape, strides, strict=True))
        return cls(tuple(shape), strides, offset)

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> View:
        """The view that is the base itself."""
        return cls.of(tuple(shape), row_major(shape))

    @property
    def last(self) -> int:
        """The largest element of the base that the view reads."""
        return self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))

    def covers_in_order(self, numel: int) -> bool:
        """Whether the view reads all `numel` elements of the base in row-major order, whatever its shape."""
        return self == View.whole(self.shape) and math.prod(self.shape) == numel

    def permute(self, order: list[int]) -> View:
        return View(tuple(self.shape[d] for d in order), tuple(self.strides[d] for d in order), self.offset)


def apply(
    call: Callable[[torch.Tensor], Any], view: View, dtype: torch.dtype, numel: int
) -> list[View] | None:
    """The views that a view operator makes of `view`, found by running it on a meta tensor.

    call: the operator as a function of its tensor. numel: elements of the base. Returns None where the
    operator cannot be a strided view of the base (a reshape that must copy).
    """
    base = torch.empty(numel, dtype=dtype, device="meta")
    probe = base.as_strided(view.shape, view.strides, view.offset)
    try:
        result = call(probe)
    except RuntimeError:
        return None
    results = list(result) if isinstance(result, list | tuple) else [result]
    if any(r.dtype != dtype or r.untyped_storage()._cdata != base.untyped_storage()._cdata for r in results):
        return None
    return [View.of(tuple(r.shape), r.stride(), r.storage_offset()) for r in results]


def physical(shape: tuple[int, ...], strides: Strides, view: View) -> tuple[Strides, int] | None:
    """Strides and offset in memory of a view, given those of the base; None where no strides express it.

    shape, strides: of the base tensor in memory. Dimensions that memory keeps in logical order are merged; a
    step of the view is then written in the mixed radix of what remains, and must never carry.
    """
    groups: list[list[int]] = []  # size, logical stride, physical stride; outermost first
    for n, logical, stride in zip(shape, row_major(shape), strides, strict=True):
        if n == 1:
            continue
        if groups and groups[-1][2] == stride * n:
            groups[-1] = [groups[-1][0] * n, logical, stride]
        else:
            groups.append([n, logical, stride])

    def digits(position: int) -> list[int]:
        result = []
        for _, logical, _ in groups:
            digit, position = divmod(position, logical)
            result.append(digit)
        return result

    def place(position: list[int]) -> int:
        return sum(digit * group[2] for digit, group in zip(position, groups, strict=True))

    start = digits(view.offset)
    steps = [digits(s) for s in view.strides]
    for g, (size, _, _) in enumerate(groups):
        reach = start[g] + sum((n - 1) * step[g] for n, step in zip(view.shape, steps, strict=True))
        if reach >= size:
            return None
    return tuple(map(place, steps)), place(start)


def same_layout(shape: tuple[int, ...], a: Strides, b: Strides) -> bool:
    """Whether two strides place the elements alike; strides of dimensions of size 1 place nothing."""
    return all(n == 1 or s == t for n, s, t in zip(shape, a, b, strict=True))


def is_dense_enough(shape: tuple[int, ...], strides: Strides) -> bool:
    """Whether no two elements share a place, expanded (zero stride) dimensions aside."""
    reach = 0
    for stride, n in sorted((s, n) for s, n in zip(strides, shape, strict=True) if n > 1 and s):
        if stride <= reach:
            return False
        reach += stride * (n - 1)
    return True
