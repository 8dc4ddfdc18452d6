"""Whole scenes of the game on the real contracts, one line each, for the tests named after attacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from support.deployment import Deployment
from support.encoding import OUTPUT_FLAG, ZERO, state_hash, vote_hash
from support.proofs import prove
from support.wire import Receipt

ACCEPT, REJECT = 1, 2
PHASES = ("none", "reveal", "select", "leaf", "answer", "defence", "doubt", "split", "vote", "closed")
OUTCOMES = ("open", "challenger won", "prover won", "undecided", "moot")
STATUS = ("unknown", "pending", "disputed", "finalisable", "finalised", "refuted")
STAGES = ("none", "announced", "commit", "reveal", "tallying", "ended")


class Play:
    """Actors with names, and their moves. A `story` is what a prover says about a run (game.stories)."""

    def __init__(self, deployment: Deployment, accounts: Sequence[str]):
        self.deployment, self.wire, self.rules = deployment, deployment.wire, deployment.rules
        self.prover, self.challenger, self.friend, self.watcher, self.client, self.stranger = accounts[:6]
        self.members = list(accounts[6:13])
        self.models: dict[tuple, bytes] = {}

    # ---- plumbing

    def send(self, sender: str, contract: str, method: str, *args: Any, **options: Any) -> Receipt:
        return self.wire.send(sender, getattr(self.deployment, contract), method, *args, **options)

    def read(self, contract: str, method: str, *args: Any) -> Any:
        return self.wire.call(getattr(self.deployment, contract), method, *args)

    @property
    def time(self) -> int:
        return self.wire.now()[0]

    def wait_until(self, second: int) -> None:
        self.wire.mine(at=second)

    # ---- claims

    def register(self, network: Any) -> bytes:
        if network.commitment not in self.models:
            receipt = self.send(self.stranger, "models", "register", network.commitment, "")
            self.models[network.commitment] = receipt.event("ModelRegistered")["modelId"]
        return self.models[network.commitment]

    def claim(self, story: Any, prover: str | None = None, request: bytes = ZERO, **options: Any) -> bytes:
        receipt = self.send(
            prover or self.prover,
            "claims",
            "claim",
            self.register(story.network),
            request,
            story.inputs,
            story.outputs,
            story.checkpoint_root,
            value=self.rules.prover_bond,
            **options,
        )
        return receipt.event("Claimed")["claimId"]

    def request(self, story: Any, fee: int, salt: int = 0) -> bytes:
        model = self.register(story.network)
        receipt = self.send(self.client, "claims", "request", model, story.inputs, salt, value=fee)
        return receipt.event("RequestPosted")["requestId"]

    def status(self, claim: bytes) -> str:
        return STATUS[self.read("claims", "statusOf", claim)]

    # ---- disputes

    def open(self, claim: bytes, challenger: str | None = None, **options: Any) -> bytes:
        bond = self.rules.challenger_bond
        receipt = self.send(challenger or self.challenger, "game", "open", claim, value=bond, **options)
        return receipt.event("DisputeOpened")["disputeId"]

    def dispute(self, dispute: bytes) -> dict[str, Any]:
        names = (
            "claim",
            "challenger",
            "phase",
            "outcome",
            "demands_left",
            "lo",
            "hi",
            "lo_state",
            "hi_state",
            "boundaries",
            "demanded",
            "prover_left",
            "challenger_left",
            "turn_start",
            "node_count",
        )
        entry = dict(zip(names, self.read("game", "getDispute", dispute), strict=True))
        return entry | {"phase": PHASES[entry["phase"]], "outcome": OUTCOMES[entry["outcome"]]}

    def deadline(self, dispute: bytes) -> int:
        return self.read("game", "deadlineOf", dispute)

    def cuts(self, dispute: bytes) -> list[int]:
        entry = self.dispute(dispute)
        lo, hi = entry["lo"], entry["hi"]
        unit = entry["node_count"] if hi - lo > entry["node_count"] else 1
        degree = min(self.rules.fan_out, (hi - lo) // unit)
        quotient, remainder = divmod((hi - lo) // unit, degree)
        return [lo + (i * quotient + min(i, remainder)) * unit for i in range(degree + 1)]

    def inner_states(self, dispute: bytes, story: Any) -> list[list[bytes]]:
        return [[value.commitment for value in story.states[cut]] for cut in self.cuts(dispute)[1:-1]]

    def reveal(self, dispute: bytes, story: Any, prover: str | None = None, **options: Any) -> list[bytes]:
        """Returns the hashes at the cuts, which `select` wants."""
        entry, states = self.dispute(dispute), self.inner_states(dispute, story)
        segment, paths = self.segment(dispute), story.paths(self.cuts(dispute))
        self.send(prover or self.prover, "game", "reveal", dispute, *segment, states, paths, **options)
        return [entry["lo_state"], *map(state_hash, states), entry["hi_state"]]

    def segment(self, dispute: bytes) -> tuple[int, int]:
        entry = self.dispute(dispute)
        return entry["lo"], entry["hi"]

    def select(
        self, dispute: bytes, hashes: list[bytes], child: int, sender: str | None = None, **options: Any
    ) -> None:
        """In the segment as it stands, unless another `segment` is given."""
        lo, hi = options.pop("segment", None) or self.segment(dispute)
        who = sender or self.dispute(dispute)["challenger"]
        self.send(who, "game", "select", dispute, lo, hi, hashes, child, **options)

    def escalate(self, dispute: bytes, sender: str | None = None, **options: Any) -> Receipt:
        """The segment as it stands, unless another `segment` is given."""
        lo, hi = options.pop("segment", None) or self.segment(dispute)
        return self.send(sender or self.challenger, "game", "escalate", dispute, lo, hi, **options)

    def descend(self, dispute: bytes, story: Any, node: int, prover: str | None = None) -> None:
        """Reveal and select until operator `node` is the leaf."""
        while self.dispute(dispute)["phase"] == "reveal":
            cuts = self.cuts(dispute)
            hashes = self.reveal(dispute, story, prover)
            self.select(dispute, hashes, next(i for i in range(len(cuts) - 1) if node < cuts[i + 1]))
        assert self.dispute(dispute)["lo"] == node

    def to_leaf(self, story: Any, node: int | None = None) -> bytes:
        """Claim, open and descend to the lie, or to `node`."""
        dispute = self.open(self.claim(story))
        self.descend(dispute, story, story.lie if node is None else node)
        return dispute

    # ---- the leaf

    def leaf(self, story: Any, node: int) -> tuple:
        """The LeafClaim for operator `node` of the story."""
        record = story.network.record(node)
        outputs = [ZERO] * len(record.outputs)
        for value, entry in zip(story.states[node + 1], record.after, strict=False):
            if entry >= OUTPUT_FLAG:
                outputs[entry - OUTPUT_FLAG] = value.commitment
        before = [value.commitment for value in story.states[node]]
        return record.packed, story.network.path(node), before, outputs

    def output(self, story: Any, node: int) -> Any:
        return story.states[node + 1][story.network.record(node).after.index(OUTPUT_FLAG)]

    def proof(self, story: Any, node: int, element: int | None = None) -> Any:
        """Proof about the false element, or about `element`, of the output of `node`."""
        element = story.false_element if element is None else element
        network, before = story.network, story.states[node]
        return prove(network, network.node(node), before, self.output(story, node), element)

    def prove(self, dispute: bytes, story: Any, sender: str | None = None, **options: Any) -> Receipt:
        leaf, proof = self.leaf(story, story.lie), self.proof(story, story.lie).encoded
        return self.send(sender or self.challenger, "game", "prove", dispute, leaf, proof, **options)

    def accuse(
        self,
        dispute: bytes,
        story: Any,
        measured: int,
        sender: str | None = None,
        at: int | None = None,
        **changed: Any,
    ) -> Receipt:
        """Accuse the disputed operator of an element at `measured` times 2^-16; `changed` are parts of the
        threshold that are not the node's.
        """
        node, network = self.dispute(dispute)["lo"], story.network
        theta = changed.get("theta", network.theta(node))
        other = changed.get("other", network.tolerance_hash(node))
        path = changed.get("path", network.tolerance_path(node))
        leaf, proof = self.leaf(story, node), measured.to_bytes(32, "big")
        who = sender or self.challenger
        return self.send(who, "game", "accuse", dispute, leaf, proof, theta, other, path, at=at)

    # ---- the committee

    def seat(self, members: Sequence[str] | None = None) -> None:
        """For the claims of the seconds to come."""
        for member in self.members if members is None else members:
            self.send(member, "committee", "join", value=self.rules.stake)
        self.wait_until(self.time + 1)

    def stage(self, case: bytes) -> str:
        return STAGES[self.read("committee", "stageOf", case)]

    def draw(self, case: bytes) -> list[str]:
        seed_block = self.read("committee", "seedBlockOf", case)
        missing = seed_block - self.wire.now()[1]
        if missing > 0:
            self.wire.mine(missing)
        self.send(self.stranger, "committee", "draw", case)
        return list(self.read("committee", "panelOf", case))

    def ballot(self, case: bytes, member: str, vote: int, salt: bytes = b"\1" * 32) -> bytes:
        return vote_hash(self.wire.chain_id, self.rules.committee, case, member, vote, b"", salt)

    def commit(self, case: bytes, member: str, vote: int) -> None:
        self.send(member, "committee", "commit", case, self.ballot(case, member, vote))

    def reveal_vote(self, case: bytes, member: str, vote: int) -> None:
        self.send(member, "committee", "reveal", case, vote, b"", b"\1" * 32)

    def vote(self, case: bytes, votes: Mapping[str, int]) -> None:
        """Commit, wait for the rest of the panel to miss its time, reveal, and be ready to tally."""
        for member, vote in votes.items():
            self.commit(case, member, vote)
        commit_end, reveal_end = self.read("committee", "deadlinesOf", case)
        if self.stage(case) == "commit":
            self.wait_until(commit_end + 1)
        for member, vote in votes.items():
            self.reveal_vote(case, member, vote)
        if self.stage(case) == "reveal":
            self.wait_until(reveal_end + 1)

    # ---- money

    def credit(self, account: str) -> int:
        return self.read("vault", "creditOf", account)

    def burned(self) -> int:
        return self.read("vault", "totalBurned")
