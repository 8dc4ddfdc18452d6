"""One operator or one segment, re-executed and compared: what a claim is disputed and voted on by."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from torch import Tensor

from tao.errors import NoResult
from tao.execution import node_values, replay
from tao.graph.states import of_outputs
from tao.model import ModelBundle
from tao.numerics import ties
from tao.numerics.contraction import has_theta
from tao.numerics.drift import DRIFT_THRESHOLD, drift_ratio
from tao.numerics.noise import NoisySegment
from tao.numerics.profile import Profile
from tao.numerics.schedules import SCHEDULE_TOLERANCE, over_schedules
from tao.numerics.segments import ESCALATION_MARGIN, SegmentStatistics, as_rows, noise
from tao.numerics.statistics import Statistics, deviation_statistics

FEWEST = 2
"""Replays with random errors before an end is rejected."""
CERTAIN = 1e6
"""One over the chance at which a judge draws no more: that each of n draws is E times too quiet has some E^-n."""


@dataclass(frozen=True)
class Measurement:
    """One operator re-executed on the prover's inputs: statistics per output, and the worst exceedance."""

    statistics: tuple[Statistics, ...]
    exceedance: float


@dataclass(frozen=True)
class SegmentMeasurement:
    """A segment replayed from the prover's start: drift ratio and statistics of its end, worst exceedance.

    differs: an integer or a boolean is another one, and no tie explains it (`tao.numerics.ties`); all else is of
    floating-point values alone. is_calibrated: whether there are thresholds; without, there are no statistics, and
    nothing is exceeded.
    """

    drift_ratio: float
    statistics: tuple[SegmentStatistics, ...]
    exceedance: float
    differs: bool
    is_calibrated: bool = True

    @property
    def drift(self) -> float:
        """The drift ratio, infinite where an integer differs."""
        return math.inf if self.differs else self.drift_ratio

    @property
    def excess(self) -> float:
        """How implausible the end is, above 1 if it is: by ESCALATION_MARGIN what a committee decides by where the
        segment has thresholds, and else the drift ratio, which nobody votes by."""
        if self.is_calibrated:
            return self.exceedance / ESCALATION_MARGIN
        return self.drift_ratio / DRIFT_THRESHOLD


def measure(
    bundle: ModelBundle, node: int, before: tuple[Tensor, ...], after: tuple[Tensor, ...]
) -> Measurement:
    """Run operator `node` with this machine's kernels and compare the whole output with the claimed one.

    A sum of products beyond the percentiles exceeds the tolerance only as far as it is beyond what honest
    schedules make of these inputs, too (`tao.numerics.schedules`).
    Inputs on which the operator has no result exceed every tolerance: no honest run reached them. Raises
    ModelError where this machine cannot compute it; that says nothing about the prover.
    """
    try:
        state = replay(bundle.graph, bundle.parameters, node, before, node + 1)
    except NoResult:
        return Measurement((), math.inf)
    claimed, own = of_outputs(bundle.graph, node, after), of_outputs(bundle.graph, node, state)
    statistics = tuple(
        deviation_statistics(theirs, mine, bundle.profile.grid)
        for theirs, mine in zip(claimed, own, strict=True)
    )
    exceedance = bundle.profile.exceedance(node, statistics)
    mismatch = any(each.mismatch for each in statistics)
    if exceedance > 1 and not mismatch and has_theta(bundle.graph.nodes[node]):
        values = node_values(bundle.graph, bundle.parameters, node, before)
        over = over_schedules(bundle.graph.nodes[node], values, *claimed, *own)
        exceedance = min(exceedance, over / SCHEDULE_TOLERANCE)
    return Measurement(statistics, exceedance)


def measure_segment(
    bundle: ModelBundle, lo: int, start: tuple[Tensor, ...], hi: int, end: tuple[Tensor, ...]
) -> SegmentMeasurement:
    """Replay the segment [lo, hi) in single and double precision and compare its end with the claimed one.

    A start from which neither has a result exceeds every limit, and ModelError is raised, as above.
    """
    try:
        single = replay(bundle.graph, bundle.parameters, lo, start, hi)
    except NoResult:
        single = None
    return compare_segment(bundle, lo, start, hi, end, single)


def compare_segment(
    bundle: ModelBundle,
    lo: int,
    start: tuple[Tensor, ...],
    hi: int,
    end: tuple[Tensor, ...],
    single: tuple[Tensor, ...] | None,
) -> SegmentMeasurement:
    """`measure_segment` given one's own replay in single precision, None if it has no result."""
    segment = NoisySegment(bundle.graph, bundle.parameters, lo, start, hi)
    try:
        double = segment.exact
    except NoResult:
        return SegmentMeasurement(math.inf, (), math.inf, True)
    if single is None:
        # By a choice that double precision makes otherwise, whose result stands for one's own.
        types = [bundle.graph.types[value].dtype.torch for value in bundle.graph.live(hi)]
        single = tuple(exact.to(dtype) for exact, dtype in zip(double, types, strict=True))
    floats = [place for place, own in enumerate(single) if own.is_floating_point()]
    ratio = drift_ratio(*([state[place] for place in floats] for state in (end, single, double)))
    differs = not ties.explain(bundle, lo, start, hi, end, single, double)
    if bundle.profile is None or bundle.profile.segment(lo, hi) is None:
        return SegmentMeasurement(ratio, (), 0.0, differs, is_calibrated=False)
    claimed, own = ([state[place] for place in segment.computed] for state in (end, single))
    statistics, exceedance = judge_end(bundle.profile, segment, claimed, own)
    return SegmentMeasurement(ratio, statistics, exceedance, differs)


class _Judged:
    """One floating-point tensor of a segment's claimed end: its noise, its statistics, and its exceedance, above 1 if
    it is rejected. place: in the values live there."""

    def __init__(
        self, profile: Profile, segment: NoisySegment, place: int, claimed: Tensor, own: Tensor
    ) -> None:
        """Raises ValueError where the tensors are not of one type."""
        if claimed.shape != own.shape or claimed.dtype != own.dtype:
            given, expected = (f"{x.dtype} {tuple(x.shape)}" for x in (claimed, own))
            raise ValueError(f"cannot compare {given} with {expected}")
        self.profile, self.segment, self.place, self.claimed = profile, segment, place, as_rows(claimed)
        self.noise = noise(segment.exact[place], [own], segment.narrowest)
        self.judge()

    def judge(self) -> None:
        self.statistics = self.noise.statistics(self.claimed, self.profile.grid)
        self.exceedance = self.profile.segment_exceedance(self.segment.lo, self.segment.hi, [self.statistics])


def judge_end(
    profile: Profile, segment: NoisySegment, claimed: Sequence[Tensor], own: Sequence[Tensor]
) -> tuple[tuple[SegmentStatistics, ...], float]:
    """Statistics of a segment's claimed end, one for each floating-point tensor of it, and the largest exceedance,
    above 1 if a judge rejects it.

    They are in units of one's own rounding errors alone. Those that exceed their limits by that are judged by replays
    with random errors, too, and those left by what other kernels may have made. Integers and booleans count for
    nothing: honest drift may break a tie, and operators that give them are judged on their own. claimed, own: what the
    segment computes, `segment.computed`.
    """
    tensors = [
        _Judged(profile, segment, place, theirs, mine)
        for place, theirs, mine in zip(segment.computed, claimed, own, strict=True)
        if mine.is_floating_point()
    ]
    left, drawn, draws = _rejected(tensors), segment.drawn(), 0
    while left and not _is_certain(max(tensor.exceedance for tensor in left), draws):
        states = list(islice(drawn, 1 if draws else FEWEST))
        if not states:
            break
        draws += len(states)
        for tensor in left:
            tensor.noise.draw(*(as_rows(state[tensor.place]) for state in states))
            tensor.judge()
        left = _rejected(left)
    if left:
        for state in chain(segment.flushed, segment.turned()):
            for tensor in left:
                tensor.noise.turn(as_rows(state[tensor.place]))
        for tensor in left:
            tensor.judge()
    worst = max((tensor.exceedance for tensor in tensors), default=0.0)
    return tuple(tensor.statistics for tensor in tensors), worst


def _rejected(tensors: Iterable[_Judged]) -> list[_Judged]:
    return [tensor for tensor in tensors if tensor.exceedance > 1]


def _is_certain(exceedance: float, draws: int) -> bool:
    """Whether more draws would not change that an end is rejected. One that is infinite may be so in a draw, too."""
    return draws >= FEWEST and math.isfinite(exceedance) and exceedance >= CERTAIN ** (1 / draws)
