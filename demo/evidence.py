"""What settled a dispute, in words and figures: the element and its bound, the votes, or the silence."""

import json
from typing import Any

from tao.execution import replay
from tao.graph.operators import CONTRACTION
from tao.graph.states import of_outputs
from tao.model import ModelBundle
from tao.numerics.dot import tolerance
from tao.numerics.float32 import float_bits
from tao.protocol.views import DisputeView
from tao.roles.states import around, fetch
from tao.tensors.store import TensorStore


def element_proven(
    bundle: ModelBundle, store: TensorStore, dispute: DisputeView, element: int
) -> dict[str, Any]:
    """The refuted element: its claimed value, the exact one, and the bound (0 where bits must be equal)."""
    graph, index = bundle.graph, dispute.lo
    node, (before, after) = graph.nodes[index], around(dispute)
    state = fetch(store, graph, index, before)
    output = of_outputs(graph, index, fetch(store, graph, index + 1, after))[0]
    claimed = output.flatten()[element].item()
    if node.operator != CONTRACTION:
        own = of_outputs(graph, index, replay(graph, bundle.parameters, index, state, index + 1))[0]
        return {"element": element, "claimed": claimed, "exact": own.flatten()[element].item(), "bound": 0.0}
    held = dict(zip(graph.live(index), state, strict=True))
    place = element
    coordinates = []
    for size in reversed(output.shape):
        place, coordinate = divmod(place, size)
        coordinates.insert(0, coordinate)
    runs = []
    for operand, index_map in zip(node.operands, node.maps, strict=True):
        parameter = graph.parameter_of(operand.value)
        value = held[operand.value] if parameter is None else bundle.parameters[parameter]
        start = index_map.offset + sum(o * s for o, s in zip(coordinates, index_map.strides, strict=True))
        length = node.reduction if index_map.lane_stride else 1
        runs.append(float_bits(value.contiguous().flatten()[start : start + length]))
    exact, _, bound = tolerance(runs[0], runs[1], runs[2][0] if len(runs) > 2 else None)
    return {"element": element, "claimed": claimed, "exact": float(exact), "bound": float(bound)}


def sentence(route: str, details: dict[str, Any]) -> str:
    """One line for people."""
    if route == "vote":
        votes = details["votes"]
        rejecting = [vote for vote in votes if vote["vote"] == "reject"]
        exceedances = ", ".join(f"{vote['exceedance']:.3g}" for vote in votes)
        return f"{len(rejecting)} of {len(votes)} reject; deviation over threshold: {exceedances}"
    if route == "timeout":
        return f"no answer in {details['phase']}, clock over"
    if "element" not in details:
        return "a value changed while it only passed through a cut"
    if details["bound"] == 0:
        return f"element {details['element']}: claimed {details['claimed']}, must be {details['exact']}"
    off = abs(details["claimed"] - details["exact"])
    return (
        f"element {details['element']}: claimed {details['claimed']:.8g}, exact {details['exact']:.8g}, "
        f"off by {off:.2g}, bound {details['bound']:.2g}"
    )


def votes(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The revealed votes of a case with the statistics that explain them."""
    found = []
    for line in lines:
        if line["action"] == "reveal-vote":
            statistics = json.loads(line["statistics"])
            exceedance = statistics["exceedance"]
            found.append({"member": line["party"], "vote": line["vote"], "statistics": statistics})
            found[-1]["exceedance"] = float(exceedance) if exceedance is not None else float("inf")
    return found
