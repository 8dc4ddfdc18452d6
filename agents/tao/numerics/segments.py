"""Whether the end of a segment of several operators is what honest kernels produce.

Deviations add up over a segment, so no operator's threshold fits its end, and an adversary who stays inside
every operator's thresholds but pushes all of them one way shows there (docs/protocol.md, section 4). A judge
replays the segment from the committed start in float32 and in float64. The distance between its replays is
what rounding does to this segment on these inputs; the distance of the claimed end from the float64 replay is
counted in units of it, so thresholds calibrated on some inputs hold on others. Before it rejects, a judge asks
whether its own rounding errors were small by chance (replays with random errors, `tao.numerics.noise`), and
whether other kernels flush subnormal numbers or break ties otherwise (`tao.numerics.jumps`).
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
FEW = 2.0
"""Limits of a tensor of n elements, or that hangs on n numbers, are 1 + FEW / sqrt(n) times as wide: the largest of few
that calibration saw says less about the largest that will come."""
LOUD = 3.0
"""Times its row's noise from which on an element's own errors count: below, they are as large by chance."""


@dataclass(frozen=True)
class SegmentStatistics:
    """One tensor at the end of a segment, in units of what rounding does to it.

    elements: percentiles of the elements' deviations. rows: percentiles of the rows' root mean squares, a row
    being the last dimension. floor: 4 unit roundoffs of the tensor's typical size, in the same unit. count: of
    elements, or of the numbers that they hang on if these are fewer.
    """

    elements: tuple[float, ...]
    rows: tuple[float, ...]
    floor: float
    count: float


class Noise:
    """What rounding does to one tensor, float64 arrays of shape [rows, n], and what follows from it.

    A row's noise is the root mean square of the errors in it, of the judge's own or of the drawn ones if that is more,
    and at least the median row's. Of an element whose own drawn errors are LOUD times as large it is a share of these.
    Elements that are not finite in `exact`, or in every judge's replay, count for nothing.
    """

    def __init__(
        self,
        exact: np.ndarray,
        own: Sequence[np.ndarray],
        unit: float,
        smallest: float,
        narrowest: float = math.inf,
    ) -> None:
        """exact: replayed in float64. own: in float32, by a judge's kernels; of several judges the quietest counts.
        unit: unit roundoff of the type. smallest: its smallest normal number, below which deviations are none.
        narrowest: the fewest numbers that it all hangs on, at any cut of the segment."""
        self.exact, self._unit, self._smallest = exact, unit, smallest
        self.counted = np.isfinite(exact) & np.logical_or.reduce([np.isfinite(replay) for replay in own])
        self._sizes = _distance(exact, np.zeros_like(exact), self.counted)
        self._masks = self.counted & (self._sizes >= mask_limit(self._sizes))
        self._ordinary = self.counted & ~self._masks
        self.size = _rms(exact[self._ordinary])
        self.count = min(int(self.counted.sum()), narrowest)
        judges = [np.square(self._errors(replay)) for replay in own]
        self._quietest, self._quietest_of_masks = (
            np.min([_row_rms(squares, part) for squares in judges], axis=0)
            for part in (self._ordinary, self._masks)
        )
        self._draws, self._squares = 0, np.zeros_like(exact)
        self._has_turned, self._moved = False, np.zeros_like(exact)
        self.open = ~np.isfinite(exact)
        """What some kernel may have no number for."""
        self._settle()

    def draw(self, *replays: np.ndarray) -> None:
        """Take replays in float64 with random errors into account, each [rows, n]."""
        for replay in replays:
            self._draws += 1
            self._squares += np.square(self._errors(replay))
            self.open |= ~np.isfinite(replay)
        self._settle()

    def turn(self, replay: np.ndarray) -> None:
        """Take a replay into account as other kernels may have it, with ties broken another way, or with subnormal
        numbers flushed, [rows, n]."""
        self._has_turned = True
        np.maximum(self._moved, self._errors(replay), out=self._moved)
        self.open |= ~np.isfinite(replay)

    @property
    def moved(self) -> np.ndarray:
        """By how much other kernels may move the elements, beyond the noise, [rows, n]."""
        return np.where(self._moved > self.units, self._moved, 0.0)

    def _settle(self) -> None:
        """The noise by the errors known so far, [rows], and what an element's deviation is counted in, [rows, n]."""
        noise, noise_of_masks = self._quietest, self._quietest_of_masks
        if self._draws:
            squares = self._squares / self._draws
            noise = np.maximum(noise, _row_rms(squares, self._ordinary))
            noise_of_masks = np.maximum(noise_of_masks, _row_rms(squares, self._masks))
        rows = noise[self._ordinary.any(axis=1)]
        # One unit roundoff more: a segment without rounding, such as copies, has no errors to count in.
        least = self._unit * self.size
        typical = (float(np.median(rows)) if rows.size else 0.0) + least
        self.noise = np.maximum(noise + least, typical)
        self.floor = FLOOR * least / typical if typical > 0 else 0.0
        self.units = np.broadcast_to(self.noise[:, None], self.exact.shape)
        if self._masks.any():
            # Masks swallow what is added to them: their errors are in proportion to their size.
            relative = self.noise / self.size if self.size > 0 else np.full_like(self.noise, self._unit)
            hidden = np.maximum(self._sizes * relative[:, None], noise_of_masks[:, None])
            self.units = np.where(self._masks, hidden, self.units)
        if self._draws:
            self.units = np.maximum(self.units, np.sqrt(squares) / LOUD)

    def _errors(self, replay: np.ndarray) -> np.ndarray:
        """By how much a replay's elements are off, 0 where that is no number, [rows, n]."""
        return _distance(replay, self.exact, self.counted & np.isfinite(replay))

    def deviations(self, claimed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the elements [rows, n], and the rows' root mean squares [rows], in units of the noise.

        What other kernels move may be off by as much again. What is not finite deviates infinitely but where some
        replay has no number either; what does not count is 0.
        """
        deviation = _distance(claimed, self.exact, self.counted)
        if not (finite := np.isfinite(deviation)).all():
            deviation = np.where(finite, deviation, np.where(self.open, 0.0, np.inf))
        if self._has_turned:
            deviation = np.maximum(deviation - 2 * self.moved, 0.0)
        deviation[deviation < self._smallest] = 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            units = deviation / self.units
        units[deviation == 0] = 0.0
        return units, _row_rms(np.square(units), self.counted)

    def statistics(self, claimed: np.ndarray, grid: Sequence[float] = GRID) -> SegmentStatistics:
        """Of the claimed tensor, [rows, n]."""
        units, rows = self.deviations(claimed)
        return SegmentStatistics(
            elements=percentiles(units[self.counted], grid),
            rows=percentiles(rows[self.counted.any(axis=1)], grid),
            floor=self.floor,
            count=self.count,
        )


def noise(exact: Tensor, own: Sequence[Tensor], narrowest: float = math.inf) -> Noise:
    """Of one floating-point tensor at a segment's end; its unit roundoff is that of the judges' type."""
    numbers = torch.finfo(own[0].dtype)
    judges = [as_rows(replay) for replay in own]
    return Noise(as_rows(exact), judges, numbers.eps / 2, numbers.smallest_normal, narrowest)


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
    """The largest ratio of a statistic to its limit, safety * (1 + FEW / sqrt(count)) * max(threshold, floor); above 1
    the end is rejected.

    elements, rows: the segment's thresholds, one per percentile.
    """
    worst = 0.0
    for tensor in statistics:
        factor = safety * widening(tensor.count)
        for values, thresholds in ((tensor.elements, elements), (tensor.rows, rows)):
            for value, threshold in zip(values, thresholds, strict=True):
                worst = max(worst, ratio(value, factor * max(threshold, tensor.floor)))
    return worst


def widening(count: float) -> float:
    """What limits are multiplied by for a tensor of so many elements."""
    return 1 + FEW / math.sqrt(count) if count else 1.0


def _distance(some: np.ndarray, other: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Between elements, 0 but `where` it is asked for."""
    if where.all():
        return np.abs(some - other)
    return np.abs(np.where(where, some, 0.0) - np.where(where, other, 0.0))


def _row_rms(squares: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Per row, [rows], the root mean square of a part of it, given the squares, [rows, n]."""
    if part.all():
        return np.sqrt(squares.mean(axis=1))
    counts = np.maximum(part.sum(axis=1), 1)
    return np.sqrt(np.where(part, squares, 0.0).sum(axis=1) / counts)


def _rms(values: np.ndarray) -> float:
    return math.sqrt(np.mean(np.square(values))) if values.size else 0.0
