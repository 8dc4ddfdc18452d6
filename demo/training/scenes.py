"""The scenes of training: a request each, served honestly or not, and played until the chain has decided."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from demo.scenes import Decided, Play, identifier
from tao.chain.local import let_pass
from tao.protocol.views import ChainView, DisputeView, Phase, Status

AUDITORS = ("auditor-1", "auditor-2")


class TrainingPlay(Play):
    """The client's side of every scene, and the hand on the chain's clock."""

    watchers = AUDITORS

    def honest(self, inputs: Sequence[Tensor], fee: int) -> Decided:
        """An honest trainer serves, both auditors replay its run, the claim becomes final."""
        scene = Decided("honest", "an honest trainer, nobody disputes")
        claim_id = self._begin(scene, inputs, fee, ("trainer",))
        self._wait_for_judges(claim_id)
        self._finish_window(claim_id)
        scene.finalised = self._claim(self._view(), claim_id).status is Status.FINALISED
        (claim,) = self.stage.has("claim", claim=claim_id)
        audits = self.stage.has("judge", claim=claim_id)
        steps = ", ".join(f"{line['steps']} steps in {line['audit_seconds']:.1f} s" for line in audits)
        scene.evidence = f"replayed bit for bit: {steps}; {claim['log_bytes']:,} bytes of log"
        return self._end(scene, claim_id)

    def malicious_auditor(self, inputs: Sequence[Tensor], fee: int) -> Decided:
        """An honest claim is attacked; the attacker loses its bond and the claim becomes final."""
        scene = Decided("malicious-challenger", "a malicious auditor attacks an honest claim")
        claim_id = self._begin(scene, inputs, fee, ("trainer", "attacker"))
        self.stage.wait_for("the attack to be settled", lambda: self._settled(claim_id, "", 1))
        (lost,) = self._disputes(self._view(), claim_id)
        scene.slashed = lost.outcome.name == "PROVER_WON"
        self._explain(scene, lost)
        self._finish_window(claim_id)
        scene.finalised = self._claim(self._view(), claim_id).status is Status.FINALISED
        return self._end(scene, claim_id)

    def _nudge(self, view: ChainView, dispute: DisputeView, prover: str) -> None:
        """Time passes where a liar has nothing to show."""
        if dispute.phase is Phase.LEAF and self.stage.has("problem", role="attacker"):
            let_pass(self.stage.w3, dispute.turn_start + dispute.challenger_left + 1 - view.now)

    def _explain(self, scene: Decided, dispute: DisputeView) -> None:
        self.stage.listen()
        lines = self._lines(dispute=identifier(dispute.dispute_id))
        ends = [
            line for line in lines if line["action"] in ("prove", "settle", "timeout") and line["transaction"]
        ]
        scene.route = {"prove": "proof", "settle": "vote", "timeout": "timeout"}[ends[0]["action"]]
        step = dispute.lo // dispute.node_count
        scene.details = {"step": step} | {
            key: ends[0][key] for key in ("element", "proof_bytes") if key in ends[0]
        }
        if dispute.hi - dispute.lo == 1:
            scene.node = dispute.node
            scene.operator = self.bundle.graph.nodes[dispute.node].operator
            scene.where = f"step {step}, {self.bundle.graph.names[dispute.node]}"
        element = f"element {ends[0]['element']} proven wrong" if "element" in ends[0] else ends[0]["what"]
        scene.evidence = f"step {step}: {element}"
