"""One operator or one segment, re-executed and compared: what a claim is disputed and voted on by."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

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
from tao.numerics.segments import ESCALATION_MARGIN, Replays, SegmentStatistics, segment_statistics
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
    noise = NoisySegment(bundle.graph, bundle.parameters, lo, start, hi)
    try:
        double = noise.exact
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
    claimed, own = ([state[place] for place in noise.computed] for state in (end, single))
    statistics, exceedance = judge_end(bundle.profile, noise, claimed, own)
    return SegmentMeasurement(ratio, statistics, exceedance, differs)


def judge_end(
    profile: Profile, noise: NoisySegment, claimed: Sequence[Tensor], own: Sequence[Tensor]
) -> tuple[tuple[SegmentStatistics, ...], float]:
    """Statistics of a segment's claimed end and its exceedance, above 1 if a judge rejects it.

    They are in units of one's own rounding errors alone, unless the end exceeds its limits by those: then replays with
    random errors count, too, and then what other kernels may have made. claimed, own: what the segment computes,
    `noise.computed`.
    """

    def computed(states: Iterable[Sequence[Tensor]]) -> list[list[Tensor]]:
        return [[state[place] for place in noise.computed] for state in states]

    def judged(replays: Replays) -> tuple[tuple[SegmentStatistics, ...], float]:
        found = segment_statistics(claimed, replays, profile.grid)
        return found, profile.segment_exceedance(noise.lo, noise.hi, found)

    replays, draws = Replays(*computed([noise.exact]), [own], narrowest=noise.narrowest), noise.drawn()
    statistics, exceedance = judged(replays)
    while exceedance > 1 and not _is_certain(exceedance, len(replays.drawn)):
        drawn = computed(islice(draws, 1 if replays.drawn else FEWEST))
        if not drawn:
            break
        replays = replace(replays, drawn=[*replays.drawn, *drawn])
        statistics, exceedance = judged(replays)
    if exceedance > 1 and (others := computed([*noise.flushed, *noise.turned()])):
        statistics, exceedance = judged(replace(replays, others=others))
    return statistics, exceedance


def _is_certain(exceedance: float, draws: int) -> bool:
    """Whether more draws would not change that an end is rejected. One that is infinite may be so in a draw, too."""
    return draws >= FEWEST and math.isfinite(exceedance) and exceedance >= CERTAIN ** (1 / draws)
