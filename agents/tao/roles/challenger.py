"""The challenger: re-executes claims, disputes the implausible ones, and plays to the end."""

import time
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tao.chain.reverts import Refused
from tao.errors import ChainError
from tao.graph.states import of_outputs
from tao.model import ModelBundle
from tao.numerics.dot import THETA_ONE
from tao.numerics.drift import DRIFT_THRESHOLD
from tao.proofs import Plan, proof_plan
from tao.proofs.leaf import Leaf
from tao.protocol import actions
from tao.protocol.actions import Action
from tao.protocol.views import ClaimView, DisputeView
from tao.roles import sums
from tao.roles.admission import require_calibrated, require_inference
from tao.roles.context import Context
from tao.roles.disputant import Disputant, number
from tao.roles.journal import Done
from tao.roles.judge import ReplayJudge
from tao.roles.role import OVER, dispute_facts
from tao.roles.states import Ends, around, ends, fetch_read, fetch_segment

SECONDS_PER_TRANSACTION = 30
"""What to allow for each of many transactions in a row: two blocks of twelve seconds, and some."""


class ChallengerRole(Disputant):
    """Watches the claims of one model. See ReplayJudge for `threshold` and `grace`."""

    name = "challenger"

    def __init__(
        self, context: Context, bundle: ModelBundle, threshold: float = DRIFT_THRESHOLD, grace: int = 60
    ):
        super().__init__(context, bundle)
        require_calibrated(bundle)
        require_inference(bundle)
        self.judge = ReplayJudge(bundle, context.store, threshold, grace, self._is_measured)
        self._plans: dict[tuple[Ends, int], Plan] = {}

    def perform(self, action: Action) -> Done | None:
        match action:
            case actions.Support(dispute):
                return sums.supported(self, self._summed(dispute), dispute)
            case actions.Accuse(dispute, element):
                return self._accuse(dispute, element)
            case _:
                return super().perform(action)

    def _reason(self, claim: ClaimView) -> tuple[str, dict[str, Any]]:
        found = self.judge.claims.get(claim.claim_id)
        if found is None:
            return "its tensors are not available", {"drift_ratio": None}
        return f"drift ratio {found.drift_ratio:.3g}", {"drift_ratio": number(found.drift_ratio)}

    def _verdict(self, claim: ClaimView) -> tuple[str, dict[str, Any]] | None:
        found = self.judge.claims.get(claim.claim_id)
        if found is None:
            return None
        verdict = "implausible" if self.judge.is_implausible(found) else "plausible"
        facts = {"drift_ratio": number(found.drift_ratio), "exceedance": number(found.exceedance)}
        return f"is {verdict}: drift ratio {found.drift_ratio:.3g}", facts

    def _plan(self, dispute: DisputeView, element: int) -> Plan:
        """What decides the element; kept while its pieces are posted, one transaction a tick."""
        key = (ends(dispute, dispute.lo, dispute.hi), element)
        if key not in self._plans:
            self._plans[key] = proof_plan(self.bundle, dispute.lo, *self._around(dispute), element)
        return self._plans[key]

    def _summed(self, dispute: DisputeView) -> Leaf:
        """The operator whose sums are disputed; as they were asserted, if that was here: its operands may have
        been withdrawn since."""
        for (held, _), plan in self._plans.items():
            if held == ends(dispute, dispute.lo, dispute.hi):
                return plan.leaf
        graph, (before, _) = self.bundle.graph, around(dispute)
        state = fetch_read(self.context.store, graph, dispute.lo, dispute.hi, before)
        return Leaf.before(self.bundle, dispute.lo, state)

    def _around(self, dispute: DisputeView) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """The state before the disputed operator, and the operator's outputs."""
        graph, (before, after) = self.bundle.graph, around(dispute)
        inputs, end = fetch_segment(self.context.store, graph, dispute.lo, before, dispute.hi, after)
        return inputs, of_outputs(graph, dispute.lo, end)

    def _post(self, dispute: DisputeView, plan: Plan, start: float) -> Done | None:
        """Post the next pieces of the plan that are not on the chain, whoever posted the others, or assert their
        sums where they are many; None where all are there.

        Raises ChainError, and leaves the operator to the committee, where the clock would run out meanwhile.
        """
        adjudicator = self.context.contracts.adjudicator_of(self.bundle.graph.nodes[dispute.lo].operator)
        if adjudicator is None:
            return None
        keys = [piece.key for piece in plan.pieces]
        flags = adjudicator.functions.areKnown(keys).call()
        known = {key for key, is_known in zip(keys, flags, strict=True) if is_known}
        ahead, gas = plan.estimate(known)
        if not ahead:
            return None
        needed, purpose = ahead + 1, f"{ahead} transactions to post and one to prove"
        asserts = plan.whole is not None and dispute.sum is None and ahead > sums.MOST_POSTED
        if asserts:
            needed = sums.moves(ahead, dispute.fan_out)
            purpose = f"up to {needed} transactions to assert and to support"
        left = dispute.turn_start + dispute.challenger_left - self.judge.now
        if needed * SECONDS_PER_TRANSACTION > left:
            self.judge.unproven.add(dispute.dispute_id)
            raise ChainError(
                f"{self._segment(dispute)} takes {purpose}, for which the"
                f" {left} seconds left are too few; it is left to the committee"
            )
        try:
            if asserts:
                return sums.asserted(self, dispute, plan, self._leaf(dispute, True))
            posting = next(plan.postings(known))
            sent = self.context.send(adjudicator.functions.post(posting.pieces))
        except Refused:
            self.judge.unproven.add(dispute.dispute_id)
            raise
        posted, lanes = len(known) + len(posting.keys), sum(piece.lanes for piece in plan.pieces)
        what = (
            f"posted {posted} of {len(keys)} pieces of the {lanes:,} lanes that {self._segment(dispute)} sums"
        )
        if ahead > 1:
            what += f"; {ahead - 1} more transactions, about {gas - posting.gas:,} gas"
        facts = {"pieces": len(posting.keys), "posted": posted, "of": len(keys), "lanes": posting.lanes}
        return self.done(
            "post", what, start, sent, gas_estimate=posting.gas, **facts, **dispute_facts(dispute)
        )

    def _prove(self, dispute: DisputeView, element: int) -> Done | None:
        start, plan = time.monotonic(), self._plan(dispute, element)
        contracts, leaf, proof = self.context.contracts, self._leaf(dispute, True), plan.proof
        if sums.is_accepted(dispute, plan):
            (agreed,), (_, proof) = dispute.sum.partials, plan.whole
            call = contracts.sums.functions.prove(dispute.dispute_id, leaf, proof, agreed)
        elif plan.pieces and (posted := self._post(dispute, plan, start)):
            return posted
        else:
            call = contracts.game.functions.prove(dispute.dispute_id, leaf, proof)
        sent = self._send_proof(dispute, call)
        return self.done(
            "prove",
            f"proved element {element} of {self._segment(dispute)} wrong",
            start,
            sent,
            element=element,
            operator=self.bundle.graph.nodes[dispute.lo].operator,
            proof_bytes=len(proof),
            pieces=len(plan.pieces),
            **dispute_facts(dispute),
        )

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
        except Refused:
            self.judge.unaccused.add(dispute.dispute_id)  # the committee is left
            raise
        theta = opening.theta / THETA_ONE
        what = f"accused element {element} of {self._segment(dispute)} of a deviation above {theta:.3g}"
        facts = {"element": element, "theta": theta, "proof_bytes": len(plan.proof)}
        return self.done("accuse", what, start, sent, **facts, **dispute_facts(dispute))

    def _is_measured(self, operator: str) -> bool:
        adjudicator = self.context.contracts.adjudicator_of(operator)
        return adjudicator is not None and hasattr(adjudicator.functions, "exceeds")
