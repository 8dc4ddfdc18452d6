"""The auditor: replays claimed training runs bit for bit, disputes what does not follow, and proves it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import Tensor

from tao.errors import ModelError, StoreError
from tao.model import ModelBundle
from tao.proofs import leaf_claim
from tao.protocol import actions, challenger
from tao.protocol.actions import Action
from tao.protocol.challenger import Finding, Inconsistent, Measured, Missing, Refutable
from tao.protocol.views import ChainView, ClaimView, DisputeView
from tao.roles.context import Context
from tao.roles.journal import Done
from tao.roles.role import OVER, Role, dispute_facts, short
from tao.roles.states import around, fetch, fetch_value, is_consistent, of_outputs
from tao.tensors import commit
from tao.training.audit import AuditReport, audit
from tao.training.checkpoints import Trail
from tao.training.examine import StepReplay, find_proof
from tao.training.job import TrainingClaim, TrainingJob
from tao.training.log import LogError
from tao.training.record import read_log, rebuild
from tao.training.replay import Replay


@dataclass
class _Case:
    """A claim under audit. report: None while the store does not have what is claimed. steps: replayed in disputes."""

    job: TrainingJob
    trail: Trail
    report: AuditReport | None = None
    steps: dict[int, StepReplay] = field(default_factory=dict)


class AuditJudge:
    """A challenger.Judge that replays runs and compares bits.

    grace: seconds after the claim from which on missing checkpoints, logs or inputs count against the trainer.
    """

    def __init__(self, context: Context, bundle: ModelBundle, grace: int) -> None:
        self.context, self.bundle, self.grace = context, bundle, grace
        self.now = 0
        self.replay = Replay(bundle.graph, bundle.parameters, strict=False)
        self.cases: dict[bytes, _Case] = {}
        self.proofs: dict[bytes, tuple[int, bytes]] = {}

    def suspicious(self, claim: ClaimView) -> bool:
        """True iff a replayed step does not lead where the claim says, or parts are missing after the grace."""
        try:
            case = self._case(claim)
            if case.report is None:
                case.report = audit(
                    case.job,
                    self.context.store,
                    TrainingClaim(
                        claim.model_id, claim.inputs, claim.outputs, claim.checkpoint_root or bytes(32)
                    ),
                    owner=claim.prover,
                    progress=lambda what: self.context.journal.progress(
                        f"claim {short(claim.claim_id)}, {what}"
                    ),
                )
        except (StoreError, ModelError):
            return self.now > claim.claimed_at + self.grace
        return not case.report.is_equal

    def deviation(self, dispute: DisputeView, child: int) -> float:
        """Infinite for the child in which the first step, or operator, lies that does not follow; else 0."""
        hi, size = dispute.cuts[child + 1], dispute.node_count
        case = self._case(dispute.claim)
        difference = case.report.difference if case.report else None
        if dispute.spans_steps:
            first = 0 if difference is None else difference.step
            return math.inf if first < hi // size else 0.0
        replayed = self._replayed(dispute)
        end = hi - dispute.lo // size * size
        if replayed.blamed is not None and replayed.blamed < end:
            return math.inf
        own = [commit(tensor) for tensor in replayed.states[end]]
        return 0.0 if own == list(dispute.states[hi]) else math.inf

    def accumulated(self, dispute: DisputeView) -> float:
        """Bits are equal or not: nothing adds up."""
        return 0.0

    def examine(self, dispute: DisputeView) -> Finding:
        """What is wrong with the operator left: its states' form, or an element with its proof."""
        graph, node = self.bundle.graph, dispute.node
        before, after = around(dispute)
        if not is_consistent(graph, node, before, node + 1, after):
            return Inconsistent()
        try:
            inputs = self._inputs(dispute)
            outputs = [
                fetch_value(self.context.store, graph, value, held)
                for value, held in zip(graph.nodes[node].outputs, of_outputs(graph, node, after), strict=True)
            ]
        except StoreError:
            return self._missing(dispute)
        found = find_proof(self.replay, self.bundle, node, inputs, outputs)
        if found is None:
            return Measured(0.0)
        self.proofs[dispute.dispute_id] = found
        return Refutable(found[0])

    def difference(self, claim: ClaimView) -> str:
        """What the audit found, in words."""
        report = self._case(claim).report
        return "its parts are not available" if report is None else str(report.difference)

    def _case(self, claim: ClaimView) -> _Case:
        if claim.claim_id not in self.cases:
            job = TrainingJob(self.bundle, fetch(self.context.store, self.bundle.graph, 0, claim.inputs))
            trail = Trail(self.context.store, claim.model_id, claim.inputs, claim.prover)
            self.cases[claim.claim_id] = _Case(job, trail)
        return self.cases[claim.claim_id]

    def _replayed(self, dispute: DisputeView) -> StepReplay:
        """The disputed step, replayed with the log that the trainer committed to."""
        case, step = self._case(dispute.claim), dispute.lo // dispute.node_count
        if step not in case.steps:
            found = case.report.difference if case.report else None
            if found is not None and found.step == step:
                state = found.before
            else:
                state = rebuild(case.job, case.trail, step, self.replay)
            cuts = range(dispute.node_count + 1)
            case.steps[step] = replayed = StepReplay(
                self.replay, state, self._log(dispute, case, step), step, cuts
            )
            if found is not None and found.step == step and found.node is not None:
                replayed.blamed = found.node if replayed.blamed is None else min(replayed.blamed, found.node)
        return case.steps[step]

    def _log(self, dispute: DisputeView, case: _Case, step: int) -> Tensor:
        boundary = dispute.states.get((step + 1) * dispute.node_count)
        if boundary is not None and self.context.store.has_tensor(boundary[-1]):
            return self.context.store.get_tensor(boundary[-1])
        try:
            return read_log(case.job, case.trail, case.trail.read(step + 1))
        except LogError:
            return case.job.initial[-1]  # none that can be read: the replay rounds by itself

    def _inputs(self, dispute: DisputeView) -> list[Tensor]:
        """The values before the operator, which are one's own as far as they are right."""
        replayed = self._replayed(dispute)
        own = replayed.states.get(dispute.node)
        before, _ = around(dispute)
        if own is not None and [commit(tensor) for tensor in own] == list(before):
            return own
        return list(fetch(self.context.store, self.bundle.graph, dispute.node, before))

    def _missing(self, dispute: DisputeView) -> Missing:
        """The first output that cannot be had; each demand asks for another chunk."""
        graph, node = self.bundle.graph, self.bundle.graph.nodes[dispute.node]
        _, after = around(dispute)
        for slot, commitment in enumerate(of_outputs(graph, dispute.node, after)):
            if not self.context.store.has_tensor(commitment):
                kind = graph.types[node.outputs[slot]]
                row, chunk = divmod(
                    dispute.demands_left % (kind.rows * kind.chunks_per_row), kind.chunks_per_row
                )
                return Missing(True, slot, (row << kind.row_height) + chunk)
        raise StoreError(
            f"the values around operator {dispute.lo} were missing a moment ago and are there now"
        )


class AuditorRole(Role):
    """Watches the claims of one training job and disputes those whose replay differs."""

    name = "auditor"

    def __init__(self, context: Context, bundle: ModelBundle, grace: int = 60) -> None:
        super().__init__(context)
        if bundle.steps == 1:
            raise ModelError(f"the model 0x{bundle.model_id.hex()} runs one step; watch it as a challenger")
        self.bundle = bundle
        self.judge = AuditJudge(context, bundle, grace)
        self._told: set[bytes] = set()

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
