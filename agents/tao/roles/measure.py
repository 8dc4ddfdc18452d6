"""Re-executed and compared: what a challenger disputes and escalates by, and a member votes by."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tao.errors import ModelError, NoResult
from tao.execution import node_values, replay
from tao.graph.states import of_outputs
from tao.model import ModelBundle
from tao.numerics.contraction import has_theta
from tao.numerics.drift import drift_ratio
from tao.numerics.schedules import SCHEDULE_TOLERANCE, over_schedules
from tao.numerics.segments import SegmentStatistics, segment_statistics
from tao.numerics.statistics import Statistics, deviation_statistics
from tao.protocol.partition import segments


@dataclass(frozen=True)
class Measurement:
    """One operator re-executed on the prover's inputs: statistics per output, and the worst exceedance."""

    statistics: tuple[Statistics, ...]
    exceedance: float


@dataclass(frozen=True)
class SegmentMeasurement:
    """A segment replayed from the prover's start: drift ratio and statistics of its end, worst exceedance.

    Without thresholds there are no statistics, and nothing is exceeded.
    """

    drift_ratio: float
    statistics: tuple[SegmentStatistics, ...]
    exceedance: float


MAX_VALUES = 1536
"""Tensors in a state (States.sol)."""


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
        return SegmentMeasurement(math.inf, (), math.inf)
    ratio = drift_ratio(end, single, double)
    if bundle.profile is None or bundle.profile.segment(lo, hi) is None:
        return SegmentMeasurement(ratio, (), 0.0)
    statistics = segment_statistics(end, single, double, bundle.profile.grid)
    return SegmentMeasurement(ratio, statistics, bundle.profile.segment_exceedance(lo, hi, statistics))


def drift(bundle: ModelBundle, lo: int, start: tuple[Tensor, ...], hi: int, end: tuple[Tensor, ...]) -> float:
    """The drift ratio of a claimed end, as `measure_segment` has it."""
    return measure_segment(bundle, lo, start, hi, end).drift_ratio


def require_inference(bundle: ModelBundle) -> None:
    """Raise ModelError for a model of several steps, whose runs cannot be replayed by these roles."""
    if bundle.steps > 1:
        raise ModelError(f"model 0x{bundle.model_id.hex()} has {bundle.steps} steps; this role plays one")


def require_calibrated(bundle: ModelBundle) -> None:
    """Raises ModelError for a model without tolerances, whose votes nobody could count; training has none."""
    if bundle.profile is None and bundle.steps == 1:
        raise ModelError(f"the model 0x{bundle.model_id.hex()} has no tolerance profile; calibrate it first")


def require_segments(bundle: ModelBundle, fan_out: int) -> None:
    """Raises ModelError for a profile whose segments are not those of disputes with that fan-out: drift over
    several operators could not be judged. A profile without segments does without that."""
    if bundle.profile is None or not bundle.profile.segments:
        return
    calibrated = {(segment.lo, segment.hi) for segment in bundle.profile.segments}
    if calibrated != set(segments(len(bundle.graph), fan_out)):
        raise ModelError(
            f"the tolerance profile's segments are not those of disputes with a fan-out of {fan_out}, which this "
            f"deployment has; calibrate again with --fan-out {fan_out}"
        )


def require_short_states(bundle: ModelBundle) -> None:
    """Raises ModelError for a graph with more values live at a cut than a revealed state may have."""
    graph = bundle.graph
    longest = max(range(len(graph) + 1), key=lambda cut: len(graph.live(cut)))
    if (count := len(graph.live(longest))) > MAX_VALUES:
        raise ModelError(
            f"{count} values are live before operator {longest} and a state has at most {MAX_VALUES}; "
            "join some, or split the model"
        )
