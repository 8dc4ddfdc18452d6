"""The scenes of training: a request each, served honestly or not, and played until the chain has decided."""

from __future__ import annotations

from typing import Any

from demo.scenes import Decided, Play
from tao.chain.local import let_pass
from tao.protocol.views import ChainView, DisputeView, Phase


class TrainingPlay(Play):
    """The same scenes of a training run, which auditors check."""

    claimant, watcher = "trainer", "auditor"
    praise = "an honest trainer, nobody disputes"

    def _found(self, claim_id: str) -> str:
        (claim,) = self.stage.has("claim", claim=claim_id)
        audits = self.stage.has("judge", claim=claim_id)
        steps = ", ".join(f"{line['steps']} steps in {line['audit_seconds']:.1f} s" for line in audits)
        return f"replayed bit for bit: {steps}; {claim['log_bytes']:,} bytes of log"

    def _nudge(self, view: ChainView, dispute: DisputeView, prover: str) -> None:
        """Time passes where a liar has nothing to show."""
        if dispute.phase is Phase.LEAF and self.stage.has("problem", role="attacker"):
            let_pass(self.stage.w3, dispute.turn_start + dispute.challenger_left + 1 - view.now)

    def _show(
        self, scene: Decided, dispute: DisputeView, lines: list[dict[str, Any]], last: dict[str, Any]
    ) -> None:
        step = dispute.lo // dispute.node_count
        scene.details = {"step": step} | {key: last[key] for key in ("element", "proof_bytes") if key in last}
        if scene.where is not None:
            scene.where = f"step {step}, {scene.where}"
        element = f"element {last['element']} proven wrong" if "element" in last else last["what"]
        scene.evidence = f"step {step}: {element}"
