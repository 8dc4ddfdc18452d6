"""Checking a run without any chain: is what was claimed plausible, and if not, which operator is to blame?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tao.errors import ModelError
from tao.execution import replay
from tao.graph.states import of_outputs
from tao.model import ModelBundle
from tao.numerics.drift import DRIFT_THRESHOLD, drift_ratio
from tao.numerics.measure import measure
from tao.proofs import find_refutable_element
from tao.receipt import Receipt
from tao.tensors import commit


@dataclass(frozen=True)
class OperatorVerdict:
    """One operator, run on the claimed values before it.

    refutable: the output element furthest outside its sound bound, None where nothing is provable.
    exceedance: of the committed tolerance, as a member measures it; None without a profile.
    """

    node: int
    operator: str
    name: str
    refutable: int | None
    exceedance: float | None

    @property
    def accepted(self) -> bool:
        """Nothing provable, and within the tolerance profile."""
        return self.refutable is None and (self.exceedance is None or self.exceedance <= 1)


@dataclass(frozen=True)
class Report:
    """drift_ratio: deviation of the outputs over honest drift. operators: those whose states were given."""

    drift_ratio: float
    operators: tuple[OperatorVerdict, ...] = ()

    @property
    def plausible(self) -> bool:
        """The outputs could be an honest run's, and every operator examined is accepted."""
        return self.drift_ratio <= DRIFT_THRESHOLD and all(verdict.accepted for verdict in self.operators)

    @property
    def culprit(self) -> OperatorVerdict | None:
        """The first operator that is not accepted."""
        return next((verdict for verdict in self.operators if not verdict.accepted), None)


def verify(
    bundle: ModelBundle,
    receipt: Receipt,
    inputs: Sequence[Tensor],
    states: Mapping[int, Sequence[Tensor]] | None = None,
) -> Report:
    """Re-execute a run in single and double precision and compare.

    inputs: the graph's, as committed in the receipt. states: the claimed values live at cuts, in the order of
    `Graph.live`; every operator with both of its cuts among them gets a verdict. Raises ModelError where the
    receipt is not about these inputs or does not commit to its values.
    """
    if tuple(map(commit, inputs)) != receipt.inputs:
        raise ModelError("the receipt is about other inputs than those given")
    if tuple(map(commit, receipt.values)) != receipt.outputs:
        raise ModelError("the receipt's values are not those it commits to")
    graph, parameters = bundle.graph, bundle.parameters
    end = len(graph)
    single = replay(graph, parameters, 0, inputs, end)
    double = replay(graph, parameters, 0, inputs, end, dtype=torch.float64)
    states = states or {}
    verdicts = tuple(
        _examine(bundle, node, tuple(states[node]), tuple(states[node + 1]))
        for node in range(end)
        if node in states and node + 1 in states
    )
    return Report(drift_ratio(receipt.values, single, double), verdicts)


def _examine(
    bundle: ModelBundle, node: int, before: tuple[Tensor, ...], after: tuple[Tensor, ...]
) -> OperatorVerdict:
    graph = bundle.graph
    refutable = find_refutable_element(bundle, node, before, of_outputs(graph, node, after))
    exceedance = None if bundle.profile is None else measure(bundle, node, before, after).exceedance
    return OperatorVerdict(node, graph.nodes[node].operator, graph.names[node], refutable, exceedance)
