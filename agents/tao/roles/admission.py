"""Which models the roles take on: those whose runs they can replay, judge and put on a chain."""

from collections.abc import Sequence

from tao.errors import ModelError
from tao.model import ModelBundle
from tao.protocol.partition import inner_cuts, segments

MAX_VALUES = 1536
"""Tensors in a state (States.sol)."""
MAX_REVEALED = 130_000
"""Bytes of the states of one segment: nodes refuse transactions above 128 KiB."""
WORD = 32


def require_inference(bundle: ModelBundle) -> None:
    """Raise ModelError for a model of several steps, whose runs cannot be replayed by these roles."""
    if bundle.steps > 1:
        raise ModelError(
            f"the model 0x{bundle.model_id.hex()} is a training job of {bundle.steps} steps; "
            "use `tao trainer` or `tao auditor`"
        )


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


def require_short_reveals(bundle: ModelBundle, fan_out: int) -> None:
    """Raises ModelError where a state of some cut, or the states of some segment together, are longer than a prover can
    reveal: it would lose its bond by silence."""
    graph = bundle.graph
    values = [len(graph.live(cut)) for cut in range(len(graph) + 1)]
    longest = max(range(len(values)), key=values.__getitem__)
    if values[longest] > MAX_VALUES:
        raise ModelError(
            f"{values[longest]} values are live before operator {longest} and a state has at most {MAX_VALUES}; "
            "join some, or split the model"
        )
    reveals = {
        f"operators {lo} to {hi - 1}": revealed_bytes([values[cut] for cut in inner_cuts(lo, hi, fan_out)])
        for lo, hi in segments(len(graph), fan_out)
    }
    if bundle.steps > 1:
        inner = min(fan_out, bundle.steps) - 1
        reveals[f"{bundle.steps} steps"] = revealed_bytes([values[0]] * inner, bundle.steps.bit_length())
    what, size = max(reveals.items(), key=lambda item: item[1], default=("nothing", 0))
    if size > MAX_REVEALED:
        raise ModelError(
            f"the states of {what} take {size:,} bytes to reveal and nodes refuse transactions of more than "
            f"{MAX_REVEALED:,}; split the model, or use a deployment with a fan-out below {fan_out}"
        )


def revealed_bytes(values: Sequence[int], height: int = 0) -> int:
    """What the call that reveals states of so many values takes, each with a path of so many hashes: in the ABI a list
    has its offset and its length before it."""
    words = 5 + 2 + sum(2 + count for count in values) + (len(values) * (2 + height) if height else 0)
    return 4 + WORD * words
