"""Whether the end of a segment of several operators is what honest kernels produce.

Deviations add up over a segment, so no operator's threshold fits its end, and an adversary who stays inside
every operator's thresholds but pushes all of them one way shows there (docs/protocol.md, section 4). A judge
replays the segment from the committed start in float32 and in float64. The distance between its replays is
what rounding does to this segment on these inputs; the distance of the claimed end from the float64 replay is
counted in units of it, so thresholds calibrated on some inputs hold on others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tao.numerics.statistics import FLOOR, GRID, mask_limit, percentiles, ratio

ESCALATION_MARGIN = 1.25
"""A challenger puts a segment to the vote from this exceedance on: members' replays differ from its own."""


@dataclass(frozen=True)
class SegmentStatistics:
    """One tensor at the end of a segment, in units of the judge's own rounding errors there.

    elements: percentiles of the elements' deviations. rows: percentiles of the rows' root mean squares, a row
    being the last dimension. floor: 4 unit roundoffs of the tensor's typical size, in the same unit.
    """

    elements: tuple[float, ...]
    rows: tuple[float, ...]
    floor: float


class Replays:
    """One tensor of a judge's own two replays, float64 arrays of shape [rows, n], and what follows from them.

    unit: unit roundoff of the tensor's type. smallest: its smallest normal number, below which deviations
    count as none. Elements that are not finite in both replays count for nothing.
    """

    def __init__(self, single: np.ndarray, double: np.ndarray, unit: float, smallest: float) -> None:
        self.double, self.smallest = double, smallest
        self.counted = np.isfinite(single) & np.isfinite(double)
        sizes = np.abs(np.where(self.counted, double, 0.0))
        self.masks = self.counted & (sizes >= mask_limit(sizes))
        ordinary = self.counted & ~self.masks
        self.size = _rms(double[ordinary])
        # One unit roundoff more: a segment without rounding, such as copies, has no errors to count in.
        self.noise = _rms(single[ordinary] - double[ordinary]) + unit * self.size
        self.floor = FLOOR * unit * self.size
        # Masks swallow what is added to them: their errors are in proportion to their size.
        relative = self.noise / self.size if self.size > 0 else unit
        self.units = np.where(self.masks, sizes * relative, self.noise)

    def deviations(self, claimed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the elements [rows, n], and the rows' root mean squares [rows], in own rounding errors.

        What is not finite where both replays are deviates infinitely; what does not count is 0.
        """
        deviation = np.abs(np.where(self.counted, claimed, 0.0) - np.where(self.counted, self.double, 0.0))
        deviation = np.where(np.isfinite(deviation), deviation, np.inf)
        deviation[deviation < self.smallest] = 0.0
        units = np.divide(deviation, self.units, out=np.full_like(deviation, np.inf), where=self.units > 0)
        units[deviation == 0] = 0.0
        counts = self.counted.sum(axis=1)
        squares = np.where(self.counted, np.square(units), 0.0).sum(axis=1)
        return units, np.sqrt(squares / np.maximum(counts, 1))

    def statistics(self, claimed: np.ndarray, grid: Sequence[float]) -> SegmentStatistics:
        """Of the claimed tensor, [rows, n]."""
        units, rows = self.deviations(claimed)
        return SegmentStatistics(
            elements=percentiles(units[self.counted], grid),
            rows=percentiles(rows[self.counted.any(axis=1)], grid),
            floor=self.floor / self.noise if self.noise > 0 else 0.0,
        )


def segment_statistics(
    claimed: Sequence[Tensor],
    single: Sequence[Tensor],
    double: Sequence[Tensor],
    grid: Sequence[float] = GRID,
) -> tuple[SegmentStatistics, ...]:
    """Statistics of the floating-point tensors of a claimed end, a state of several tensors.

    single, double: one's own replays in float32 and float64. Integers and booleans count for nothing: honest
    drift may break a tie, and operators that give them are judged on their own. Raises ValueError if the
    states do not hold the same tensors.
    """
    found = []
    for theirs, mine, exact in zip(claimed, single, double, strict=True):
        if theirs.shape != mine.shape or theirs.dtype != mine.dtype or exact.shape != mine.shape:
            given, expected = (f"{x.dtype} {tuple(x.shape)}" for x in (theirs, mine))
            raise ValueError(f"cannot compare {given} with {expected}")
        if mine.dtype.is_floating_point:
            found.append(replays(mine, exact).statistics(as_rows(theirs), grid))
    return tuple(found)


def replays(single: Tensor, double: Tensor) -> Replays:
    """The two replays of one floating-point tensor."""
    numbers = torch.finfo(single.dtype)
    return Replays(as_rows(single), as_rows(double), numbers.eps / 2, numbers.smallest_normal)


def as_rows(tensor: Tensor) -> np.ndarray:
    """float64 [rows, n], a row being the last dimension."""
    last = tensor.shape[-1] if tensor.dim() else 1
    return tensor.detach().double().reshape(-1, last).numpy()


def segment_exceedance(
    statistics: Sequence[SegmentStatistics],
    elements: Sequence[float],
    rows: Sequence[float],
    safety: float,
) -> float:
    """The largest ratio of a statistic to safety * max(threshold, floor); above 1 the end is rejected.

    elements, rows: the segment's thresholds, one per percentile.
    """
    worst = 0.0
    for tensor in statistics:
        for values, thresholds in ((tensor.elements, elements), (tensor.rows, rows)):
            for value, threshold in zip(values, thresholds, strict=True):
                worst = max(worst, ratio(value, safety * max(threshold, tensor.floor)))
    return worst


def _rms(values: np.ndarray) -> float:
    return math.sqrt(np.mean(np.square(values))) if values.size else 0.0
