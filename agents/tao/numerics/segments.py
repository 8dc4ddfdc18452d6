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
from dataclasses import dataclass, replace

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
class Replays:
    """The end of a segment, replayed: states of several tensors, those of `exact`.

    exact: in float64. own: in float32, by a judge's kernels; of several judges the quietest counts. drawn: in float64
    with random errors. others: as other kernels may have it, with ties broken another way, or with subnormal numbers
    flushed. narrowest: the fewest numbers that it all hangs on, at any cut of the segment.
    """

    exact: Sequence[Tensor]
    own: Sequence[Sequence[Tensor]]
    drawn: Sequence[Sequence[Tensor]] = ()
    others: Sequence[Sequence[Tensor]] = ()
    narrowest: float = math.inf


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
    unit: unit roundoff of the type. smallest: its smallest normal number, below which deviations are none.
    """

    def __init__(
        self,
        exact: np.ndarray,
        own: Sequence[np.ndarray],
        unit: float,
        smallest: float,
        drawn: Sequence[np.ndarray] = (),
        others: Sequence[np.ndarray] = (),
    ) -> None:
        self.exact, self.smallest = exact, smallest
        self.counted = np.isfinite(exact) & np.logical_or.reduce([np.isfinite(replay) for replay in own])
        sizes = np.abs(np.where(self.counted, exact, 0.0))
        masks = self.counted & (sizes >= mask_limit(sizes))
        ordinary = self.counted & ~masks
        self.size = _rms(exact[ordinary])
        judges = [self._squares(replay) for replay in own]
        random = [np.mean([self._squares(replay) for replay in drawn], axis=0)] if drawn else []
        noise, masks_noise = (
            np.max([np.min(_row_rms(judges, part), axis=0), *_row_rms(random, part)], axis=0)
            for part in (ordinary, masks)
        )
        rows = noise[ordinary.any(axis=1)]
        # One unit roundoff more: a segment without rounding, such as copies, has no errors to count in.
        typical = (float(np.median(rows)) if rows.size else 0.0) + unit * self.size
        self.noise = np.maximum(noise + unit * self.size, typical)
        self.floor = FLOOR * unit * self.size / typical if typical > 0 else 0.0
        # Masks swallow what is added to them: their errors are in proportion to their size.
        relative = self.noise / self.size if self.size > 0 else np.full_like(self.noise, unit)
        hidden = np.maximum(sizes * relative[:, None], masks_noise[:, None])
        loud = np.sqrt(random[0]) / LOUD if random else 0.0
        self.units = np.maximum(np.where(masks, hidden, self.noise[:, None]), loud)
        # What some kernel may have no number for.
        self.open = ~np.logical_and.reduce([np.isfinite(each) for each in (exact, *drawn, *others)])
        self.moved = np.maximum.reduce([np.zeros_like(exact), *(self._errors(other) for other in others)])
        self.moved[self.moved <= self.units] = 0.0

    def _errors(self, replay: np.ndarray) -> np.ndarray:
        """By how much a replay's elements are off, 0 where that is no number, [rows, n]."""
        finite = self.counted & np.isfinite(replay)
        return np.abs(np.where(finite, replay, 0.0) - np.where(finite, self.exact, 0.0))

    def _squares(self, replay: np.ndarray) -> np.ndarray:
        return np.square(self._errors(replay))

    def deviations(self, claimed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the elements [rows, n], and the rows' root mean squares [rows], in units of the noise.

        What other kernels move may be off by as much again. What is not finite deviates infinitely but where some
        replay has no number either; what does not count is 0.
        """
        deviation = np.abs(np.where(self.counted, claimed, 0.0) - np.where(self.counted, self.exact, 0.0))
        deviation = np.where(np.isfinite(deviation), deviation, np.where(self.open, 0.0, np.inf))
        deviation = np.maximum(deviation - 2 * self.moved, 0.0)
        deviation[deviation < self.smallest] = 0.0
        units = np.divide(deviation, self.units, out=np.full_like(deviation, np.inf), where=self.units > 0)
        units[deviation == 0] = 0.0
        counts = self.counted.sum(axis=1)
        squares = np.where(self.counted, np.square(units), 0.0).sum(axis=1)
        return units, np.sqrt(squares / np.maximum(counts, 1))

    def statistics(self, claimed: np.ndarray, grid: Sequence[float] = GRID) -> SegmentStatistics:
        """Of the claimed tensor, [rows, n]."""
        units, rows = self.deviations(claimed)
        return SegmentStatistics(
            elements=percentiles(units[self.counted], grid),
            rows=percentiles(rows[self.counted.any(axis=1)], grid),
            floor=self.floor,
            count=int(self.counted.sum()),
        )


def segment_statistics(
    claimed: Sequence[Tensor], replays: Replays, grid: Sequence[float] = GRID
) -> tuple[SegmentStatistics, ...]:
    """Statistics of the floating-point tensors of a claimed end, a state of several tensors.

    Integers and booleans count for nothing: honest drift may break a tie, and operators that give them are judged on
    their own. Raises ValueError if the states do not hold the same tensors.
    """
    found = []
    for place, (theirs, own) in enumerate(zip(claimed, replays.own[0], strict=True)):
        if theirs.shape != own.shape or theirs.dtype != own.dtype:
            given, expected = (f"{x.dtype} {tuple(x.shape)}" for x in (theirs, own))
            raise ValueError(f"cannot compare {given} with {expected}")
        if theirs.is_floating_point():
            each = noise(replays, place).statistics(as_rows(theirs), grid)
            found.append(replace(each, count=min(each.count, replays.narrowest)))
    return tuple(found)


def noise(replays: Replays, place: int) -> Noise:
    """Of one floating-point tensor of a segment's end."""
    numbers = torch.finfo(replays.own[0][place].dtype)
    (exact,), own, drawn, others = (
        [as_rows(state[place]) for state in states]
        for states in ((replays.exact,), replays.own, replays.drawn, replays.others)
    )
    return Noise(exact, own, numbers.eps / 2, numbers.smallest_normal, drawn, others)


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


def _row_rms(squares: Sequence[np.ndarray], part: np.ndarray) -> list[np.ndarray]:
    """Per row, [rows], the root mean square of a part of each of the squares, [rows, n]."""
    counts = np.maximum(part.sum(axis=1), 1)
    return [np.sqrt(np.where(part, each, 0.0).sum(axis=1) / counts) for each in squares]


def _rms(values: np.ndarray) -> float:
    return math.sqrt(np.mean(np.square(values))) if values.size else 0.0
