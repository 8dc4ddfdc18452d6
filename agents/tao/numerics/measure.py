"""One operator or one segment, re-executed and compared: what a claim is disputed and voted on by."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tao.errors import NoResult
from tao.execution import node_values, replay
from tao.graph.states import of_outputs
from tao.model import ModelBundle
from tao.numerics import ties
from tao.numerics.contraction import has_theta
from tao.numerics.drift import DRIFT_THRESHOLD, drift_ratio
from tao.numerics.schedules import SCHEDULE_TOLERANCE, over_schedules
from tao.numerics.segments import ESCALATION_MARGIN, SegmentStatistics, segment_statistics
from tao.numerics.statistics import Statistics, deviation_statistics


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

    A start from which an operator has no result exceeds every limit, and ModelError is raised, as above.
    """
    graph, parameters = bundle.graph, bundle.parameters
    try:
        single = replay(graph, parameters, lo, start, hi)
        double = replay(graph, parameters, lo, start, hi, dtype=torch.float64)
    except NoResult:
        return SegmentMeasurement(math.inf, (), math.inf, True)
    return compare_segment(bundle, lo, start, hi, end, single, double)


def compare_segment(
    bundle: ModelBundle,
    lo: int,
    start: tuple[Tensor, ...],
    hi: int,
    end: tuple[Tensor, ...],
    single: tuple[Tensor, ...],
    double: tuple[Tensor, ...],
) -> SegmentMeasurement:
    """`measure_segment` given one's own replays in single and double precision."""
    floats = [place for place, own in enumerate(single) if own.is_floating_point()]
    ratio = drift_ratio(*([state[place] for place in floats] for state in (end, single, double)))
    differs = not ties.explain(bundle, lo, start, hi, end, single)
    if bundle.profile is None or bundle.profile.segment(lo, hi) is None:
        return SegmentMeasurement(ratio, (), 0.0, differs, is_calibrated=False)
    statistics = segment_statistics(end, single, double, bundle.profile.grid)
    exceedance = bundle.profile.segment_exceedance(lo, hi, statistics)
    return SegmentMeasurement(ratio, statistics, exceedance, differs)
