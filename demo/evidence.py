"""What settled a dispute, in words and figures: the element and its bound, the votes, or the silence."""

import json
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tao.execution import replay
from tao.graph.operators import CONTRACTION
from tao.graph.states import of_outputs
from tao.model import ModelBundle
from tao.numerics.bounds import Exact, bound
from tao.numerics.dot import tolerance
from tao.proofs.leaf import Leaf
from tao.proofs.reads import reads
from tao.protocol.views import DisputeView
from tao.roles.states import around, fetch
from tao.tensors.store import TensorStore


def element_proven(
    bundle: ModelBundle, store: TensorStore, dispute: DisputeView, element: int
) -> dict[str, Any]:
    """The refuted element: its claimed value, the exact one (in float64 at least), and how far an honest one may be
    from that (0 where bits must be equal)."""
    graph, index = bundle.graph, dispute.lo
    before, after = around(dispute)
    state = fetch(store, graph, index, before)
    leaf = Leaf.of(bundle, index, state, of_outputs(graph, index, fetch(store, graph, index + 1, after)))
    exact, allowed = _expected(leaf, index, state, element)
    claimed = leaf.output.flatten()[element].item()
    return {"element": element, "claimed": claimed, "exact": exact, "bound": allowed}


def _expected(leaf: Leaf, index: int, state: Sequence[Tensor], element: int) -> tuple[float, float]:
    """The exact value of an element of node `index`, and its bound."""
    node, graph = leaf.node, leaf.bundle.graph
    if node.operator == CONTRACTION:
        lanes = [leaf.bits(i, *run) for i, (run,) in enumerate(reads(leaf, element))]
        exact, _, allowed = tolerance(lanes[0], lanes[1], *(bits for (bits,) in lanes[2:]))
        return float(exact), float(allowed)
    (rule, *_) = bound(node.target, node.args, node.kwargs, leaf.viewed())
    if isinstance(rule, Exact):
        (own,) = of_outputs(graph, index, replay(graph, leaf.bundle.parameters, index, state, index + 1))
        return own.flatten()[element].item(), 0.0
    return rule.value.flatten()[element].item(), rule.tolerance.flatten()[element].item()


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
