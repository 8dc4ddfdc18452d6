"""The challenger: re-executes claims, disputes the implausible ones, and plays to the end."""

import time
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tao.chain.reverts import Refused
from tao.errors import TooLarge
from tao.graph.states import of_outputs
from tao.model import ModelBundle
from tao.numerics.dot import THETA_ONE
from tao.numerics.measure import SegmentMeasurement
from tao.proofs import Plan, proof_plan
from tao.proofs.leaf import Leaf
from tao.protocol import actions
from tao.protocol.actions import Action
from tao.protocol.challenger import Exceeding
from tao.protocol.views import ClaimView, DisputeView
from tao.roles.admission import require_calibrated, require_inference
from tao.roles.context import Context
from tao.roles.disputant import Disputant, number
from tao.roles.journal import Done
from tao.roles.judge import ReplayJudge
from tao.roles.role import OVER, dispute_facts
from tao.roles.states import around, fetch_read, fetch_segment


class ChallengerRole(Disputant):
    """Watches the claims of one model."""

    name = "challenger"

    def __init__(self, context: Context, bundle: ModelBundle):
        super().__init__(context, bundle)
        require_calibrated(bundle)
        require_inference(bundle)
        self.judge = ReplayJudge(bundle, context.store, self._is_measured)

    def perform(self, action: Action) -> Done | None:
        match action:
            case actions.Accuse(dispute, element):
                return self._accuse(dispute, element)
            case _:
                return super().perform(action)

    def _reason(self, claim: ClaimView) -> tuple[str, dict[str, Any]]:
        found = self.judge.claims.get(claim.claim_id)
        if found is None:
            return "its tensors are not available", {"drift_ratio": None}
        return _measured(found), {"drift_ratio": number(found.drift_ratio)}

    def _verdict(self, claim: ClaimView) -> tuple[str, dict[str, Any]] | None:
        found = self.judge.claims.get(claim.claim_id)
        if found is None:
            return None
        verdict = "implausible" if self.judge.is_implausible(found) else "plausible"
        facts = {"drift_ratio": number(found.drift_ratio), "exceedance": number(found.exceedance)}
        return f"is {verdict}: {_measured(found)}", facts

    def _make_plan(self, dispute: DisputeView, element: int) -> Plan:
        return proof_plan(self.bundle, dispute.lo, *self._around(dispute), element)

    def _summed(self, dispute: DisputeView) -> Leaf:
        graph, (before, _) = self.bundle.graph, around(dispute)
        state = fetch_read(self.context.store, graph, dispute.lo, dispute.hi, before)
        return Leaf.before(self.bundle, dispute.lo, state)

    def _around(self, dispute: DisputeView) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """The state before the disputed operator, and the operator's outputs."""
        graph, (before, after) = self.bundle.graph, around(dispute)
        inputs, end = fetch_segment(self.context.store, graph, dispute.lo, before, dispute.hi, after)
        return inputs, of_outputs(graph, dispute.lo, end)

    def _accuse(self, dispute: DisputeView, element: int) -> Done:
        start = time.monotonic()
        plan, opening = self._plan(dispute, element), self.bundle.profile.open_node(dispute.lo)
        call = self.context.contracts.game.functions.accuse(
            dispute.dispute_id,
            self._leaf(dispute, True),
            plan.proof,
            opening.theta,
            opening.record_hash,
            [*opening.path, opening.segments_root],
        )
        try:
            sent = self.context.send(call, already=OVER)
        except (Refused, TooLarge):
            self._give_up(dispute, Exceeding)
            raise
        theta = opening.theta / THETA_ONE
        what = f"accused element {element} of {self._segment(dispute)} of a deviation above {theta:.3g}"
        facts = {"element": element, "theta": theta, "proof_bytes": len(plan.proof)}
        return self.done("accuse", what, start, sent, **facts, **dispute_facts(dispute))

    def _is_measured(self, operator: str) -> bool:
        adjudicator = self.context.contracts.adjudicator_of(operator)
        return adjudicator is not None and hasattr(adjudicator.functions, "exceeds")


def _measured(found: SegmentMeasurement) -> str:
    """What was found about the outputs, for people."""
    differs = "; integers differ that no tie explains" if found.differs else ""
    return f"deviation {found.excess:.3g} of the limit{differs}"
