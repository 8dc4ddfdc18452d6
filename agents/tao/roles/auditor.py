"""The auditor: replays claimed training runs bit for bit, disputes what does not follow, and proves it."""

from __future__ import annotations

from typing import Any

from tao.display import size
from tao.errors import ModelError
from tao.model import ModelBundle
from tao.proofs import Plan
from tao.proofs.leaf import Leaf
from tao.protocol.views import ClaimView, DisputeView
from tao.roles.audit_judge import AuditJudge
from tao.roles.context import Context
from tao.roles.disputant import Disputant
from tao.roles.states import ends


class AuditorRole(Disputant):
    """Watches the claims of one training job and disputes those whose replay differs."""

    name = "auditor"

    def __init__(self, context: Context, bundle: ModelBundle, grace: int = 60) -> None:
        super().__init__(context, bundle)
        if bundle.steps == 1:
            raise ModelError(f"the model 0x{bundle.model_id.hex()} runs one step; watch it as a challenger")
        display = context.journal.display
        self.judge = AuditJudge(bundle, context.store, grace, display, self._is_over)

    def _make_plan(self, dispute: DisputeView, element: int) -> Plan:
        _, plan = self.judge.plans[ends(dispute, dispute.lo, dispute.hi)]
        return plan

    def _summed(self, dispute: DisputeView) -> Leaf:
        return Leaf.before(self.bundle, dispute.node, self.judge.operands(dispute))

    def _reason(self, claim: ClaimView) -> tuple[str, dict[str, Any]]:
        return self.judge.difference(claim), {}

    def _verdict(self, claim: ClaimView) -> tuple[str, dict[str, Any]] | None:
        case = self.judge.cases.get(claim.claim_id)
        if case is None or case.report is None:
            return None
        report = case.report
        spent = f"{case.pace.summary()}, {size(case.bytes_read)} read"
        verdict = f"{report.steps} steps equal" if report.is_equal else str(report.difference)
        settled = f"{sum(map(len, report.corrections))} roundings settled by the log"
        facts = {"equal": report.is_equal, "steps": report.steps}
        said = f"replayed {spent}: {verdict}; {settled}"
        return said, {"audit_seconds": round(sum(report.seconds), 3), **facts}
