"""Outputs of several devices compared with one another."""

import math
from collections.abc import Mapping, Sequence
from itertools import chain, combinations

import torch
from torch import Tensor

from tao.numerics.noise import NoisySegment
from tao.numerics.segments import as_rows, noise
from tao.numerics.statistics import FLOOR, Statistics, deviation_statistics

FAR = 256.0
"""A device is faulty where its smallest deviation from any other is so many times the others' largest among
themselves, which count as FLOOR unit roundoffs of the output's typical size at least. Honest orders of
summation stay well inside, TF32 and an exponential of 12 bits do not."""

TIED = 16.0
"""Deviations above so many times a segment's noise are no rounding errors; a tie may explain them, or flushing."""

Deviations = Mapping[tuple[int, int], Statistics]
"""By pair of devices, the lower number first; a pair that is not there agrees bit for bit."""


def distinct(outputs: Sequence[Tensor]) -> list[Tensor]:
    """One tensor for each class of equal ones; devices often agree bit for bit."""
    found: list[Tensor] = []
    for output in outputs:
        if not any(_same(output, other) for other in found):
            found.append(output)
    return found


def _same(a: Tensor, b: Tensor) -> bool:
    """Equal elements, where NaN equals NaN and zeros have no sign."""
    return torch.equal(a, b) or (a.is_floating_point() and torch.allclose(a, b, 0, 0, equal_nan=True))


class Envelope:
    """The largest percentiles seen at one node."""

    def __init__(self, grid: Sequence[float]) -> None:
        self.grid = grid
        self.absolute, self.relative = [0.0] * len(grid), [0.0] * len(grid)

    def compare(self, outputs: Sequence[Tensor]) -> Deviations:
        """Widen by the deviations of all pairs of one output, one tensor per device; returns them."""
        classes = distinct(outputs)
        member = [next(i for i, y in enumerate(classes) if _same(y, output)) for output in outputs]
        by_class = {
            (a, b): deviation_statistics(classes[a], classes[b], self.grid)
            for a, b in combinations(range(len(classes)), 2)
        }
        for statistics in by_class.values():
            self.absolute = list(map(max, self.absolute, statistics.absolute))
            self.relative = list(map(max, self.relative, statistics.relative))
        pairs = {}
        for i, j in combinations(range(len(outputs)), 2):
            key = (min(member[i], member[j]), max(member[i], member[j]))
            if key in by_class:
                pairs[i, j] = by_class[key]
        return pairs


def accused(deviations: Deviations, devices: int) -> int | None:
    """The number of the one device that is far outside what the others differ by, None if there is none.

    Takes at least three devices: of two, nothing says which one is wrong.
    """
    if devices < 3:
        return None
    for suspect in range(devices):
        nearest = min(_size(deviations, suspect, other) for other in range(devices) if other != suspect)
        others = [device for device in range(devices) if device != suspect]
        mutual = max(_size(deviations, a, b) for a, b in combinations(others, 2))
        if nearest > FAR * max(mutual, FLOOR):
            return suspect
    return None


def _size(deviations: Deviations, a: int, b: int) -> float:
    """The last percentile of a pair's deviation in unit roundoffs of the output's typical size."""
    found = deviations.get((min(a, b), max(a, b)))
    if found is None:
        return 0.0
    if found.mismatch:
        return math.inf
    unit = found.unit * found.scale
    return found.absolute[-1] / unit if unit > 0 else 0.0


def segment_envelope(
    ends: Sequence[Sequence[Tensor]], segment: NoisySegment, grid: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """The largest element and row statistics of a segment's end over all pairs of prover and judge.

    ends: each device's tensors of those that the segment computes, `segment.computed`. None where no finite threshold
    covers what the devices computed.
    """
    computed = zip(segment.computed, zip(*ends, strict=True), strict=True)
    classes = {place: distinct(tensors) for place, tensors in computed if tensors[0].is_floating_point()}
    judges = {place: noise(segment.exact[place], tensors) for place, tensors in classes.items()}

    def widest() -> tuple[tuple[float, ...], tuple[float, ...]]:
        none = (0.0,) * len(grid)
        found = [judges[place].statistics(as_rows(y), grid) for place in judges for y in classes[place]]
        return (
            tuple(map(max, none, none, *(each.elements for each in found))),
            tuple(map(max, none, none, *(each.rows for each in found))),
        )

    for state in segment.drawn():
        for place, judge in judges.items():
            judge.draw(as_rows(state[place]))
    elements, rows = widest()
    if max(*elements, *rows) > TIED:
        for state in chain(segment.flushed, segment.turned()):
            for place, judge in judges.items():
                judge.turn(as_rows(state[place]))
        elements, rows = widest()
    return (elements, rows) if all(map(math.isfinite, elements + rows)) else None
