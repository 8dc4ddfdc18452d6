"""Outputs of several devices compared with one another."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor

from tao.numerics.segments import as_rows, replays
from tao.numerics.statistics import FLOOR, Statistics, deviation_statistics

FAR = 256.0
"""A device is faulty where its smallest deviation from any other is so many times the others' largest among
themselves, which count as FLOOR unit roundoffs of the output's typical size at least. Honest orders of
summation stay well inside, TF32 and an exponential of 12 bits do not."""


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
    singles: Sequence[Sequence[Tensor]], double: Sequence[Tensor], grid: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """The largest element and row statistics of a segment's end over all pairs of prover and judge.

    singles: each device's tensors of the end. double: one device's in float64; devices differ in it by far
    less than float32 rounds. None where no finite threshold covers what the devices computed.
    """
    elements, rows = [0.0] * len(grid), [0.0] * len(grid)
    for place, exact in enumerate(double):
        ends = distinct([device[place] for device in singles])
        if not ends[0].is_floating_point():
            continue
        judges = [replays(end, exact) for end in ends]
        first, quietest = judges[0], min(judge.noise for judge in judges)
        # All judges share the float64 replay, so their statistics differ by the unit they count in alone.
        for end in ends:
            found = first.statistics(as_rows(end), grid)
            factor = first.noise / quietest if quietest > 0 else math.inf if first.noise > 0 else 1.0
            elements, rows = (
                [max(old, new * factor) if new else old for old, new in zip(olds, news, strict=True)]
                for olds, news in ((elements, found.elements), (rows, found.rows))
            )
    if not all(map(math.isfinite, (*elements, *rows))):
        return None
    return tuple(elements), tuple(rows)
