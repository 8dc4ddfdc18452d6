"""The challenger: re-executes claims, disputes the implausible ones, and plays to the end."""

import time
from collections.abc import Iterable, Sequence

from torch import Tensor
from web3.contract import Contract

from tao.chain.reverts import Refused
from tao.errors import ChainError
from tao.model import ModelBundle
from tao.numerics.drift import DRIFT_THRESHOLD
from tao.numerics.profile import THETA_ONE
from tao.proofs import Plan, leaf_claim, proof_plan
from tao.protocol import actions, challenger
from tao.protocol.actions import Action
from tao.protocol.views import ChainView, ClaimView, DisputeView
from tao.roles import sums
from tao.roles.context import Context
from tao.roles.journal import Done
from tao.roles.judge import ReplayJudge
from tao.roles.measure import require_calibrated, require_inference
from tao.roles.role import OVER, Role, dispute_facts, short
from tao.roles.states import around, fetch_segment, of_outputs
from tao.tensors.keccak import keccak

UNPROVEN = ("NotRefuted", "NoAdjudicator")
"""Refusals by which an adjudicator leaves the operator to the committee."""

SECONDS_PER_TRANSACTION = 30
"""What to allow for each of many transactions in a row: two blocks of twelve seconds, and some."""


class ChallengerRole(Role):
    """Watches the claims of one model. See ReplayJudge for `threshold` and `grace`."""

    name = "challenger"

    def __init__(
        self, context: Context, bundle: ModelBundle, threshold: float = DRIFT_THRESHOLD, grace: int = 60
    ):
        super().__init__(context)
        require_calibrated(bundle)
        require_inference(bundle)
        self.bundle = bundle
        self.judge = ReplayJudge(bundle, context.store, threshold, grace, self._is_measured)
        self._told: set[bytes] = set()
        self._plans: dict[tuple[bytes, int], Plan] = {}

    def view(self) -> ChainView:
        return self.context.reader.view({self.bundle.model_id})

    def decide(self, view: ChainView) -> Iterable[Action]:
        self.judge.now = view.now
        yield from challenger.decide(view, self.address, self.judge, frozenset({self.bundle.model_id}))
        for claim in view.claims:
            self._tell(claim)

    def perform(self, action: Action) -> Done | None:
        start, game = time.monotonic(), self.context.contracts.game.functions
        match action:
            case actions.Open(claim):
                return self._open(claim, start)
            case actions.Select(dispute, child, deviation):
                call = game.select(dispute.dispute_id, list(dispute.hashes), child)
                sent = self.context.send(call, already=OVER)
                what = f"selected child {child} of operators {dispute.lo} to {dispute.hi - 1}"
                details = {"child": child, "deviation": _number(deviation)}
            case actions.ProveInconsistent(dispute):
                _, after = around(dispute)
                call = game.proveInconsistent(dispute.dispute_id, self._leaf(dispute, False), list(after))
                sent = self.context.send(call, already=OVER)
                what, details = (
                    f"proved that the states around {self._node(dispute)} do not fit its record",
                    {},
                )
            case actions.Prove(dispute, element):
                return self._prove(dispute, element, start)
            case actions.Support(dispute):
                return sums.supported(self, self.bundle, dispute, self._around(dispute)[0])
            case actions.Accuse(dispute, element):
                return self._accuse(dispute, element, start)
            case actions.DemandChunk(dispute, of_output, index, chunk):
                leaf = self._leaf(dispute, True)
                sent = self.context.send(
                    game.demand(dispute.dispute_id, leaf, of_output, index, chunk), already=OVER
                )
                value = f"{'output' if of_output else 'operand'} {index}"
                what = f"demanded chunk {chunk} of {value} of {self._node(dispute)}"
                details = {"chunk": chunk}
            case actions.Escalate(dispute, exceedance):
                sent = self.context.send(game.escalate(dispute.dispute_id), already=OVER)
                if dispute.hi - dispute.lo > 1:
                    which = f"operators {dispute.lo} to {dispute.hi - 1}"
                else:
                    which = self._node(dispute)
                what = f"put {which} to the committee (exceedance {exceedance:.3g})"
                details = {"exceedance": _number(exceedance)}
            case actions.Concede(dispute, reason):
                sentence = f"gave up dispute {short(dispute.dispute_id)} at {self._node(dispute)}: {reason}"
                self.context.journal.problem(self.name, f"Concede {short(dispute.dispute_id)}", sentence)
                return None
            case _:
                return self.upkeep(action)
        name = {
            "Select": "select",
            "ProveInconsistent": "prove",
            "DemandChunk": "demand",
            "Escalate": "escalate",
        }
        return self.done(name[type(action).__name__], what, start, sent, **details, **dispute_facts(dispute))

    def _open(self, claim: ClaimView, start: float) -> Done:
        sent = self.context.send(
            self.context.contracts.game.functions.open(claim.claim_id),
            value=self.context.reader.challenger_bond,
            already=("DuplicateDispute", "NotChallengeable"),
        )
        found = self.judge.claims.get(claim.claim_id)
        ratio = None if found is None else found.drift_ratio
        why = "its tensors are not available" if ratio is None else f"drift ratio {ratio:.3g}"
        what = f"disputed claim {short(claim.claim_id)}: {why}"
        return self.done(
            "open", what, start, sent, claim="0x" + claim.claim_id.hex(), drift_ratio=_number(ratio)
        )

    def _plan(self, dispute: DisputeView, element: int) -> Plan:
        """What decides the element; kept while its pieces are posted, one transaction a tick."""
        key = (dispute.dispute_id, element)
        if key not in self._plans:
            self._plans[key] = proof_plan(self.bundle, dispute.lo, *self._around(dispute), element)
        return self._plans[key]

    def _around(self, dispute: DisputeView) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """The state before the disputed operator, and the operator's outputs."""
        graph, (before, after) = self.bundle.graph, around(dispute)
        inputs, end = fetch_segment(self.context.store, graph, dispute.lo, before, dispute.hi, after)
        return inputs, of_outputs(graph, dispute.lo, end)

    def _post(self, dispute: DisputeView, plan: Plan, start: float) -> Done | None:
        """Post the next pieces of the plan that are not on the chain, whoever posted the others; None where
        all are there.

        Raises ChainError, and leaves the operator to the committee, where the clock would run out meanwhile.
        """
        adjudicator = self._adjudicator(self.bundle.graph.nodes[dispute.lo].operator)
        if adjudicator is None:
            return None
        keys = [piece.key for piece in plan.pieces]
        flags = adjudicator.functions.areKnown(keys).call()
        known = {key for key, is_known in zip(keys, flags, strict=True) if is_known}
        ahead, gas = plan.estimate(known)
        if not ahead:
            return None
        if plan.whole and dispute.sum is None and ahead > sums.MOST_POSTED:
            try:
                return sums.asserted(self, dispute, plan, self._leaf(dispute, True))
            except Refused:
                self.judge.unproven.add(dispute.dispute_id)
                raise
        left = dispute.turn_start + dispute.challenger_left - self.judge.now
        if (ahead + 1) * SECONDS_PER_TRANSACTION > left:
            self.judge.unproven.add(dispute.dispute_id)
            raise ChainError(
                f"{self._node(dispute)} takes {ahead} transactions to post and one to prove, for which the"
                f" {left} seconds left are too few; it is left to the committee"
            )
        posting = next(plan.postings(known))
        try:
            sent = self.context.send(adjudicator.functions.post(posting.pieces))
        except Refused:
            self.judge.unproven.add(dispute.dispute_id)
            raise
        posted, lanes = len(known) + len(posting.keys), sum(piece.lanes for piece in plan.pieces)
        what = f"posted {posted} of {len(keys)} pieces of the {lanes:,} lanes that {self._node(dispute)} sums"
        if ahead > 1:
            what += f"; {ahead - 1} more transactions, about {gas - posting.gas:,} gas"
        facts = {"pieces": len(posting.keys), "posted": posted, "of": len(keys), "lanes": posting.lanes}
        return self.done(
            "post", what, start, sent, gas_estimate=posting.gas, **facts, **dispute_facts(dispute)
        )

    def _prove(self, dispute: DisputeView, element: int, start: float) -> Done | None:
        graph, plan = self.bundle.graph, self._plan(dispute, element)
        contracts, leaf, proof = self.context.contracts, self._leaf(dispute, True), plan.proof
        if sums.is_accepted(dispute, plan):
            (agreed,), (_, proof) = dispute.sum.partials, plan.whole
            call = contracts.sums.functions.prove(dispute.dispute_id, leaf, proof, agreed)
        elif plan.pieces and (posted := self._post(dispute, plan, start)):
            return posted
        else:
            call = contracts.game.functions.prove(dispute.dispute_id, leaf, proof)
        try:
            sent = self.context.send(call, already=OVER)  # The gas estimate is the simulation.
        except Refused as refusal:
            if refusal.error in UNPROVEN:
                self.judge.unproven.add(dispute.dispute_id)
            raise
        return self.done(
            "prove",
            f"proved element {element} of {self._node(dispute)} wrong",
            start,
            sent,
            element=element,
            operator=graph.nodes[dispute.lo].operator,
            proof_bytes=len(proof),
            pieces=len(plan.pieces),
            **dispute_facts(dispute),
        )

    def _accuse(self, dispute: DisputeView, element: int, start: float) -> Done:
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
        what = f"accused element {element} of {self._node(dispute)} of a deviation above {theta:.3g}"
        facts = {"element": element, "theta": theta, "proof_bytes": len(plan.proof)}
        return self.done("accuse", what, start, sent, **facts, **dispute_facts(dispute))

    def _adjudicator(self, operator: str) -> Contract | None:
        """The contract that decides an operator, None where there is none that this build knows."""
        contracts = self.context.contracts
        code = keccak(operator.encode())[:4]
        return contracts.adjudicators.get(contracts.game.functions.adjudicatorOf(code).call())

    def _is_measured(self, operator: str) -> bool:
        adjudicator = self._adjudicator(operator)
        return adjudicator is not None and hasattr(adjudicator.functions, "exceeds")

    def _leaf(self, dispute: DisputeView, with_outputs: bool) -> dict:
        """The LeafClaim; its outputs are ignored, and may not exist, where the states are inconsistent."""
        before, after = around(dispute)
        outputs = of_outputs(self.bundle.graph, dispute.lo, after) if with_outputs else ()
        return leaf_claim(self.bundle, dispute.lo, before, outputs)

    def _node(self, dispute: DisputeView) -> str:
        return f"operator {dispute.lo} ({self.bundle.graph.names[dispute.lo]})"

    def _tell(self, claim: ClaimView) -> None:
        found = self.judge.claims.get(claim.claim_id)
        if found is None or claim.claim_id in self._told:
            return
        self._told.add(claim.claim_id)
        verdict = "implausible" if self.judge.is_implausible(found) else "plausible"
        what = f"claim {short(claim.claim_id)} is {verdict}: drift ratio {found.drift_ratio:.3g}"
        facts = {
            "claim": "0x" + claim.claim_id.hex(),
            "drift_ratio": _number(found.drift_ratio),
            "exceedance": _number(found.exceedance),
        }
        self.context.journal.done(self.done("judge", what, time.monotonic(), **facts))


def _number(value: float | None) -> float | str | None:
    """JSON has no infinity."""
    return str(value) if value is not None and value in (float("inf"), float("-inf")) else value
