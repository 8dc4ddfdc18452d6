"""The scenes: one request each, served honestly or not, and played until the chain has decided."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed
from torch import Tensor

from demo import evidence
from demo.stage import Stage, Stuck
from tao.chain.local import let_pass
from tao.errors import ChainError
from tao.model import ModelBundle
from tao.protocol.views import ChainView, ClaimView, DisputeView, Outcome, Phase, Status
from tao.protocol.views import Stage as CaseStage
from tao.roles import client
from tao.roles.context import Context

ROUTES = {"prove": "proof", "settle": "vote", "timeout": "timeout"}
"""What the move that ended a dispute says about how it was decided."""

_LOOKING = Retrying(
    retry=retry_if_exception_type(ChainError), stop=stop_after_attempt(5), wait=wait_fixed(0.3), reraise=True
)


@dataclass
class Decided:
    """How a scene ended. Balances are wei before and after, by party."""

    name: str
    title: str
    node: int | None = None
    operator: str | None = None
    where: str | None = None
    route: str | None = None
    slashed: bool = False
    finalised: bool = False
    transactions: int = 0
    gas: int = 0
    bytes_fetched: int = 0
    seconds: float = 0.0
    evidence: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    balances: dict[str, tuple[int, int]] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As JSON; balances as ether before, after and their difference."""
        ether = {
            name: {"before": before / 1e18, "after": after / 1e18, "change": (after - before) / 1e18}
            for name, (before, after) in self.balances.items()
        }
        return asdict(self) | {"balances": ether, "seconds": round(self.seconds, 2)}


class Play:
    """The client's side of every scene, and the hand on the chain's clock.

    claimant, watcher: the commands that run who serves and those who check. praise: title of the first scene.
    """

    claimant, watcher = "prover", "challenger"
    praise = "an honest prover, nobody challenges"

    def __init__(self, stage: Stage, bundle: ModelBundle, context: Context):
        self.stage, self.bundle, self.context = stage, bundle, context

    @property
    def watchers(self) -> tuple[str, str]:
        """The parties who check."""
        return f"{self.watcher}-1", f"{self.watcher}-2"

    def honest(self, inputs: Sequence[Tensor], fee: int) -> Decided:
        """The honest one serves, both who watch find nothing wrong, the claim becomes final."""
        scene = Decided("honest", self.praise)
        claim_id = self._begin(scene, inputs, fee, (self.claimant,))
        self._wait_for_judges(claim_id)
        self._finish_window(claim_id)
        scene.finalised = self._claim(self._view(), claim_id).status is Status.FINALISED
        scene.evidence = self._found(claim_id)
        return self._end(scene, claim_id)

    def _found(self, claim_id: str) -> str:
        """What those who watch measured of an honest claim, and what the client got."""
        ratios = [line["drift_ratio"] for line in self.stage.has("judge", claim=claim_id)]
        embeddings = client.output(self.context, client.read(self.context, self._request).claim, 0)
        norm = round(embeddings[0].norm().item(), 4)
        shown = ", ".join(f"{ratio:.2g}" for ratio in ratios)
        return f"drift ratios {shown}; the client read {len(embeddings)} embeddings of length {norm}"

    def cheat(self, name: str, title: str, inputs: Sequence[Tensor], fee: int) -> Decided:
        """One who cheats serves, is disputed, and the chain decides."""
        scene = Decided(name, title)
        claim_id = self._begin(scene, inputs, fee, (name,))
        self.stage.wait_for("the claim to be refuted", lambda: self._settled(claim_id, name))
        view = self._view()
        scene.slashed = self._claim(view, claim_id).status is Status.REFUTED
        won = next(d for d in self._disputes(view, claim_id) if d.outcome is Outcome.CHALLENGER_WON)
        self._explain(scene, won)
        return self._end(scene, claim_id)

    def malicious_challenger(self, inputs: Sequence[Tensor], fee: int) -> Decided:
        """An honest claim is attacked; the attacker loses its bond and the claim becomes final."""
        scene = Decided("malicious-challenger", f"a malicious {self.watcher} attacks an honest claim")
        claim_id = self._begin(scene, inputs, fee, (self.claimant, "attacker"))
        self.stage.wait_for("the attack to be settled", lambda: self._settled(claim_id, "", 1))
        (lost,) = self._disputes(self._view(), claim_id)
        scene.slashed = lost.outcome is Outcome.PROVER_WON
        self._explain(scene, lost)
        self._finish_window(claim_id)
        scene.finalised = self._claim(self._view(), claim_id).status is Status.FINALISED
        return self._end(scene, claim_id)

    def _begin(self, scene: Decided, inputs: Sequence[Tensor], fee: int, parties: tuple[str, ...]) -> str:
        self._started = time.monotonic()
        self._parties = (*parties, *self.watchers)
        self._fetched = self._bytes_fetched()
        scene.balances = {name: (self._wealth(name), 0) for name in self._parties}
        done = client.request(self.context, self.bundle, inputs, fee)
        self._request = bytes.fromhex(done.details["request"][2:])
        self._own = [done.record()]
        (line, *_) = self.stage.wait_for(
            f"{parties[0]} to claim", lambda: self.stage.has("claim", request=done.details["request"])
        )
        return line["claim"]

    def _wait_for_judges(self, claim_id: str) -> None:
        for name in self.watchers:
            self.stage.wait_for(
                f"{name} to judge the claim",
                lambda name=name: self.stage.has("judge", party=name, claim=claim_id),
            )

    def _settled(self, claim_id: str, prover: str, disputes: int = 1) -> bool:
        """Whether every dispute of the claim has ended; moves the clock where everybody waits for it."""
        view = self._view()
        found = self._disputes(view, claim_id)
        for dispute in found:
            self._nudge(view, dispute, prover)
        return len(found) >= disputes and all(d.phase is Phase.CLOSED for d in found)

    def _nudge(self, view: ChainView, dispute: DisputeView, prover: str) -> None:
        case = dispute.case
        if dispute.phase is Phase.REVEAL and prover == "falls-silent":
            let_pass(self.stage.w3, dispute.turn_start + dispute.prover_left + 1 - view.now)
        elif (
            case
            and case.panel
            and case.stage is CaseStage.COMMIT
            and all(c != bytes(32) for c, _ in case.votes.values())
        ):
            let_pass(self.stage.w3, case.commit_end + 1 - view.now)

    def _finish_window(self, claim_id: str) -> None:
        view = self._view()
        let_pass(self.stage.w3, max(1, self._claim(view, claim_id).window_end + 1 - view.now))
        self.stage.wait_for("the claim to become final", lambda: self.stage.has("finalise", claim=claim_id))

    def _explain(self, scene: Decided, dispute: DisputeView) -> None:
        """Operator, route and evidence, from the dispute and what was logged about it."""
        self.stage.listen()
        lines = self._lines(dispute=identifier(dispute.dispute_id))
        (last, *_) = [line for line in lines if line["action"] in ROUTES and line["transaction"]]
        scene.route = ROUTES[last["action"]]
        if dispute.hi - dispute.lo == 1:
            scene.node = dispute.node
            scene.operator = self.bundle.graph.nodes[dispute.node].operator
            scene.where = self.bundle.graph.names[dispute.node]
        self._show(scene, dispute, lines, last)

    def _show(
        self, scene: Decided, dispute: DisputeView, lines: list[dict[str, Any]], last: dict[str, Any]
    ) -> None:
        """The evidence. lines: logged about the dispute. last: that of the move that ended it."""
        if scene.route == "vote":
            scene.details = {"votes": evidence.votes(lines)}
        elif scene.route == "timeout":
            scene.details = {"phase": "reveal"}
        elif "element" in last:
            scene.details = evidence.element_proven(self.bundle, self.context.store, dispute, last["element"])
        scene.evidence = evidence.sentence(scene.route, scene.details)

    def _end(self, scene: Decided, claim_id: str) -> Decided:
        self.stage.listen()
        scene.seconds = time.monotonic() - self._started
        disputes = {identifier(d.dispute_id) for d in self._disputes(self._view(), claim_id)}
        lines = [*self._own, *self._lines(claim=claim_id)]
        lines += [line for line in self.stage.lines if line.get("dispute") in disputes]
        sent = {line["transaction"]: line["gas"] for line in lines if line.get("transaction")}
        scene.transactions, scene.gas = len(sent), sum(sent.values())
        scene.bytes_fetched = self._bytes_fetched() - self._fetched
        scene.balances = {name: (before, self._wealth(name)) for name, (before, _) in scene.balances.items()}
        return scene

    def _lines(self, **fields: Any) -> list[dict[str, Any]]:
        return [line for line in self.stage.lines if all(line.get(k) == v for k, v in fields.items())]

    def _bytes_fetched(self) -> int:
        """What those who watch and the members have read from the store so far."""
        latest: dict[str, int] = {}
        for line in self.stage.lines:
            if "bytes_fetched" in line and line["role"] in (self.watcher, "member"):
                latest[line["party"]] = line["bytes_fetched"]
        return sum(latest.values())

    def _wealth(self, name: str) -> int:
        return self.stage.wealth(self.stage.parties[name].account.address, self.context)

    def _view(self) -> ChainView:
        """Looked at again where the node has a block and not yet its events."""
        return _LOOKING.copy()(self.context.reader.view, {self.bundle.model_id})

    def _claim(self, view: ChainView, claim_id: str) -> ClaimView:
        found = [claim for claim in view.claims if identifier(claim.claim_id) == claim_id]
        if not found:
            raise Stuck(f"the claim {claim_id} is not on the chain")
        return found[0]

    def _disputes(self, view: ChainView, claim_id: str) -> list[DisputeView]:
        return [dispute for dispute in view.disputes if identifier(dispute.claim.claim_id) == claim_id]


def identifier(value: bytes) -> str:
    """An id as the logs write it."""
    return "0x" + value.hex()
