"""Which models the roles take on: those whose runs they can replay, judge and put on a chain."""

from tao.errors import ModelError
from tao.model import ModelBundle
from tao.protocol.partition import segments

MAX_VALUES = 1536
"""Tensors in a state (States.sol)."""


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
