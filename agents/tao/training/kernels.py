"""The nodes of a replayable step by kind, and the float64 results of sums and logged nodes.

A node with the operator `rounded.` + a name has its float output rounded to the record grid. *Sums* and
*logged* ones may differ between devices before that; all others are single IEEE operations. Results come in
pieces that fit a cache, or at least leave memory to others, each with its zone; those of sums with the terms,
by which they are rounded correctly."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tao.execution.kernels import require_within
from tao.graph.canonical import Node
from tao.graph.operators import CONTRACTION, EMBEDDING_GRADIENT
from tao.graph.rounding import PREFIX, Kind, kind
from tao.training import memory, zones
from tao.training.reductions import row_sums
from tao.training.rounding import Zones
from tao.training.rules import ROUNDOFFS
from tao.training.widening import widened

_FEWEST_ROWS = 256
"""Of a product computed at once: fewer would read the other factor too often."""
_GATHERED = 1 << 16
"""Terms gathered at a time, so that what is computed with them stays in the cache."""
_RUN = 1024
"""Lanes of a product that are added up in one go: the fewer, the fewer elements are near a boundary."""

Place = tuple[int | slice, ...]


@dataclass(frozen=True)
class Piece:
    """Float64 results of a run of output elements, in row-major order from element `first` on.

    zone: tau, when it is wanted. rows: where the result is a set of rows of the output instead of a run,
    their numbers, ascending. terms: of sums, given ascending places in f, the exact terms of some after some,
    float64[n, K], with zeros among them. factors: of products, what f is the product of."""

    first: int
    f: Tensor
    zone: Callable[[], Zones]
    rows: Tensor | None = None
    terms: Callable[[Tensor], Iterator[Tensor]] | None = None
    factors: tuple[Tensor, Tensor] | None = None

    def elements(self, places: Tensor) -> Tensor:
        """The elements of the output that places in f are, both as row-major indices."""
        if self.rows is None:
            return places + self.first
        length = self.f.shape[-1]
        return self.rows[places // length] * length + places % length

    def places(self, elements: Tensor) -> Tensor:
        """The inverse of `elements`, for ascending elements; those that lie elsewhere are left out."""
        if self.rows is None:
            inside = (elements >= self.first) & (elements < self.first + self.f.numel())
            return elements[inside] - self.first
        length = self.f.shape[-1]
        row = torch.searchsorted(self.rows, elements // length)
        inside = self.rows[row.clamp(max=len(self.rows) - 1)] == elements // length
        return (row * length + elements % length)[inside]


def name_of(node: Node) -> str:
    """The name of what a node computes, without the prefix."""
    return node.operator.removeprefix(PREFIX)


def is_logged(node: Node) -> bool:
    """Whether rounding the node's output may need an entry of the log."""
    return kind(node.operator) is Kind.LOGGED


def comes_in_pieces(node: Node) -> bool:
    """Whether the node's output is computed in float64 and settled by a policy: sums and logged nodes."""
    return kind(node.operator) in (Kind.SUM, Kind.LOGGED)


def function_of(node: Node) -> str | None:
    """The elementary function that a logged node applies to each element; None for others."""
    parts = [*name_of(node).split("."), ""]
    return parts[1] if is_logged(node) and parts[1] in ROUNDOFFS else None


def blocks(shape: tuple[int, ...], size: int) -> Iterator[tuple[int, Place]]:
    """Cut a shape into runs of at most `size` elements (at least one): first element, and index of the
    run."""
    inner, dim = 1, len(shape)
    while dim and inner * shape[dim - 1] <= size:
        dim -= 1
        inner *= shape[dim]
    if dim == 0:
        yield 0, ()
        return
    step = max(size // inner, 1)
    first = 0
    for outer in itertools.product(*map(range, shape[: dim - 1])):
        for start in range(0, shape[dim - 1], step):
            stop = min(start + step, shape[dim - 1])
            yield first, (*outer, slice(start, stop))
            first += (stop - start) * inner


def product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b of [B, M, K] and [B, K, N]: here and in the next three, devices differ."""
    out = memory.empty((*a.shape[:-1], b.shape[-1]), a.dtype, a.device)
    if len(a) == 1:
        torch.mm(a[0], b[0], out=out[0])
    else:
        torch.bmm(a, b, out=out)
    return out


def add_rows(x: Tensor, places: Tensor, rows: int) -> Tensor:
    """[T, D] -> [rows, D]: the sum of the rows at each place."""
    return x.new_zeros(rows, x.shape[1]).index_add_(0, places, x)


def apply(name: str, x: Tensor) -> Tensor:
    """An elementary function."""
    return getattr(torch, name)(x)


def elementary(name: str, x: Tensor, first: int = 0) -> Piece:
    """A function of `ROUNDOFFS` of a run of elements."""
    wide = x.double()
    return Piece(first, apply(name, wide).contiguous(), lambda: zones.elementary(name, wide))


def contraction(node: Node, tensors: list[Tensor], size: int) -> Iterator[Piece]:
    """mm [M, K] [K, N] or bmm with a batch before, in pieces of whole products or of many rows of one."""
    a, b = (t if t.dim() == 3 else t[None] for t in tensors[:2])
    rows, columns = a.shape[1], b.shape[2]
    together = max(size // max(rows * columns, 1), 1)
    step = rows if rows * columns <= size else max(size // max(columns, 1), _FEWEST_ROWS)
    for batch in range(0, a.shape[0], together):
        right, right_norms = widened(b[batch : batch + together], -2)
        for start in range(0, rows, step):
            left, left_norms = widened(a[batch : batch + together, start : start + step], -1)
            first = (batch * rows + start) * columns
            yield _Product(left, right, left_norms, right_norms).piece(first)


def add_in_runs(a: Tensor, b: Tensor) -> tuple[Tensor, int]:
    """a @ b, added up run by run of lanes, and how many additions a term goes through at most."""
    runs = list(zip(a.split(_RUN, -1), b.split(_RUN, -2), strict=True))
    total = product(*runs[0])
    for run in runs[1:]:
        total += product(*run)
    return total, max(runs[0][0].shape[-1] - 1, 0) + len(runs) - 1


@dataclass(frozen=True)
class _Product:
    """left @ right, float64[B, M, K] and [B, K, N]. left_norms, right_norms: at least those of the rows of left and
    of the columns of right."""

    left: Tensor
    right: Tensor
    left_norms: Tensor
    right_norms: Tensor

    def piece(self, first: int) -> Piece:
        f, additions = add_in_runs(self.left, self.right)

        def zone() -> Zones:
            return zones.contraction(self.left_norms, self.right_norms, additions)

        return Piece(first, f, zone, terms=self.terms, factors=(self.left, self.right))

    def terms(self, places: Tensor) -> Iterator[Tensor]:
        lanes, length, width = self.left.shape[-1], self.left.shape[-2], self.right.shape[-1]
        rows = places // width
        columns = rows // length * width + places % width
        # Both are read by rows; if that is of most of them, they had better lie so.
        a, b = (
            x if len(places) * 8 < x.numel() // lanes else x.contiguous() for x in (self.left, self.right.mT)
        )
        a, b = a.reshape(-1, lanes), b.reshape(-1, lanes)
        for some_rows, some_columns in zip(_split(rows, lanes), _split(columns, lanes), strict=True):
            yield a[some_rows].mul_(b[some_columns])


def _split(places: Tensor, terms: int) -> tuple[Tensor, ...]:
    return places.split(max(_GATHERED // max(terms, 1), 1))


def summation(node: Node, tensors: list[Tensor], size: int) -> Iterator[Piece]:
    """sum.dim_IntList: over some dimensions, kept or not; a kept one has size 1 and moves no element."""
    x, given = tensors[0], node.args[1] if len(node.args) > 1 else None
    given = [given] if isinstance(given, int) else given
    reduced = sorted({dim % x.dim() for dim in given}) if given else list(range(x.dim()))
    kept = [dim for dim in range(x.dim()) if dim not in reduced]
    outer, inner = (math.prod(x.shape[dim] for dim in dims) for dims in (kept, reduced))
    rows = x.permute(*kept, *reduced).reshape(outer, inner)
    for first in range(0, outer, size):
        yield _summed(rows[first : first + size], first)


def _summed(rows: Tensor, first: int) -> Piece:
    total, magnitudes = row_sums(rows)

    def terms(places: Tensor) -> Iterator[Tensor]:
        for some in _split(places, rows.shape[1]):
            yield rows[some].double()

    return Piece(first, total, lambda: zones.summation(magnitudes, rows.shape[1]), terms=terms)


def embedding_gradient(node: Node, tensors: list[Tensor], size: int) -> Iterator[Piece]:
    """The sum of the rows of a gradient [..., D] at equal indices [...], for the rows that have any. Raises IndexError
    for indices outside the table."""
    gradient, indices = tensors[0], tensors[1].flatten()
    require_within(indices, node.args[2])
    rows, inverse = torch.unique(indices, return_inverse=True)
    wide = memory.wide(gradient.reshape(len(indices), -1))
    if not len(indices):
        return

    def summed(x: Tensor) -> Tensor:
        return add_rows(x, inverse, len(rows))

    def terms(places: Tensor) -> Iterator[Tensor]:
        order, counts = inverse.argsort(), inverse.bincount(minlength=len(rows))
        starts = counts.cumsum(0) - counts
        row, column = places // wide.shape[1], places % wide.shape[1]
        most = int(counts[row].max())
        for some_rows, some_columns in zip(_split(row, most), _split(column, most), strict=True):
            count = counts[some_rows, None]
            lane = torch.arange(int(count.max()), device=wide.device)
            at = order[(starts[some_rows, None] + lane).clamp_(max=len(order) - 1)]
            yield torch.where(lane < count, wide[at, some_columns[:, None]], 0.0)

    yield Piece(0, summed(wide), lambda: zones.summation(summed(wide.abs()), len(indices)), rows, terms)


COMPUTED: dict[str, Callable[[Node, list[Tensor], int], Iterator[Piece]]] = {
    CONTRACTION: contraction,
    "aten.sum.dim_IntList": summation,
    EMBEDDING_GRADIENT: embedding_gradient,
}
"""What computes each kind of sum; elementary functions are computed in runs with others."""


def replays(node: Node) -> bool:
    """Whether a sum or a logged node is one that `COMPUTED` or `elementary` computes."""
    if name_of(node) == CONTRACTION:
        return node.target in ("aten.mm.default", "aten.bmm.default")
    return name_of(node) in COMPUTED or function_of(node) is not None
