"""Reference model of the dispute game: turns, clocks, partition, the leaf and the settlement."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from eth_abi import encode

from game.claims import Claim, Claims
from game.committee import NEVER, Committee, Verdict
from game.rules import Model, Now, Refused, Rules, is_member, require
from game.vault import Vault
from support.encoding import (
    CHUNK,
    OUTPUT_FLAG,
    ZERO,
    Record,
    Type,
    boundaries_hash,
    dispute_id,
    height,
    keccak,
    operator_code,
    state_hash,
    tag,
)

MAX_VALUES = 1536
"""Commitments in a revealed state."""


class Phase(IntEnum):
    NONE, REVEAL, SELECT, LEAF, ANSWER, DEFENCE, DOUBT, SPLIT, VOTE, CLOSED = range(10)


class Outcome(IntEnum):
    OPEN, CHALLENGER_WON, PROVER_WON, UNDECIDED, MOOT = range(5)


class Finding(IntEnum):
    """What an adjudicator makes of a proof, that it refutes or that it exceeds the threshold."""

    SHOWN, NOT_SHOWN, MALFORMED = range(3)


class LeafClaim(NamedTuple):
    record: bytes
    path: list[bytes]
    before: list[bytes]
    outputs: list[bytes]


class Threshold(NamedTuple):
    """What an accusation says of the node's tolerances."""

    theta: int
    other: bytes
    path: list[bytes]


@dataclass
class Dispute:
    claim: bytes
    challenger: str
    phase: Phase
    outcome: Outcome
    demands_left: int
    lo: int
    hi: int
    lo_state: bytes
    hi_state: bytes
    boundaries: bytes
    demanded: bytes
    prover_left: int
    challenger_left: int
    turn_start: int
    node_count: int

    @property
    def is_provers_turn(self) -> bool:
        return self.phase in (Phase.REVEAL, Phase.ANSWER, Phase.DEFENCE, Phase.DOUBT)


def partition(lo: int, hi: int, degree: int, unit: int = 1) -> list[int]:
    """The cuts lo = c_0 < ... < c_degree = hi; the first children have one unit of operators more."""
    quotient, remainder = divmod((hi - lo) // unit, degree)
    return [lo + (i * quotient + min(i, remainder)) * unit for i in range(degree + 1)]


def chunk_count(kind: Type) -> tuple[int, int, int]:
    """Rows, chunks per row and the height of the tree of one row."""
    sizes = {0: 1, 1: 1, 2: 4, 3: 8, 4: 2, 5: 2, 6: 4, 7: 8, 8: 1, 9: 2}
    rows = 1
    for extent in kind.shape[:-1]:
        rows *= extent
    chunks = -(-(kind.shape[-1] if kind.shape else 1) * sizes[kind.dtype] // CHUNK)
    return rows, chunks, height(chunks)


def has_chunk(kind: Type, leaf: int) -> bool:
    rows, chunks, levels = chunk_count(kind)
    return leaf >> levels < rows and leaf & ((1 << levels) - 1) < chunks


def demand_hash(commitment: bytes, packed_type: bytes, chunk: int) -> bytes:
    return keccak(encode(["bytes32", "bytes", "uint256"], [commitment, packed_type, chunk]))


class Disputes:
    def __init__(self, rules: Rules, vault: Vault, claims: Claims, committee: Committee):
        self.rules, self.vault, self.claims, self.committee = rules, vault, claims, committee
        self.disputes: dict[bytes, Dispute] = {}

    # ---- the partition

    def open(self, now: Now, caller: str, claim: bytes, bond: int) -> bytes:
        rules = self.rules
        require(bond == rules.challenger_bond, "WrongBond")
        identifier = dispute_id(rules.chain, rules.game, claim, caller)
        require(identifier not in self.disputes, "DuplicateDispute")
        entry = self.claims.get(claim)
        self.claims.dispute_opened(now, claim)
        model = self.claims.model(entry.model)
        end = model.steps * model.node_count
        self.disputes[identifier] = Dispute(
            claim,
            caller,
            Phase.LEAF if end == 1 else Phase.REVEAL,
            Outcome.OPEN,
            rules.max_demands,
            0,
            end,
            entry.inputs,
            entry.outputs,
            ZERO,
            ZERO,
            rules.prover_clock,
            rules.challenger_clock,
            now.time,
            model.node_count,
        )
        self.vault.lock(rules.game, identifier, bond)
        return identifier

    def reveal(
        self,
        now: Now,
        caller: str,
        dispute: bytes,
        segment: tuple[int, int],
        states: list[list[bytes]],
        paths: list[list[bytes]],
    ) -> None:
        entry, claim = self.gate(now, dispute, Phase.REVEAL, caller)
        require(segment == (entry.lo, entry.hi), "SegmentMismatch")
        require(len(states) == self.degree(entry) - 1, "WrongStateCount")
        require(all(states), "EmptyState")
        require(all(len(state) <= MAX_VALUES for state in states), "StateTooLong")
        inner = [state_hash(state) for state in states]
        self._require_checkpoints(entry, claim, inner, paths)
        entry.boundaries = boundaries_hash([entry.lo_state, *inner, entry.hi_state])
        self.pass_turn(now, entry, Phase.SELECT)

    def select(
        self, now: Now, caller: str, dispute: bytes, segment: tuple[int, int], hashes: list[bytes], child: int
    ) -> None:
        entry, _ = self.gate(now, dispute, Phase.SELECT, caller)
        require(segment == (entry.lo, entry.hi), "SegmentMismatch")
        require(boundaries_hash(hashes) == entry.boundaries, "BoundariesMismatch")
        degree = self.degree(entry)
        require(child < degree, "ChildOutOfRange")
        cuts = self.cuts(entry)
        entry.lo, entry.hi = cuts[child], cuts[child + 1]
        entry.lo_state, entry.hi_state = hashes[child], hashes[child + 1]
        self.pass_turn(now, entry, Phase.LEAF if entry.hi - entry.lo == 1 else Phase.REVEAL)

    # ---- the leaf

    def prove(self, now: Now, caller: str, dispute: bytes, leaf: LeafClaim, finding: Finding) -> None:
        entry, claim = self.gate(now, dispute, Phase.LEAF)
        self.operator(entry, claim, leaf)
        require(finding != Finding.MALFORMED, "Malformed")
        require(finding == Finding.SHOWN, "NotRefuted")
        self.challenger_wins(dispute, [])

    def accuse(
        self,
        now: Now,
        caller: str,
        dispute: bytes,
        leaf: LeafClaim,
        threshold: Threshold,
        finding: Finding,
    ) -> None:
        entry, claim = self.gate(now, dispute, Phase.LEAF, caller)
        model = self.claims.model(claim.model)
        require(threshold.theta > 0 and model.steps == 1, "NotCalibrated")
        known = model.is_threshold(threshold.theta, threshold.other, entry.lo, threshold.path)
        require(known, "ThresholdMismatch")
        self.operator(entry, claim, leaf)
        require(finding != Finding.MALFORMED, "Malformed")
        require(finding == Finding.SHOWN, "NotExceeded")
        self.pass_turn(now, entry, Phase.DEFENCE)

    def prove_inconsistent(
        self, now: Now, caller: str, dispute: bytes, leaf: LeafClaim, after: list[bytes]
    ) -> None:
        entry, claim = self.gate(now, dispute, Phase.LEAF)
        record = self._verified_record(entry, claim, leaf)
        require(state_hash(after) == entry.hi_state, "StateMismatch")
        consistent = len(after) == len(record.after) and all(
            source >= OUTPUT_FLAG or value == leaf.before[source]
            for value, source in zip(after, record.after, strict=True)
        )
        require(not consistent, "StatesConsistent")
        self.challenger_wins(dispute, [])

    def demand(
        self, now: Now, caller: str, dispute: bytes, leaf: LeafClaim, of_output: bool, index: int, chunk: int
    ) -> None:
        entry, claim = self.gate(now, dispute, Phase.LEAF, caller)
        require(entry.demands_left > 0, "NoDemandsLeft")
        record = self._verified_record(entry, claim, leaf)
        if of_output:
            self._verify_outputs(entry, record, leaf)
            require(index < len(record.outputs), "DemandOutOfRange")
            commitment, kind = leaf.outputs[index], record.outputs[index]
        else:
            require(index < len(record.operands), "DemandOutOfRange")
            operand = record.operands[index]
            require(not operand.is_parameter, "ParameterDemanded")
            commitment, kind = leaf.before[operand.position], operand.type
        require(has_chunk(kind, chunk), "DemandOutOfRange")
        entry.demanded = demand_hash(commitment, kind.packed, chunk)
        entry.demands_left -= 1
        self.pass_turn(now, entry, Phase.ANSWER)

    def answer(
        self,
        now: Now,
        caller: str,
        dispute: bytes,
        commitment: bytes,
        kind: Type,
        chunk: int,
        data: bytes,
        path: list,
    ) -> None:
        entry, _ = self.gate(now, dispute, Phase.ANSWER, caller)
        require(demand_hash(commitment, kind.packed, chunk) == entry.demanded, "DemandMismatch")
        rows, _, levels = chunk_count(kind)
        require(len(data) == CHUNK, "WrongChunkLength")
        require(len(path) == levels + height(rows), "WrongPathLength")
        node = keccak(data)
        for level, sibling in enumerate(path):
            node = keccak(sibling + node if chunk >> level & 1 else node + sibling)
        require(keccak(tag("tensor") + kind.packed + node) == commitment, "OpeningMismatch")
        entry.demanded = ZERO
        self.pass_turn(now, entry, Phase.LEAF)

    def escalate(self, now: Now, caller: str, dispute: bytes, segment: tuple[int, int]) -> None:
        early = dispute in self.disputes and self.disputes[dispute].phase in (Phase.SELECT, Phase.DEFENCE)
        phase = self.disputes[dispute].phase if early else Phase.LEAF
        entry, claim = self.gate(now, dispute, phase, caller)
        require(segment == (entry.lo, entry.hi), "SegmentMismatch")
        require(entry.hi - entry.lo <= entry.node_count, "SegmentTooLong")
        self.pass_turn(now, entry, Phase.VOTE)
        self.committee.convene(now, dispute, claim.prover, entry.challenger, claim.claimed_at)

    # ---- the end

    def settle_vote(self, now: Now, caller: str, dispute: bytes) -> None:
        entry, claim = self._in_play(dispute)
        require(entry.phase == Phase.VOTE, "WrongPhase")
        verdict, rewarded = self.committee.tally(now, dispute)
        if verdict == Verdict.NO_QUORUM:
            self._refund(dispute, Outcome.UNDECIDED)
        elif verdict == Verdict.ACCEPT:
            self._prover_wins(dispute, rewarded)
        elif claim.refuted:
            self._refund(dispute, Outcome.MOOT)
        else:
            self.challenger_wins(dispute, rewarded)

    def timeout(self, now: Now, caller: str, dispute: bytes) -> None:
        entry, claim = self._in_play(dispute)
        require(not claim.refuted, "ClaimRefutedElsewhere")
        require(now.time > self.deadline(dispute), "ClockRunning")
        if entry.is_provers_turn:
            self.challenger_wins(dispute, [])
        else:
            self._prover_wins(dispute, [])

    def close(self, now: Now, caller: str, dispute: bytes) -> None:
        entry, claim = self._in_play(dispute)
        require(claim.refuted, "ClaimNotRefuted")
        require(entry.phase != Phase.VOTE, "VoteRunning")
        self._refund(dispute, Outcome.MOOT)

    # ---- views

    def degree(self, entry: Dispute) -> int:
        return min(self.rules.fan_out, (entry.hi - entry.lo) // self.unit(entry))

    def unit(self, entry: Dispute) -> int:
        return entry.node_count if entry.hi - entry.lo > entry.node_count else 1

    def cuts(self, entry: Dispute) -> list[int]:
        return partition(entry.lo, entry.hi, self.degree(entry), self.unit(entry))

    def deadline(self, dispute: bytes) -> int:
        """Last second in which the side to move may move; never while nobody is to move."""
        entry = self.disputes[dispute]
        if entry.phase in (Phase.VOTE, Phase.CLOSED):
            return NEVER
        return entry.turn_start + (entry.prover_left if entry.is_provers_turn else entry.challenger_left)

    def mover(self, entry: Dispute) -> str:
        return self.claims.get(entry.claim).prover if entry.is_provers_turn else entry.challenger

    # ---- the moves of the sum game, too

    def gate(
        self, now: Now, dispute: bytes, phase: Phase, caller: str | None = None
    ) -> tuple[Dispute, Claim]:
        """Every move passes here; `caller` is given where only the side to move may make it."""
        entry, claim = self._in_play(dispute)
        require(not claim.refuted, "ClaimRefutedElsewhere")
        require(entry.phase == phase, "WrongPhase")
        require(caller is None or caller == self.mover(entry), "NotYourTurn")
        require(now.time <= self.deadline(dispute), "ClockExpired")
        return entry, claim

    def pass_turn(self, now: Now, entry: Dispute, phase: Phase) -> None:
        spent = now.time - entry.turn_start
        if entry.is_provers_turn:
            entry.prover_left -= spent
        else:
            entry.challenger_left -= spent
        entry.turn_start = now.time
        entry.phase = phase

    def operator(self, entry: Dispute, claim: Claim, leaf: LeafClaim) -> Record:
        """The disputed operator, which the leaf is about and which an adjudicator decides."""
        record = self._verified_record(entry, claim, leaf)
        self._verify_outputs(entry, record, leaf)
        require(operator_code(record.operator) in self.rules.adjudicators, "NoAdjudicator")
        return record

    def challenger_wins(self, dispute: bytes, members: list[str]) -> None:
        entry = self._end(dispute, Outcome.CHALLENGER_WON)
        self.claims.refute(entry.claim, entry.challenger, members)
        self.vault.credit(self.rules.game, dispute, entry.challenger, self.rules.challenger_bond)

    # ---- private

    def _in_play(self, dispute: bytes) -> tuple[Dispute, Claim]:
        if dispute not in self.disputes:
            raise Refused("UnknownDispute")
        entry = self.disputes[dispute]
        require(entry.phase != Phase.CLOSED, "AlreadyClosed")
        return entry, self.claims.get(entry.claim)

    def _require_checkpoints(
        self, entry: Dispute, claim: Claim, inner: list[bytes], paths: list[list[bytes]]
    ) -> None:
        if entry.hi - entry.lo <= entry.node_count:
            require(not paths, "UnexpectedPaths")
            return
        require(len(paths) == len(inner), "WrongStateCount")
        count = self.claims.model(claim.model).steps + 1
        for state, cut, path in zip(inner, self.cuts(entry)[1:-1], paths, strict=True):
            step = cut // entry.node_count
            require(is_member(state, step, count, path, claim.checkpoints), "CheckpointMismatch")

    def _verified_record(self, entry: Dispute, claim: Claim, leaf: LeafClaim) -> Record:
        model: Model = self.claims.model(claim.model)
        node = entry.lo % entry.node_count
        require(model.contains(leaf.record, node, leaf.path), "NodeNotInGraph")
        require(state_hash(leaf.before) == entry.lo_state, "StateMismatch")
        record = model.records[node]
        require(len(leaf.before) == record.live_before, "WrongStateCount")
        return record

    def _verify_outputs(self, entry: Dispute, record: Record, leaf: LeafClaim) -> None:
        require(len(leaf.outputs) == len(record.outputs), "WrongStateCount")
        after = [
            leaf.outputs[source - OUTPUT_FLAG] if source >= OUTPUT_FLAG else leaf.before[source]
            for source in record.after
        ]
        require(state_hash(after) == entry.hi_state, "StateMismatch")

    def _prover_wins(self, dispute: bytes, members: list[str]) -> None:
        entry = self._end(dispute, Outcome.PROVER_WON)
        self.claims.dispute_closed(entry.claim)
        prover = self.claims.get(entry.claim).prover
        self.vault.distribute(self.rules.game, dispute, self.rules.challenger_bond, prover, members)

    def _refund(self, dispute: bytes, outcome: Outcome) -> None:
        entry = self._end(dispute, outcome)
        self.claims.dispute_closed(entry.claim)
        self.vault.credit(self.rules.game, dispute, entry.challenger, self.rules.challenger_bond)

    def _end(self, dispute: bytes, outcome: Outcome) -> Dispute:
        entry = self.disputes[dispute]
        entry.phase, entry.outcome = Phase.CLOSED, outcome
        return entry
