"""Checking a run without any chain: is what was claimed plausible, and if not, which operator is to blame?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from torch import Tensor

from tao.errors import ModelError
from tao.graph import Graph
from tao.graph.states import is_consistent, of_outputs
from tao.model import ModelBundle
from tao.numerics.drift import DRIFT_THRESHOLD
from tao.numerics.measure import measure, measure_segment
from tao.proofs import find_refutable_element
from tao.receipt import Receipt
from tao.tensors import TensorType, commit


@dataclass(frozen=True)
class OperatorVerdict:
    """One operator, run on the claimed values before it.

    consistent: whether the values that pass by it are unchanged; where they are not, nothing else is looked at.
    refutable: the output element furthest outside its sound bound, None where nothing is provable.
    exceedance: of the committed tolerance, as a member measures it. Without a profile it is of the honest drift, and
    None where the outputs are plausible: other honest kernels may drift further in one operator than in a whole run.
    """

    node: int
    operator: str
    name: str
    consistent: bool
    refutable: int | None
    exceedance: float | None

    @property
    def accepted(self) -> bool:
        """Nothing provable, and within the tolerance."""
        within = self.exceedance is None or self.exceedance <= 1
        return self.consistent and self.refutable is None and within


@dataclass(frozen=True, repr=False)
class Report:
    """drift_ratio: deviation of the outputs over honest drift; infinite where an integer differs that no tie explains,
    and where the model has no result on the inputs. operators: those with both of their states known."""

    drift_ratio: float
    operators: tuple[OperatorVerdict, ...] = ()

    @property
    def plausible(self) -> bool:
        """The outputs could be an honest run's, and every operator examined is accepted.

        Where an honest run has NaN, so must the claimed one, and is plausible; but NaN says nothing of what was
        computed before it, and no honest prover claims a run that ends in one.
        """
        return self.drift_ratio <= DRIFT_THRESHOLD and all(verdict.accepted for verdict in self.operators)

    @property
    def culprit(self) -> OperatorVerdict | None:
        """The first operator that is not accepted."""
        return next((verdict for verdict in self.operators if not verdict.accepted), None)

    def __repr__(self) -> str:
        culprit = "" if self.culprit is None else f", culprit={self.culprit}"
        return f"Report(plausible={self.plausible}, drift_ratio={self.drift_ratio:.3g}{culprit})"


def verify(
    bundle: ModelBundle,
    receipt: Receipt,
    inputs: Sequence[Tensor],
    states: Mapping[int, Sequence[Tensor]] | None = None,
) -> Report:
    """Re-execute a run in single and double precision and compare.

    inputs: the graph's, as committed in the receipt. states: the claimed values live at cuts, in the order of
    `Graph.live`; every operator with both of its cuts among them gets a verdict. A run begins and ends as its receipt
    says, whatever the last state is, so that who altered the outputs afterwards is found at the last operator.

    Raises ModelError where the receipt or the first state is not about these inputs, the receipt does not commit to
    its values, or values are not of the graph's types.
    """
    if not isinstance(receipt, Receipt):
        raise ModelError(f"a {type(receipt).__name__} is no receipt; give what `run` returned")
    if tuple(map(commit, inputs)) != receipt.inputs:
        raise ModelError("the receipt is about other inputs than those given")
    if tuple(map(commit, receipt.values)) != receipt.outputs:
        raise ModelError("the receipt's values are not those it commits to")
    graph, end = bundle.graph, len(bundle.graph)
    _require_types(graph, end, receipt.values, "the receipt's values")
    claimed = _claimed(graph, receipt, inputs, {} if states is None else states)
    commitments = {cut: tuple(map(commit, state)) for cut, state in claimed.items()}
    found = measure_segment(bundle, 0, tuple(inputs), end, receipt.values)
    drift = found.drift
    verdicts = []
    for node in range(end):
        if node in claimed and node + 1 in claimed:
            consistent = is_consistent(graph, node, commitments[node], node + 1, commitments[node + 1])
            around = claimed[node], claimed[node + 1]
            found = _measured(bundle, node, *around, drift > DRIFT_THRESHOLD) if consistent else (None, inf)
            verdicts.append(
                OperatorVerdict(node, graph.nodes[node].operator, graph.names[node], consistent, *found)
            )
    return Report(drift, tuple(verdicts))


def _claimed(
    graph: Graph, receipt: Receipt, inputs: Sequence[Tensor], states: Mapping[int, Sequence[Tensor]]
) -> dict[int, tuple[Tensor, ...]]:
    """The values claimed at cuts: at the ends the receipt's."""
    end = len(graph)
    if not isinstance(states, Mapping) or not all(
        isinstance(state, tuple | list) for state in states.values()
    ):
        raise ModelError("states are a mapping of cuts to tuples of tensors; give them as `capture` does")
    for cut, state in states.items():
        if cut not in range(end + 1):
            raise ModelError(f"a state is given for cut {cut}, which is not within 0 to {end}")
        _require_types(graph, cut, state, f"the state at cut {cut}")
    if 0 in states and tuple(map(commit, states[0])) != receipt.inputs:
        raise ModelError("the states begin with other inputs than the receipt: they are of another run")
    return {cut: tuple(state) for cut, state in states.items()} | {0: tuple(inputs), end: receipt.values}


def _require_types(graph: Graph, cut: int, state: Sequence[Tensor], what: str) -> None:
    expected, found = [graph.types[value] for value in graph.live(cut)], list(map(TensorType.of, state))
    if found != expected:
        given, wanted = (", ".join(map(str, types)) or "nothing" for types in (found, expected))
        raise ModelError(f"{what}: {given}; the graph has {wanted} there")


def _measured(
    bundle: ModelBundle,
    node: int,
    before: tuple[Tensor, ...],
    after: tuple[Tensor, ...],
    is_implausible: bool,
) -> tuple[int | None, float | None]:
    """What is refutable of an operator, and by how much its tolerance is exceeded, as in its verdict."""
    exceedance = None
    if bundle.profile is not None:
        exceedance = measure(bundle, node, before, after).exceedance
    elif is_implausible:
        found = measure_segment(bundle, node, before, node + 1, after)
        exceedance = found.drift / DRIFT_THRESHOLD
    return find_refutable_element(bundle, node, before, of_outputs(bundle.graph, node, after)), exceedance
