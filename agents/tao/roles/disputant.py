"""Whoever disputes: watches the claims of one model, disputes the wrong ones, and plays to the end. What is
wrong, and how it is proven, subclasses say."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from tao.chain.reverts import Refused
from tao.chain.sender import Sent
from tao.errors import ChainError, TooLarge
from tao.graph.states import of_outputs
from tao.model import ModelBundle
from tao.proofs import Plan, leaf_claim
from tao.proofs.leaf import Leaf
from tao.protocol import actions, challenger
from tao.protocol.actions import Action
from tao.protocol.views import ChainView, ClaimView, DisputeView, Phase
from tao.roles import sums
from tao.roles.context import Context
from tao.roles.funds import Bonded
from tao.roles.journal import Done
from tao.roles.role import OVER, dispute_facts, short
from tao.roles.states import Ends, around, disputed, ends

UNPROVEN = ("NotRefuted", "NoAdjudicator")
"""Refusals by which an adjudicator leaves the operator to the committee."""

SECONDS_PER_TRANSACTION = 30
"""What to allow for each of many transactions in a row: two blocks of twelve seconds, and some."""

ATTEMPTS = 3
"""Of sending a proof that is refused or too large for a transaction; then it is left to the committee, too. What fails
for the connection, the fee or want of ether is certain none the less, and tried until the clock ends."""


class Disputant(Bonded):
    """Goes by `judge`."""

    judge: Any  # a challenger.Judge, of which subclasses know more
    moves_gas = 15_000_000  # the dearest proof that one transaction may hold, and what comes before it

    def __init__(self, context: Context, bundle: ModelBundle) -> None:
        super().__init__(context)
        self.bundle = bundle
        self._now = 0
        self._given_up: defaultdict[bytes, set[type]] = defaultdict(set)
        self._told: set[bytes] = set()
        self._failed: Counter[bytes | tuple[bytes, int, int]] = Counter()
        self._plans: dict[tuple[Ends, int], Plan] = {}
        self._leaves: dict[Ends, Leaf] = {}

    @abstractmethod
    def _verdict(self, claim: ClaimView) -> tuple[str, dict[str, Any]] | None:
        """What was found about a claim, for people and for the log; None where it was not judged."""

    @abstractmethod
    def _reason(self, claim: ClaimView) -> tuple[str, dict[str, Any]]:
        """Why a claim is disputed, for people and for the log."""

    @abstractmethod
    def _make_plan(self, dispute: DisputeView, element: int) -> Plan:
        """What shows on chain that an element of the operator left is wrong."""

    @abstractmethod
    def _summed(self, dispute: DisputeView) -> Leaf:
        """The operator left, with the operands whose sums are disputed."""

    def view(self) -> ChainView:
        return self.context.reader.view({self.bundle.model_id})

    @property
    def bond(self) -> int:
        return self.context.reader.challenger_bond

    def decide(self, view: ChainView) -> Iterable[Action]:
        self._now = view.now
        mine = [dispute for dispute in view.disputes if dispute.challenger == self.address]
        self._under_way = sum(dispute.phase is not Phase.CLOSED for dispute in mine)
        yield from self._withdrawals(view.block)
        self._forget(view)
        models = frozenset({self.bundle.model_id})
        parts = challenger.parts(view, self.address)
        yield from self._each(
            (part for part in parts if isinstance(part, DisputeView) or not self._is_over()),
            lambda part: challenger.move(
                part, view, self.address, self.judge, models, self._given_up_in(part)
            ),
        )
        for claim in view.claims:
            self._tell(claim)

    def _forget(self, view: ChainView) -> None:
        """Keep what is known about the segments now disputed alone: it holds their tensors."""
        self.judge.forget(view)
        running = disputed(view)
        self._plans = {key: plan for key, plan in self._plans.items() if key[0] in running}
        self._leaves = {key: leaf for key, leaf in self._leaves.items() if key in running}

    def perform(self, action: Action) -> Done | None:
        start, game = time.monotonic(), self.context.contracts.game.functions
        match action:
            case actions.Open(claim):
                return self._open(claim)
            case actions.Prove(dispute, element):
                return self._prove(dispute, element)
            case actions.Support(dispute):
                return self._support(dispute)
            case actions.Select(dispute, child, deviation):
                name, details = "select", {"child": child, "deviation": number(deviation)}
                what = f"selected child {child} of {self._segment(dispute)}"
                call = game.select(dispute.dispute_id, dispute.lo, dispute.hi, list(dispute.hashes), child)
            case actions.ProveInconsistent(dispute):
                name, details = "prove", {}
                what = f"proved that the states around {self._segment(dispute)} do not fit its record"
                _, after = around(dispute)
                call = game.proveInconsistent(dispute.dispute_id, self._leaf(dispute, False), list(after))
            case actions.DemandChunk(dispute, of_output, index, chunk):
                name, details = "demand", {"chunk": chunk}
                value = f"{'output' if of_output else 'operand'} {index}"
                what = f"demanded chunk {chunk} of {value} of {self._segment(dispute)}"
                call = game.demand(dispute.dispute_id, self._leaf(dispute, True), of_output, index, chunk)
            case actions.Escalate(dispute, exceedance):
                name, details = "escalate", {"exceedance": number(exceedance)}
                what = f"put {self._segment(dispute)} to the committee (exceedance {exceedance:.3g})"
                call = game.escalate(dispute.dispute_id, dispute.lo, dispute.hi)
            case actions.Concede(dispute, reason):
                which = short(dispute.dispute_id)
                sentence = f"gave up dispute {which} at {self._segment(dispute)}: {reason}"
                self.context.journal.problem(self.name, f"Concede {which}", sentence)
                return None
            case _:
                return self.upkeep(action)
        sent = self.context.send(call, already=OVER)
        return self.done(name, what, start, sent, **details, **dispute_facts(dispute))

    def _open(self, claim: ClaimView) -> Done | None:
        """None while there is no ether for another bond."""
        if not self._may_bond():
            return None
        start = time.monotonic()
        sent = self.context.send(
            self.context.contracts.game.functions.open(claim.claim_id),
            value=self.bond,
            already=("DuplicateDispute", "NotChallengeable"),
        )
        self._under_way += not sent.already
        why, facts = self._reason(claim)
        what = f"disputed claim {short(claim.claim_id)}: {why}"
        return self.done("open", what, start, sent, claim="0x" + claim.claim_id.hex(), **facts)

    def _plan(self, dispute: DisputeView, element: int) -> Plan:
        """What decides the element; kept while its pieces are posted, one transaction a tick."""
        about = ends(dispute, dispute.lo, dispute.hi)
        if (about, element) not in self._plans:
            self._plans[about, element] = plan = self._make_plan(dispute, element)
            self._leaves[about] = plan.leaf
        return self._plans[about, element]

    def _asserted(self, dispute: DisputeView) -> Leaf:
        """The operator whose sums are disputed; as they were asserted, if that was here: its operands may have
        been withdrawn since."""
        about = ends(dispute, dispute.lo, dispute.hi)
        if about not in self._leaves:
            self._leaves[about] = self._summed(dispute)
        return self._leaves[about]

    def _support(self, dispute: DisputeView) -> Done:
        """Stand by the doubted sums. A range whose pieces cannot be posted is split, however short."""
        range_doubted = dispute.dispute_id, dispute.sum.lo, dispute.sum.hi
        try:
            splits = self._failed[range_doubted] >= ATTEMPTS
            return sums.supported(self, self._asserted(dispute), dispute, splits)
        except ChainError as error:
            self._failed[range_doubted] += isinstance(error, TooLarge)
            raise

    def _post(self, dispute: DisputeView, plan: Plan, start: float) -> Done | None:
        """Post the next pieces of the plan that are not on the chain, whoever posted the others, or assert their
        sums where they are many; None where all are there.

        Raises ChainError, and leaves the operator to the committee, where the clock would run out meanwhile.
        """
        adjudicator = self.context.contracts.adjudicator_of(self.bundle.graph.nodes[dispute.node].operator)
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
        left = dispute.turn_start + dispute.challenger_left - self._now
        if needed * SECONDS_PER_TRANSACTION > left:
            self._give_up(dispute, challenger.Refutable)
            raise ChainError(
                f"{self._segment(dispute)} takes {purpose}, for which the"
                f" {left} seconds left are too few; it is left to the committee"
            )
        try:
            if asserts:
                return sums.asserted(self, dispute, plan, self._leaf(dispute, True))
            posting = next(plan.postings(known))
            sent = self.context.send(adjudicator.functions.post(posting.pieces))
        except ChainError as error:
            self._failure(dispute, error, isinstance(error, Refused))
            raise
        self._failed[dispute.dispute_id] = 0
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
            operator=self.bundle.graph.nodes[dispute.node].operator,
            proof_bytes=len(proof),
            pieces=len(plan.pieces),
            **dispute_facts(dispute),
        )

    def _send_proof(self, dispute: DisputeView, call: Any) -> Sent:
        """The gas estimate is the simulation. Raises ChainError where the proof is not taken."""
        try:
            return self.context.send(call, already=OVER)
        except ChainError as error:
            self._failure(dispute, error, isinstance(error, Refused) and error.error in UNPROVEN)
            raise

    def _give_up(self, dispute: DisputeView, kind: type[challenger.Finding]) -> None:
        """Show no finding of this kind any more: what else there is, or the committee, has to do."""
        self._given_up[dispute.dispute_id].add(kind)

    def _given_up_in(self, part: DisputeView | ClaimView) -> challenger.GivenUp:
        return self._given_up.get(part.dispute_id, ()) if isinstance(part, DisputeView) else ()

    def _failure(self, dispute: DisputeView, error: ChainError, is_final: bool) -> None:
        """Leave the operator to the committee, at once or after some more failures that do not pass."""
        self._failed[dispute.dispute_id] += isinstance(error, (Refused, TooLarge))
        if is_final or self._failed[dispute.dispute_id] >= ATTEMPTS:
            self._give_up(dispute, challenger.Refutable)

    def _leaf(self, dispute: DisputeView, with_outputs: bool) -> dict:
        """The LeafClaim; its outputs are ignored, and may not exist, where the states are inconsistent."""
        before, after = around(dispute)
        outputs = of_outputs(self.bundle.graph, dispute.node, after) if with_outputs else ()
        return leaf_claim(self.bundle, dispute.node, before, outputs)

    def _segment(self, dispute: DisputeView) -> str:
        """What is disputed, for people."""
        step, size = dispute.lo // dispute.node_count, dispute.node_count
        if dispute.spans_steps:
            return f"steps {step} to {dispute.hi // size - 1}"
        of_step = f" of step {step}" if self.bundle.steps > 1 else ""
        if dispute.hi - dispute.lo > 1:
            return f"operators {dispute.node} to {(dispute.hi - 1) % size}{of_step}"
        return f"operator {dispute.node} ({self.bundle.graph.names[dispute.node]}){of_step}"

    def _tell(self, claim: ClaimView) -> None:
        if claim.claim_id in self._told:
            return
        if claim.prover == self.address and claim.is_open:
            self._told.add(claim.claim_id)
            own = f"claim {short(claim.claim_id)} is this account's own, which another one has to check"
            self.context.journal.note(self.name, own)
        if (found := self._verdict(claim)) is None:
            return
        self._told.add(claim.claim_id)
        verdict, facts = found
        what, claim_id = f"claim {short(claim.claim_id)} {verdict}", "0x" + claim.claim_id.hex()
        self.context.journal.done(self.done("judge", what, time.monotonic(), claim=claim_id, **facts))


def number(value: float | None) -> float | str | None:
    """JSON has no infinity."""
    return str(value) if value is not None and value in (float("inf"), float("-inf")) else value
