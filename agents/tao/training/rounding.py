"""Rounding float64 results to a coarser grid, and finding those that lie near one of its midpoints.

The grid has float32's exponents and `bits` bits of significand: 24 is float32, 8 bfloat16, 11 TF32. Values on
it are held as float32. Rounding is to nearest, ties to even, with subnormals, and to infinity where float32
overflows. Zero is always +0: the sign of a sum that vanishes is the order of summation's, not the model's.

On the CPU the float32 grid has one compiled pass, which reads each result once; everything else is written
in torch, and gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from tao.errors import ModelError
from tao.training.loops import Loop

FLOAT32_BITS = 24
SMALLEST_NORMAL = 2.0**-126
WIDEN = 2.0**-50
"""Zones grow by this much relatively, and by a quarter of it of |f|: more than float64 loses in f +- zone."""
_LANES = 1024
_PARALLEL_FROM = 1 << 18
_SUBNORMAL = 2.0**-127
_GRAIN = 1 << 15
"""Elements from which on torch gives another thread a part."""
_CANDIDATE, _NOT_FINITE = 1, 2


@dataclass(frozen=True)
class Zones:
    """Distances around float64 results f[R, C], or f of any shape where there are no rows:

        zone[i, j] = relative |f[i, j]| + rows[i] * absolute[j]

    absolute: a number, or float64 with one for each column (each element where there are no rows); float64[G,
    C] where R rows come in G groups of their own columns. rows: float64[R], or None for ones."""

    relative: float = 0.0
    absolute: float | Tensor = 0.0
    rows: Tensor | None = None

    def scaled(self, factor: float) -> Zones:
        return replace(self, relative=self.relative * factor, absolute=self.absolute * factor)

    def at(self, elements: Tensor, f: Tensor) -> Tensor:
        """The zone at some elements, by row-major index; f: the results there, float64."""
        absolute = self.absolute
        if isinstance(absolute, Tensor):
            rows, width = elements // absolute.shape[-1], absolute.shape[-1]
            if self.rows is None:
                absolute = absolute[elements]
            else:
                group = rows // (len(self.rows) // len(self._grouped))
                absolute = self.rows[rows] * self._grouped[group, elements % width]
        return absolute + self.relative * f.abs()

    @property
    def _grouped(self) -> Tensor:
        """`absolute` as float64[G, C]."""
        return torch.atleast_2d(self.absolute)

    def over(self, f: Tensor) -> Tensor:
        """The zone at all elements of f, in f's shape."""
        absolute = self.absolute
        if isinstance(absolute, Tensor):
            if self.rows is not None:
                absolute = self.rows.view(len(self._grouped), -1, 1) * self._grouped[:, None]
            absolute = absolute.reshape(f.shape)
        return absolute + self.relative * f.abs()

    def widened(self) -> Zones:
        """A zone that still holds the true one when f +- zone is evaluated in float64."""
        return replace(
            self,
            relative=self.relative * (1 + WIDEN) + WIDEN / 4,
            absolute=self.absolute * (1 + WIDEN),
        )


class Rounded(NamedTuple):
    """values: float32, on the grid. candidates: int64, ascending row-major indices of the elements whose
    zone reaches over a midpoint; None where no zone was given. finite: whether all values are."""

    values: Tensor
    candidates: Tensor | None
    finite: bool


def round_to_grid(
    f: Tensor, zone: Zones | None = None, bits: int = FLOAT32_BITS, out: Tensor | None = None
) -> Rounded:
    """Round f to the grid, and name the elements for which RN(f - zone) and RN(f + zone) differ.

    f: contiguous float64. out: contiguous float32 of as many elements, to write to. Elements whose zone or
    value is not a number are candidates. Candidates are a superset: the zone is widened by what float64
    rounds away."""
    if f.dtype != torch.float64 or not f.is_contiguous():
        raise ValueError(f"results to round must be contiguous float64, not {f.dtype}{list(f.stride())}")
    if not 2 <= bits <= FLOAT32_BITS:
        raise ValueError(f"a grid has 2 to {FLOAT32_BITS} bits of significand, not {bits}")
    out = torch.empty(f.shape, dtype=torch.float32, device=f.device) if out is None else out
    wide = None if zone is None else zone.widened()
    if bits == FLOAT32_BITS and f.device.type == "cpu":
        candidates, finite = _round_compiled(f, wide, out)
    else:
        candidates, finite = _round_torch(f, wide, bits, out)
    return Rounded(out, candidates, finite)


def require_subnormals(threads: int = 1) -> None:
    """Raises ModelError where this thread, or others of as many that torch has, takes subnormal numbers for zeros:
    single operations and roundings then differ from every other device's."""
    many = torch.full(((threads - 1) * _GRAIN + 1,), _SUBNORMAL)
    rounded, _, _ = round_to_grid(many[:1].double())
    if not all(bool(kept.view(torch.int32).all()) for kept in (many * 1.0, rounded)):
        raise ModelError(
            "this process flushes subnormal numbers to zero, so that nobody could replay what it computes; call "
            "torch.set_flush_denormal(False), and load no library that was built with -ffast-math"
        )


def nearest(f: Tensor, bits: int = FLOAT32_BITS) -> Tensor:
    """RN(f) as float32, with +0 for zeros. f: float64."""
    if bits == FLOAT32_BITS:
        return f.float().add_(0.0)
    drop = 53 - bits
    word = f.contiguous().view(torch.int64)
    carried = word + ((word >> drop & 1) + ((1 << drop - 1) - 1))
    normal = (carried & -(1 << drop)).view(torch.float64)
    shift = 1.5 * 2.0**52 * SMALLEST_NORMAL * 2.0 ** (1 - bits)  # its last bit is the subnormal grid's
    rounded = torch.where(f.abs() < SMALLEST_NORMAL, (f + shift) - shift, normal)
    return torch.where(f.isfinite(), rounded, f).float().add_(0.0)


def _round_torch(f: Tensor, zone: Zones | None, bits: int, out: Tensor) -> tuple[Tensor | None, bool]:
    out.view(-1).copy_(nearest(f, bits).view(-1))
    finite = bool(torch.isfinite(out).all())
    if zone is None:
        return None, finite
    reach = zone.over(f)
    differ = nearest(f - reach, bits) != nearest(f + reach, bits)
    return differ.flatten().nonzero().flatten(), finite


def _round_compiled(f: Tensor, zone: Zones | None, out: Tensor) -> tuple[Tensor | None, bool]:
    flat, rounded = f.view(-1).numpy(), out.view(-1).numpy()
    is_much = flat.size >= _PARALLEL_FROM
    if zone is None or not isinstance(zone.absolute, Tensor):
        law = (0.0, 0.0) if zone is None else (zone.relative, float(zone.absolute))
        marks = np.empty(-(-flat.size // _LANES), np.uint8)
        _MARK.over(is_much)(flat, *law, rounded, marks)
        collect = _collect
    else:
        columns = zone._grouped.numpy()
        rows = np.ones(1) if zone.rows is None else zone.rows.numpy()
        width = columns.shape[1]
        if len(rows) * width != flat.size or len(rows) % len(columns):
            raise ValueError(f"a zone of {len(rows)} x {width} does not fit {flat.size} results")
        law = (zone.relative, rows, columns)
        marks = np.empty(len(rows) * -(-width // _LANES), np.uint8)
        _MARK_OUTER.over(is_much)(flat, *law, rounded, marks)
        collect = _collect_outer
    finite = not (marks & _NOT_FINITE).any()
    if zone is None:
        return None, finite
    found = collect(flat, *law, np.flatnonzero(marks & _CANDIDATE))
    return torch.from_numpy(found), finite


@njit(inline="always")
def _crosses(x: float, zone: float) -> bool:
    return np.float32(x - zone) != np.float32(x + zone)


@njit(inline="always")
def _mark_run(f, relative, absolute, out):
    """Round a run of results, and say what is among them."""
    crosses = broken = 0
    for k in range(f.size):
        value = np.float32(f[k]) + np.float32(0)
        out[k] = value
        crosses |= _crosses(f[k], absolute + relative * abs(f[k]))
        broken |= not abs(value) < np.inf
    return crosses * _CANDIDATE | broken * _NOT_FINITE


@njit(inline="always")
def _mark_row_run(f, relative, row, columns, out):
    """`_mark_run` with a constant part for each result."""
    crosses = broken = 0
    for k in range(f.size):
        value = np.float32(f[k]) + np.float32(0)
        out[k] = value
        crosses |= _crosses(f[k], row * columns[k] + relative * abs(f[k]))
        broken |= not abs(value) < np.inf
    return crosses * _CANDIDATE | broken * _NOT_FINITE


def _mark(f, relative, absolute, out, marks):
    for block in prange(marks.size):
        start = block * _LANES
        stop = min(start + _LANES, f.size)
        marks[block] = _mark_run(f[start:stop], relative, absolute, out[start:stop])


def _mark_outer(f, relative, rows, columns, out, marks):
    width, blocks, group = columns.shape[1], marks.size // rows.size, rows.size // columns.shape[0]
    for place in prange(marks.size):
        row, block = divmod(np.int64(place), blocks)  # unsigned in parallel, where // would give floats
        first = block * _LANES
        last = min(first + _LANES, width)
        start, stop = row * width + first, row * width + last
        here = columns[row // group, first:last]
        marks[place] = _mark_row_run(f[start:stop], relative, rows[row], here, out[start:stop])


_MARK, _MARK_OUTER = Loop(_mark), Loop(_mark_outer)


@njit(cache=True)
def _collect(f, relative, absolute, blocks):
    found = [np.int64(0) for _ in range(0)]
    for block in blocks:
        for k in range(block * _LANES, min((block + 1) * _LANES, f.size)):
            if _crosses(f[k], absolute + relative * abs(f[k])):
                found.append(k)
    return np.array(found, np.int64)


@njit(cache=True)
def _collect_outer(f, relative, rows, columns, places):
    found = [np.int64(0) for _ in range(0)]
    width, group = columns.shape[1], rows.size // columns.shape[0]
    blocks = -(-width // _LANES)
    for place in places:
        row, block = divmod(place, blocks)
        for column in range(block * _LANES, min((block + 1) * _LANES, width)):
            k = row * width + column
            if _crosses(f[k], rows[row] * columns[row // group, column] + relative * abs(f[k])):
                found.append(k)
    return np.array(found, np.int64)
