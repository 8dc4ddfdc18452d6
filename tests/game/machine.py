"""The base of the stateful tests: a move goes to the contracts and to the reference; then everything is
compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from game.committee import Ballot
from game.disputes import Dispute, LeafClaim, Phase
from game.reference import Reference
from game.rules import Model, Now, Refused
from game.stories import Ghost, Story, Value, hash_of, networks, stories
from support.deployment import Deployment
from support.encoding import OUTPUT_FLAG, Type
from support.sums import Row
from support.wire import Contract, Receipt, Reverted

MALFORMED = {
    "WrongOpeningCount",
    "WrongChunkLength",
    "WrongPathLength",
    "RunOutOfRange",
    "RunNotCovered",
    "OperandMismatch",
    "OutputMismatch",
    "ElementOutOfRange",
    "WindowTooLow",
    "WindowOutOfRange",
    "MalformedProof",
    "WrongTensorCount",
    "no data",
    "Panic",
}


class Machine(RuleBasedStateMachine):
    """Keeps the contracts and the reference in step, and the provers' data that the chain has only hashes
    of.
    """

    def __init__(self, deployment: Deployment, accounts: Sequence[str], moves: Counter):
        super().__init__()
        self.deployment, self.wire, self.rules = deployment, deployment.wire, deployment.rules
        self.moves = moves
        self.snapshot = self.wire.snapshot()
        self.time, self.block = self.wire.now()
        self.reference = Reference(self.rules)
        self.provers = list(accounts[0:2])
        self.challengers = list(accounts[2:5])
        self.members = [accounts[0], accounts[2], *accounts[5:10]]
        self.client, self.stranger = accounts[10], accounts[11]
        self.accounts = list(accounts[0:12])
        self.model_ids: dict[str, bytes] = {}
        self.known_states = {hash_of(state): state for story in stories() for state in story.states}
        self.tensors = {value.commitment: value for state in self.known_states.values() for value in state}
        self.known_boundaries: dict[bytes, list[bytes]] = {}
        self.demands: dict[bytes, tuple[bytes, Type, int]] = {}
        self.told: dict[bytes, Story] = {}
        self.focus: Callable[[Story], bool] = lambda story: True
        self.rows: dict[bytes, Row] = {}
        self.secrets: dict[tuple[bytes, str], tuple] = {}
        for name, network in networks().items():
            self.model_ids[name] = self.move(
                "register",
                self.stranger,
                "models",
                "register",
                (network.commitment, name),
                lambda now, receipt, network=network: self.reference.register(
                    Model(network.commitment, network.records)
                ),
            )
        for member in self.members[:5]:
            self.move(
                "join",
                member,
                "committee",
                "join",
                (),
                lambda now, _, member=member: self.reference.committee.join(now, member, self.rules.stake),
                value=self.rules.stake,
            )

    def teardown(self) -> None:
        self.wire.restore(self.snapshot)

    # ---- one move

    def move(
        self,
        kind: str,
        sender: str,
        contract: str,
        method: str,
        args: tuple,
        effect: Callable[[Now, Receipt | None], Any],
        value: int = 0,
        at: int | None = None,
    ) -> Any:
        """Send, then apply to the reference; both refuse with the same error or both succeed. Returns its
        result.
        """
        now = Now(max(self.time, at or self.time), self.block + 1)
        target: Contract = getattr(self.deployment, contract)
        receipt, result, error, expected = None, None, None, None
        try:
            receipt = self.wire.send(sender, target, method, *args, value=value, at=now.time)
        except Reverted as reverted:
            error = reverted.error
        self.time, self.block = now
        try:
            result = effect(now, receipt)
        except Refused as refused:
            expected = refused.error
        agree = error in MALFORMED if expected == "Malformed" else error == expected
        assert agree, f"{method}: the contract says {error}, the reference {expected}"
        self.moves[kind] += expected is None
        self.moves["legal" if expected is None else "illegal"] += 1
        self.moves[f"{kind}: {expected}"] += expected is not None
        self.compare()
        return result

    def pass_time(self, at: int) -> None:
        self.wire.mine(at=at)
        self.time, self.block = at, self.block + 1
        self.compare()

    def edges(self) -> list[int]:
        """Deadlines ahead that are worth waiting for."""
        reference = self.reference
        ahead = [reference.disputes.deadline(dispute) for dispute in reference.disputes.disputes]
        ahead += [
            end for case in reference.committee.cases.values() for end in (case.commit_end, case.reveal_end)
        ]
        ahead += [seat.leaves_at for seat in reference.committee.seats.values()]
        ahead += [reference.claims.window_end(claim) for claim in reference.claims.claims]
        return sorted({edge for edge in ahead if self.time < edge < self.time + self.rules.window})[:3]

    def compare(self) -> None:
        """All observable state, and the conservation of ether."""
        expectations = [
            *self._expect_vault(),
            *self._expect_claims(),
            *self._expect_disputes(),
            *self._expect_sums(),
            *self._expect_cases(),
        ]
        found = self.wire.read([call for call, _ in expectations])
        for (call, expected), value in zip(expectations, found, strict=True):
            assert value == expected, (
                f"{call[1]}{call[2:]}: the contract says {value}, the reference {expected}"
            )
        vault = self.reference.vault
        assert vault.credited + vault.burned + vault.locked == vault.balance
        assert self.wire.balance(self.deployment.vault.address) == vault.balance

    def _expect_vault(self) -> list[tuple]:
        vault, contract = self.reference.vault, self.deployment.vault
        totals = [
            ((contract, "totalLocked"), vault.locked),
            ((contract, "totalCredited"), vault.credited),
            ((contract, "totalBurned"), vault.burned),
        ]
        return totals + [
            ((contract, "creditOf", account), vault.credits[account]) for account in self.accounts
        ]

    def _expect_claims(self) -> list[tuple]:
        claims, contract = self.reference.claims, self.deployment.claims
        now = Now(self.time, self.block)
        expected = []
        for identifier, claim in claims.claims.items():
            expected.append(((contract, "getClaim", identifier), astuple(claim)))
            expected.append(((contract, "statusOf", identifier), claims.status(now, identifier)))
        for identifier, request in claims.requests.items():
            expected.append(((contract, "getRequest", identifier), astuple(request)))
        return expected

    def _expect_disputes(self) -> list[tuple]:
        disputes, contract = self.reference.disputes, self.deployment.game
        expected = []
        for identifier, dispute in disputes.disputes.items():
            expected.append(((contract, "getDispute", identifier), astuple(dispute)))
            expected.append(((contract, "deadlineOf", identifier), disputes.deadline(identifier)))
        return expected

    def _expect_sums(self) -> list[tuple]:
        sums, contract = self.reference.sums, self.deployment.sums
        return [
            ((contract, "assertionOf", dispute), sums.of(dispute).stored)
            for dispute in self.reference.disputes.disputes
        ]

    def _expect_cases(self) -> list[tuple]:
        committee, contract = self.reference.committee, self.deployment.committee
        now = Now(self.time, self.block)
        expected: list[tuple] = [((contract, "memberCount"), len(committee.members))]
        expected += [((contract, "stakeOf", member), committee.stake(member)) for member in self.members]
        for identifier, case in committee.cases.items():
            expected.append(((contract, "stageOf", identifier), committee.stage(now, identifier)))
            expected.append(((contract, "panelOf", identifier), tuple(case.ballots)))
            expected.append(((contract, "deadlinesOf", identifier), (case.commit_end, case.reveal_end)))
            expected.append(((contract, "seedBlockOf", identifier), case.seed_block))
            for member in self.members:
                ballot = case.ballots.get(member, Ballot())
                expected.append(((contract, "voteOf", identifier, member), (ballot.commitment, ballot.vote)))
        return expected

    # ---- choosing

    def rarely(self, data: st.DataObject, one_in: int = 12) -> bool:
        return data.draw(st.integers(0, one_in - 1)) == one_in // 2

    def choose(self, data: st.DataObject, items: Sequence) -> Any:
        return data.draw(st.sampled_from(list(items)))

    def someone_else(self, data: st.DataObject, account: str) -> str:
        return self.choose(data, [other for other in self.accounts if other != account])

    def usually(self, data: st.DataObject, account: str) -> str:
        """The account whose move it is, now and then another."""
        return self.someone_else(data, account) if self.rarely(data) else account

    def when(self, data: st.DataObject, edge: int | None = None) -> int:
        """Mostly soon; now and then one second before, at, or one second after the deadline `edge`."""
        soon = self.time + self.choose(data, (1, 0, 2, 3, 7))
        if edge is None or edge > self.time + 100_000:
            return soon
        at = self.choose(data, (soon,) * 17 + (edge, edge + 1, edge - 1))
        return at if at >= self.time else soon

    def on_edge(self, data: st.DataObject, edge: int, least: int) -> int:
        """For moves that become legal at `least`: mostly then or soon after, now and then too early."""
        at = self.choose(data, (least,) * 4 + (least + 5, edge, edge - 1))
        return max(at, self.time)

    # ---- the prover's data

    def model_id_of(self, story: Story) -> bytes:
        (name,) = (name for name, network in networks().items() if network is story.network)
        return self.model_ids[name]

    def story_of(self, dispute: Dispute) -> Story:
        return self.told[dispute.claim]

    def in_phase(self, phase: Phase) -> list[bytes]:
        """Disputes in that phase of claims not yet refuted."""
        claims = self.reference.claims.claims
        return [
            identifier
            for identifier, dispute in self.reference.disputes.disputes.items()
            if dispute.phase == phase and not claims[dispute.claim].refuted
        ]

    def playable(self, phase: Phase) -> list[bytes]:
        """Those in which the clock of the side to move has not run out."""
        return [d for d in self.in_phase(phase) if self.reference.disputes.deadline(d) >= self.time]

    def pick_dispute(self, data: st.DataObject, phase: Phase) -> bytes:
        """A dispute in the phase, now and then any."""
        everything = list(self.reference.disputes.disputes)
        fitting = self.playable(phase)
        return self.choose(data, fitting if fitting and not self.rarely(data, 20) else everything)

    def leaf(self, dispute: Dispute) -> tuple[LeafClaim, list[Value], list[Value]]:
        """What anybody who has the prover's states puts forward at the leaf, and the tensors behind it."""
        network = self.story_of(dispute).network
        record = network.record(dispute.lo)
        before = list(self.known_states.get(dispute.lo_state, ()))
        after = self.known_states.get(dispute.hi_state, ())
        outputs: list[Value] = [Ghost(bytes(32)) for _ in record.outputs]
        for value, entry in zip(after, record.after, strict=False):
            if entry >= OUTPUT_FLAG:
                outputs[entry - OUTPUT_FLAG] = value
        claim = LeafClaim(
            record.packed,
            network.path(dispute.lo),
            [value.commitment for value in before],
            [value.commitment for value in outputs],
        )
        return claim, before, outputs
