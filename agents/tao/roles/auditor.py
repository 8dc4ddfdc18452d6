"""The auditor: replays claimed training runs bit for bit, disputes what does not follow, and proves it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from tao.errors import ModelError, TaoError
from tao.model import ModelBundle
from tao.proofs import leaf_claim
from tao.protocol import actions, challenger
from tao.protocol.actions import Action
from tao.protocol.views import ChainView, ClaimView, DisputeView
from tao.roles.audit_judge import AuditJudge
from tao.roles.context import Context
from tao.roles.journal import Done
from tao.roles.role import OVER, Role, dispute_facts, short
from tao.roles.states import around, of_outputs


class AuditorRole(Role):
    """Watches the claims of one training job and disputes those whose replay differs."""

    name = "auditor"

    def __init__(self, context: Context, bundle: ModelBundle, grace: int = 60) -> None:
        super().__init__(context)
        if bundle.steps == 1:
            raise ModelError(f"the model 0x{bundle.model_id.hex()} runs one step; watch it as a challenger")
        self.bundle = bundle
        self.judge = AuditJudge(bundle, context.store, grace, context.journal.progress)
        self._told: set[bytes] = set()

    def view(self) -> ChainView:
        return self.context.reader.view({self.bundle.model_id})

    def decide(self, view: ChainView) -> Iterable[Action]:
        self.judge.now = view.now
        for part in self._parts(view):
            try:
                yield from challenger.decide(
                    part, self.address, self.judge, frozenset({self.bundle.model_id})
                )
            except TaoError as error:
                self.context.journal.problem(self.name, "decide", str(error))
        for claim in view.claims:
            self._tell(claim)

    def _parts(self, view: ChainView) -> Iterator[ChainView]:
        """Each of its disputes, and the claims that it has not disputed: one that fails holds up no other."""
        mine = [dispute for dispute in view.disputes if dispute.challenger == self.address]
        for dispute in sorted(mine, key=lambda dispute: dispute.turn_start + dispute.challenger_left):
            yield replace(view, claims=(), disputes=(dispute,))
        disputed = {dispute.claim.claim_id for dispute in mine}
        for claim in sorted(view.claims, key=lambda claim: claim.window_end):
            if claim.claim_id not in disputed:
                yield replace(view, claims=(claim,), disputes=())

    def perform(self, action: Action) -> Done | None:
        start, game = time.monotonic(), self.context.contracts.game.functions
        match action:
            case actions.Open(claim):
                bond = self.context.reader.challenger_bond
                already = ("DuplicateDispute", "NotChallengeable")
                sent = self.context.send(game.open(claim.claim_id), value=bond, already=already)
                what = f"disputed claim {short(claim.claim_id)}: {self.judge.difference(claim)}"
                return self.done("open", what, start, sent, claim="0x" + claim.claim_id.hex())
            case actions.Select(dispute, child, _):
                call = game.select(dispute.dispute_id, list(dispute.hashes), child)
                name, what, details = (
                    "select",
                    f"selected child {child} of {self._segment(dispute)}",
                    {"child": child},
                )
            case actions.ProveInconsistent(dispute):
                _, after = around(dispute)
                call = game.proveInconsistent(dispute.dispute_id, self._leaf(dispute, False), list(after))
                name, details = "prove", {}
                what = f"proved that the states around {self._segment(dispute)} do not fit its record"
            case actions.Prove(dispute, element):
                _, proof = self.judge.proofs[dispute.dispute_id]
                call = game.prove(dispute.dispute_id, self._leaf(dispute, True), proof)
                name, what = "prove", f"proved element {element} of {self._segment(dispute)} wrong"
                operator = self.bundle.graph.nodes[dispute.node].operator
                details = {"element": element, "operator": operator, "proof_bytes": len(proof)}
            case actions.DemandChunk(dispute, of_output, index, chunk):
                call = game.demand(dispute.dispute_id, self._leaf(dispute, True), of_output, index, chunk)
                name, what, details = (
                    "demand",
                    f"demanded chunk {chunk} of {self._segment(dispute)}",
                    {"chunk": chunk},
                )
            case actions.Escalate(dispute, _):
                call = game.escalate(dispute.dispute_id)
                name, what, details = "escalate", f"put {self._segment(dispute)} to the committee", {}
            case actions.Concede(dispute, _):
                where = self._segment(dispute)
                sentence = f"gave up dispute {short(dispute.dispute_id)}: no element of {where} is wrong"
                self.context.journal.problem(self.name, f"Concede {short(dispute.dispute_id)}", sentence)
                return None
            case _:
                return self.upkeep(action)
        sent = self.context.send(call, already=OVER)
        return self.done(name, what, start, sent, **details, **dispute_facts(dispute))

    def _leaf(self, dispute: DisputeView, with_outputs: bool) -> dict:
        before, after = around(dispute)
        outputs = of_outputs(self.bundle.graph, dispute.node, after) if with_outputs else ()
        return leaf_claim(self.bundle, dispute.node, before, outputs)

    def _segment(self, dispute: DisputeView) -> str:
        size = dispute.node_count
        if dispute.spans_steps:
            return f"steps {dispute.lo // size} to {dispute.hi // size - 1}"
        if dispute.hi - dispute.lo > 1:
            return f"operators {dispute.lo % size} to {(dispute.hi - 1) % size} of step {dispute.lo // size}"
        return (
            f"operator {dispute.node} ({self.bundle.graph.names[dispute.node]}) of step {dispute.lo // size}"
        )

    def _tell(self, claim: ClaimView) -> None:
        case = self.judge.cases.get(claim.claim_id)
        if case is None or case.report is None or claim.claim_id in self._told:
            return
        self._told.add(claim.claim_id)
        report = case.report
        verdict = f"{report.steps} steps equal" if report.is_equal else str(report.difference)
        corrections = sum(map(len, report.corrections))
        what = f"claim {short(claim.claim_id)}: {verdict}; {corrections} roundings settled by the log"
        facts = {"claim": "0x" + claim.claim_id.hex(), "equal": report.is_equal, "steps": report.steps}
        seconds = round(sum(report.seconds), 3)
        self.context.journal.done(self.done("judge", what, time.monotonic(), audit_seconds=seconds, **facts))
