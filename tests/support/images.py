"""Average pooling and bilinear upsampling as node records state them (docs/protocol.md, sections 2 and 4), written
out in rationals, place by place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor

import numpy as np

from support.encoding import Map
from support.oracle import SMALLEST_NORMAL, UNIT_ROUNDOFF
from support.windows import Window, pooling

COUNTS_LANES, COUNTS_PADDING = 0, 2**32 - 1
Shape = Sequence[int]
Box = tuple[list[int], list[int]]
"""Rows and columns of the input that an element reads."""


@dataclass(frozen=True)
class Bound:
    """f, tau, and what must stay below 2^127 for y to have to be finite."""

    exact: Fraction
    tolerance: Fraction
    largest: Fraction


def gamma(n: int) -> Fraction:
    return n * UNIT_ROUNDOFF / (1 - n * UNIT_ROUNDOFF)


def average_bound(lanes: Sequence[float], divisor: int) -> Bound:
    terms = [Fraction(float(x)) for x in lanes]
    n, total = len(terms), sum(map(abs, terms))
    small = sum(abs(x) for x in terms if abs(x) < SMALLEST_NORMAL)
    lost = (n + 1) * SMALLEST_NORMAL + small
    tolerance = (gamma(n + 2) * total + lost) / divisor + 2 * SMALLEST_NORMAL
    return Bound(sum(terms) / divisor, tolerance, total + divisor * tolerance)


# ---- averages


@dataclass(frozen=True)
class Averages:
    """Arguments of avg_pool2d, for an input [N, C, Y, X]."""

    x: np.ndarray
    kernel: Shape
    stride: Shape
    padding: Shape
    ceil: bool
    counts_padding: bool
    divisor: int | None

    @property
    def window(self) -> Window:
        plain = pooling(self.x.shape, self.kernel, self.stride, self.padding, (1, 1), "first")
        word = self.divisor or (COUNTS_PADDING if self.counts_padding else COUNTS_LANES)
        return replace(plain, attributes=(*plain.attributes, word))

    def bound(self, output: Shape, element: int) -> Bound:
        n, c, *at = (int(o) for o in np.unravel_index(element, output))
        inside, padded = [], 1
        for extent, k, s, p, o in zip(
            self.x.shape[2:], self.kernel, self.stride, self.padding, at, strict=True
        ):
            places = range(o * s - p, o * s - p + k)
            inside.append([i for i in places if 0 <= i < extent])
            padded *= sum(-p <= i < extent + p for i in places)
        lanes = self.x[n, c][np.ix_(*inside)].ravel()
        return average_bound(lanes, self.divisor or (padded if self.counts_padding else len(lanes)))


# ---- images of another size


@dataclass(frozen=True)
class Resized(Window):
    """Reads a box of each channel; see Adaptive and Bilinear."""

    call: Adaptive | Bilinear | None = None

    def runs(self, output: Shape, element: int) -> list[tuple[int, int, int]]:
        n, c, *_ = (int(o) for o in np.unravel_index(element, output))
        rows, columns = self.call.box(output, element)
        _, channels, height, width = self.call.x.shape
        first = (n * channels + c) * height
        return [((first + row) * width + columns[0], 0, len(columns)) for row in rows]


def _resized(call: Adaptive | Bilinear, *more: int) -> Resized:
    _, channels, height, width = call.x.shape
    places = Map((channels * height * width, height * width, 0, 0), 1)
    return Resized((height, width, width, *more), places, None, 0, "first", call)


@dataclass(frozen=True)
class Adaptive:
    """adaptive_avg_pool2d of an input [N, C, Y, X]."""

    x: np.ndarray

    @property
    def window(self) -> Window:
        return _resized(self)

    def box(self, output: Shape, element: int) -> Box:
        at = np.unravel_index(element, output)[2:]
        rows, columns = (
            [i for i in range(n) if i + 1 > Fraction(int(o) * n, k) and i < Fraction((int(o) + 1) * n, k)]
            for o, n, k in zip(at, self.x.shape[2:], output[2:], strict=True)
        )
        return rows, columns

    def bound(self, output: Shape, element: int) -> Bound:
        n, c, *_ = np.unravel_index(element, output)
        lanes = self.x[n, c][np.ix_(*self.box(output, element))].ravel()
        return average_bound(lanes, len(lanes))


@dataclass(frozen=True)
class Bilinear:
    """upsample_bilinear2d of an input [N, C, Y, X]."""

    x: np.ndarray
    aligned: bool

    @property
    def window(self) -> Window:
        return _resized(self, int(self.aligned))

    def coordinates(self, output: Shape, element: int) -> list[Fraction]:
        """r along Y and X."""
        at = (int(o) for o in np.unravel_index(element, output)[2:])
        found = []
        for o, n, k in zip(at, self.x.shape[2:], output[2:], strict=True):
            if self.aligned:
                found.append(Fraction(o * (n - 1), k - 1) if k > 1 else Fraction(0))
            else:
                found.append(max((o + Fraction(1, 2)) * Fraction(n, k) - Fraction(1, 2), Fraction(0)))
        return found

    def errors(self) -> list[Fraction]:
        """How far a kernel's coordinate may be off, along Y and X."""
        return [4 * UNIT_ROUNDOFF * (n + 2) for n in self.x.shape[2:]]

    def box(self, output: Shape, element: int) -> Box:
        rows, columns = (
            list(range(max(floor(r - error), 0), min(floor(r + error) + 1, n - 1) + 1))
            for r, error, n in zip(
                self.coordinates(output, element), self.errors(), self.x.shape[2:], strict=True
            )
        )
        return rows, columns

    def at(self, plane: np.ndarray, coordinates: Sequence[Fraction]) -> Fraction:
        """The interpolant of a channel, constant beyond its last places."""
        weights = []
        for r, n in zip(coordinates, plane.shape, strict=True):
            r = min(max(r, Fraction(0)), Fraction(n - 1))
            i = floor(r)
            weights.append({i: 1 - (r - i)} | ({i + 1: r - i} if i < n - 1 else {}))
        rows, columns = weights
        return sum(
            (u * v * Fraction(float(plane[i, j])) for i, u in rows.items() for j, v in columns.items()),
            Fraction(0),
        )

    def bound(self, output: Shape, element: int) -> Bound:
        n, c, *_ = np.unravel_index(element, output)
        plane, r = self.x[n, c], self.coordinates(output, element)
        largest = Fraction(float(np.abs(plane[np.ix_(*self.box(output, element))]).max()))
        moved = sum(self.errors()) * largest
        tolerance = gamma(12) * (self.at(np.abs(plane), r) + moved) + 2 * moved + 24 * SMALLEST_NORMAL
        return Bound(self.at(plane, r), tolerance, largest + tolerance)
