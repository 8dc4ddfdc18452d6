"""How far one execution of an operator is from another (docs/protocol.md, section 4, "Every operator")."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tao.errors import ProfileError
from tao.untrusted import parse_json

GRID = (50.0, 90.0, 99.0, 99.9, 100.0)
"""Percentiles of a profile unless it says otherwise; the last one is the largest deviation."""
FLOOR = 4
"""Thresholds below this many unit roundoffs count as this many: bit-equal devices calibrate to zero."""
SENTINEL = 2.0**64
"""Elements this large stand for infinity (attention masks add the lowest float32)."""
GAP = 6
"""So many empty binades above the ordinary elements show that what lies beyond them are masks."""
ANCHOR = 8
"""One in so many elements is ordinary at least; masks may be all the others."""
_EXPONENT_BIAS = 1023
STATISTICS_LIMIT = 1024
"""Bytes a vote's statistics may take on chain."""


@dataclass(frozen=True)
class Statistics:
    """Percentiles of one output's deviation, and what the floors need.

    absolute, relative: one value per percentile of the grid. scale: typical size of one's own output. unit:
    unit roundoff of the output's type. mismatch: an integer, boolean or non-finite element differs, so no
    threshold is large enough.
    """

    absolute: tuple[float, ...]
    relative: tuple[float, ...]
    scale: float
    unit: float
    mismatch: bool


def percentiles(values: np.ndarray, grid: Sequence[float]) -> tuple[float, ...]:
    """Nearest-rank percentiles: the smallest value that p % of `values` do not exceed; 0 of no values."""
    if values.size == 0:
        return (0.0,) * len(grid)
    ordered = np.sort(values)  # vectorised, and so faster than a partition
    return tuple(float(ordered[max(math.ceil(p / 100 * values.size), 1) - 1]) for p in grid)


def mask_limit(values: np.ndarray) -> float:
    """Magnitude from which on elements stand for infinity: masks such as -1e4 or -1e9, at most SENTINEL.

    values: float64. Starts in the binade of the smallest eighth of the normal magnitudes and goes up to the
    first GAP empty binades in a row: numbers that operators compute spread without such gaps, masks lie
    beyond one. The result is a power of two, so it does not depend on the last bits in which devices differ.
    """
    bits = np.ascontiguousarray(values).reshape(-1).view(np.int64)
    exponents = bits >> 52 & 0x7FF  # with the bias
    counts = np.bincount(exponents, minlength=0x800)
    counts[0] = 0
    counts[_EXPONENT_BIAS + int(math.log2(SENTINEL)) :] = 0
    if not counts.any():
        return SENTINEL
    anchor = int(np.searchsorted(np.cumsum(counts), counts.sum() / ANCHOR))
    occupied = anchor + np.flatnonzero(counts[anchor:])
    gaps = np.flatnonzero(np.diff(occupied) > GAP)
    return SENTINEL if gaps.size == 0 else 2.0 ** int(occupied[gaps[0]] + 1 - _EXPONENT_BIAS)


def typical_size(values: np.ndarray) -> float:
    """Root mean square of the elements below `mask_limit`, 0 of none; values: float64.

    Masks set no scale: the tolerance of all other elements would be vacuous.
    """
    small = np.abs(values) < mask_limit(values)
    ordinary = values if small.all() else values[small]
    return math.sqrt(np.mean(np.square(ordinary))) if ordinary.size else 0.0


def deviation_statistics(claimed: Tensor, own: Tensor, grid: Sequence[float] = GRID) -> Statistics:
    """Compare a claimed output with one's own, of the same shape and type.

    With d = |y - y'| and s the typical size of y', the percentiles of d and of d / max(|y'|, s) over the
    elements finite in both and no masks (see `mask_limit`); the largest d / |y'| of a mask counts in the last
    relative one. Differences below the smallest normal number count as none, because kernels may flush to
    zero.
    Raises ValueError if the outputs are not of one type.
    """
    if claimed.shape != own.shape or claimed.dtype != own.dtype:
        raise ValueError(
            f"cannot compare {claimed.dtype} {tuple(claimed.shape)} with {own.dtype} {tuple(own.shape)}"
        )
    if not own.dtype.is_floating_point:
        none = (0.0,) * len(grid)
        return Statistics(none, none, 0.0, 0.0, mismatch=not torch.equal(claimed, own))
    numbers = torch.finfo(own.dtype)
    y, mine = (x.detach().double().flatten().numpy() for x in (claimed, own))
    finite = np.isfinite(y) & np.isfinite(mine)
    same = bool(np.array_equal(y[~finite], mine[~finite], equal_nan=True))
    if not finite.all():
        y, mine = y[finite], mine[finite]
    difference = np.abs(y - mine)
    difference[difference < numbers.smallest_normal] = 0.0
    masks, masked = np.abs(mine) >= mask_limit(mine), 0.0
    if masks.any():
        masked = float((difference[masks] / np.abs(mine[masks])).max())
        difference, mine = difference[~masks], mine[~masks]
    scale = math.sqrt(np.mean(np.square(mine))) if mine.size else 0.0
    size = np.maximum(np.abs(mine), scale)
    relative = np.divide(difference, size, out=np.full_like(size, np.inf), where=size > 0)
    relative[difference == 0] = 0.0
    *lower, last = percentiles(relative, grid)
    return Statistics(
        absolute=percentiles(difference, grid),
        relative=(*lower, max(last, masked)),
        scale=scale,
        unit=numbers.eps / 2,
        mismatch=not same,
    )


def ratio(size: float, limit: float) -> float:
    """A deviation over its limit; 0 of none, and infinite where there is one and it has to be none."""
    if size == 0:
        return 0.0
    return size / limit if limit > 0 else math.inf


def exceedance(
    statistics: Statistics, absolute: Sequence[float], relative: Sequence[float], safety: float
) -> float:
    """The largest ratio of a statistic to safety * max(threshold, floor); above 1 the output is rejected.

    absolute, relative: the node's thresholds, one per percentile. Infinite on a mismatch.
    """
    if statistics.mismatch:
        return math.inf
    floor = FLOOR * statistics.unit
    ratios = [
        ratio(value, safety * max(threshold, floor * scale))
        for values, thresholds, scale in (
            (statistics.absolute, absolute, statistics.scale),
            (statistics.relative, relative, 1.0),
        )
        for value, threshold in zip(values, thresholds, strict=True)
    ]
    return max(ratios)


@dataclass(frozen=True)
class VoteStatistics:
    """What a committee member publishes beside its vote, so that a tally can be explained."""

    grid: tuple[float, ...]
    absolute: tuple[float, ...]
    relative: tuple[float, ...]
    exceedance: float
    device: str

    def encode(self) -> bytes:
        """Compact JSON, figures of four digits, STATISTICS_LIMIT bytes at most (ValueError if longer)."""
        record = {
            "grid": [_short(p) for p in self.grid],
            "abs": [_short(value) for value in self.absolute],
            "rel": [_short(value) for value in self.relative],
            "exceedance": _short(self.exceedance),
            "device": self.device,
        }
        data = json.dumps(record, separators=(",", ":")).encode()
        if len(data) > STATISTICS_LIMIT:
            raise ValueError(f"the statistics take {len(data)} bytes of {STATISTICS_LIMIT}; shorten the grid")
        return data

    @classmethod
    def decode(cls, data: bytes) -> "VoteStatistics":
        """Read what `encode` wrote, or anything a member may publish: raises ProfileError if malformed."""
        try:
            record = parse_json(data)
            grid, absolute, relative = (tuple(map(float, record[key])) for key in ("grid", "abs", "rel"))
            value, device = float(record["exceedance"]), record["device"]
        except (ValueError, TypeError, KeyError) as error:
            raise ProfileError(f"the vote's statistics are malformed: {error!r}") from error
        if not len(grid) == len(absolute) == len(relative) or not isinstance(device, str):
            raise ProfileError("the vote's statistics are malformed: one figure per percentile is expected")
        return cls(grid, absolute, relative, value, device)


def _short(value: float) -> float | str:
    """Four digits; infinities as text, which JSON has no number for."""
    return float(f"{value:.4g}") if math.isfinite(value) else str(value)
