"""One profile out of several of the same model: of inputs calibrated one by one, or of several machines."""

from collections.abc import Sequence
from dataclasses import replace

from tao.errors import ProfileError
from tao.numerics.profile import NodeTolerance, Profile, SegmentTolerance


def merge(profiles: Sequence[Profile]) -> Profile:
    """The envelope: at every percentile of every node and segment the largest threshold of any profile.

    Devices are those of any profile, samples add up. What only some profiles have, a theta or a segment, is
    left out, because the others may have had no finite one. Pairs of devices of different profiles were never
    compared: where the first device of each computes the same bits, they deviate at most by twice the largest
    threshold, and the safety factor has to cover them. Raises ProfileError for profiles of different graphs, grids
    or safety factors.
    """
    if not profiles:
        raise ProfileError("there is no profile to merge")
    first = profiles[0]
    for other in profiles[1:]:
        other.require(first.graph_root, len(first.nodes))
        if (other.grid, other.safety, other.segment_safety) != (
            first.grid,
            first.safety,
            first.segment_safety,
        ):
            raise ProfileError("profiles of different grids or safety factors do not merge; calibrate again")
    shared = set.intersection(*({(s.lo, s.hi) for s in profile.segments} for profile in profiles))
    return replace(
        first,
        nodes=tuple(map(_widest_node, zip(*(profile.nodes for profile in profiles), strict=True))),
        devices=tuple(dict.fromkeys(device for profile in profiles for device in profile.devices)),
        samples=sum(profile.samples for profile in profiles),
        segments=tuple(
            _widest_segment([profile.segment(segment.lo, segment.hi) for profile in profiles])
            for segment in first.segments
            if (segment.lo, segment.hi) in shared
        ),
    )


def _widest(thresholds: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(map(max, zip(*thresholds, strict=True)))


def _widest_node(nodes: Sequence[NodeTolerance]) -> NodeTolerance:
    thetas = [node.theta for node in nodes]
    return NodeTolerance(
        _widest([node.absolute for node in nodes]),
        _widest([node.relative for node in nodes]),
        max(thetas) if all(thetas) else 0,
    )


def _widest_segment(segments: Sequence[SegmentTolerance]) -> SegmentTolerance:
    return replace(
        segments[0],
        elements=_widest([segment.elements for segment in segments]),
        rows=_widest([segment.rows for segment in segments]),
    )
