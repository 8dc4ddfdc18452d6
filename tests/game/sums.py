"""Reference model of the sum game: what is asserted of the lanes of a disputed operator, doubted, split and settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from math import prod

from game.claims import Claim
from game.disputes import Dispute, Disputes, Finding, LeafClaim, Phase, partition
from game.rules import Model, Now, Rules, require
from support.encoding import ZERO, Record, keccak, operator_code, tag
from support.sums import SUMMED, Range, Triple, partials_hash

NOBODY = "0x" + 40 * "0"


class Stage(IntEnum):
    NONE, ASSERTED, DOUBTED, ACCEPTED = range(4)


@dataclass
class Assertion:
    """`partials` are the sums over the equal parts of lanes [lo, hi) that stand to be doubted."""

    key: bytes = ZERO
    partials: list[Triple] = field(default_factory=list)
    adjudicator: str = NOBODY
    lo: int = 0
    hi: int = 0
    stage: Stage = Stage.NONE

    @property
    def stored(self) -> tuple:
        """ISumGame.Assertion."""
        partials = partials_hash(self.partials) if self.stage else ZERO
        return self.key, partials, self.adjudicator, self.lo, self.hi, self.stage

    @property
    def cuts(self) -> list[int]:
        return partition(self.lo, self.hi, len(self.partials))


class Sums:
    """`records` are the sums over pieces that were posted, by key."""

    def __init__(self, rules: Rules, disputes: Disputes):
        self.rules, self.disputes = rules, disputes
        self.assertions: dict[bytes, Assertion] = {}
        self.records: dict[bytes, Triple] = {}

    def of(self, dispute: bytes) -> Assertion:
        return self.assertions.get(dispute, Assertion())

    def assert_sum(
        self,
        now: Now,
        caller: str,
        dispute: bytes,
        leaf: LeafClaim,
        sources: Sequence[tuple[bytes, list[bytes]]],
        firsts: Sequence[int],
        lanes: int,
        hint: int,
        sums: Triple,
    ) -> None:
        entry, claim = self._turn(now, caller, dispute, Phase.LEAF)
        require(dispute not in self.assertions, "AlreadyAsserted")
        record = self.disputes.operator(entry, claim, leaf)
        model = self.disputes.claims.model(claim.model)
        tensors = self._own_tensors(model, record, leaf, sources, firsts, lanes)
        key = Range(hint, lanes, *(part for run in zip(tensors, firsts, strict=True) for part in run)).key
        adjudicator = self.rules.adjudicators[operator_code(record.operator)]
        self.assertions[dispute] = Assertion(key, [sums], adjudicator, 0, lanes, Stage.ASSERTED)
        self.disputes.pass_turn(now, entry, Phase.DOUBT)

    def accept(self, now: Now, caller: str, dispute: bytes, key: bytes, sums: Triple) -> None:
        entry, _ = self._turn(now, caller, dispute, Phase.DOUBT)
        assertion = self.of(dispute)
        require(assertion.stage == Stage.ASSERTED, "WrongSumStage")
        require(key == assertion.key, "RangeMismatch")
        require([sums] == assertion.partials, "PartialsMismatch")
        assertion.stage = Stage.ACCEPTED
        self.disputes.pass_turn(now, entry, Phase.LEAF)

    def doubt(
        self,
        now: Now,
        caller: str,
        dispute: bytes,
        key: bytes,
        lo: int,
        hi: int,
        partials: Sequence[Triple],
        child: int,
    ) -> None:
        entry, _ = self._turn(now, caller, dispute, Phase.DOUBT)
        assertion = self.of(dispute)
        require(key == assertion.key, "RangeMismatch")
        require((lo, hi) == (assertion.lo, assertion.hi), "LanesMismatch")
        require(partials == assertion.partials, "PartialsMismatch")
        require(child < len(partials), "ChildOutOfRange")
        assertion.lo, assertion.hi = assertion.cuts[child : child + 2]
        assertion.partials, assertion.stage = [partials[child]], Stage.DOUBTED
        self.disputes.pass_turn(now, entry, Phase.SPLIT)

    def split(
        self, now: Now, caller: str, dispute: bytes, lo: int, hi: int, sums: Triple, partials: list[Triple]
    ) -> None:
        entry, _ = self._turn(now, caller, dispute, Phase.SPLIT)
        assertion = self.of(dispute)
        require((lo, hi) == (assertion.lo, assertion.hi), "LanesMismatch")
        require([sums] == assertion.partials, "PartialsMismatch")
        require(hi - lo > 1, "SingleLane")
        require(len(partials) == min(self.rules.fan_out, hi - lo), "WrongPartialCount")
        require(added(partials) == sums, "PartialsDoNotAddUp")
        assertion.partials = list(partials)
        self.disputes.pass_turn(now, entry, Phase.DOUBT)

    def post(self, pieces: Mapping[bytes, Triple]) -> None:
        """The sums over pieces, by their keys."""
        self.records |= pieces

    def settle(
        self, now: Now, caller: str, dispute: bytes, whole: Range, sums: Triple, lanes: Sequence[int]
    ) -> None:
        assertion = self.of(dispute)
        require(whole.key == assertion.key, "RangeMismatch")
        require([sums] == assertion.partials, "PartialsMismatch")
        total = self._total(whole.part(assertion.lo, assertion.hi), lanes, self.records)
        require(total == sums, "SumsDiffer")
        self.disputes.gate(now, dispute, Phase.SPLIT)
        self.disputes.challenger_wins(dispute, [])

    def prove(
        self,
        now: Now,
        dispute: bytes,
        leaf: LeafClaim,
        row: Range,
        lanes: Sequence[int],
        sums: Triple,
        finding: Finding,
    ) -> None:
        """With a proof about the lanes of `row` in pieces; what it finds is told where the pieces are known."""
        assertion = self.of(dispute)
        require(assertion.stage == Stage.ACCEPTED, "WrongSumStage")
        require([sums] == assertion.partials, "PartialsMismatch")
        entry = self.disputes.disputes[dispute]
        self.disputes.operator(entry, self.disputes.claims.get(entry.claim), leaf)
        self._total(row, lanes, self.records | {assertion.key: sums})
        require(finding != Finding.MALFORMED, "Malformed")
        require(finding == Finding.SHOWN, "NotRefuted")
        self.disputes.gate(now, dispute, Phase.LEAF)
        self.disputes.challenger_wins(dispute, [])

    # ---- private

    def _turn(self, now: Now, caller: str, dispute: bytes, phase: Phase) -> tuple[Dispute, Claim]:
        entry, claim = self.disputes.gate(now, dispute, phase)
        require(caller == self.disputes.mover(entry), "NotYourTurn")
        return entry, claim

    def _own_tensors(
        self,
        model: Model,
        record: Record,
        leaf: LeafClaim,
        sources: Sequence[tuple[bytes, list[bytes]]],
        firsts: Sequence[int],
        lanes: int,
    ) -> list[bytes]:
        """What a range calls the operator's tensors, in each of which the lanes lie in one row."""
        _, count = SUMMED.get(record.operator, ("", 0))
        require(0 < count == len(sources) == len(firsts), "Malformed")
        names = []
        for operand, (commitment, path), first in zip(record.operands, sources, firsts, strict=False):
            if operand.is_parameter:
                is_own = model.has_parameter(commitment, operand.position, path)
            else:
                is_own = not path and leaf.before[operand.position] == commitment
            columns = operand.type.shape[-1]
            is_inside = first < prod(operand.type.shape) and 0 < lanes <= columns - first % columns
            require(is_own and is_inside, "Malformed")
            names.append(keccak(tag("sums") + commitment + operand.type.packed))
        return names

    def _total(self, run: Range, lanes: Sequence[int], known: Mapping[bytes, Triple]) -> Triple:
        """The sums over all lanes of the run, from those over pieces that follow one another."""
        at, sums = 0, []
        for count in lanes:
            require(at + count <= run.lanes, "PieceBeyondRun")
            key = run.part(at, at + count).key
            require(key in known, "UnknownPiece")
            sums.append(known[key])
            at += count
        require(at == run.lanes, "PiecesMissing")
        return added(sums)


def added(sums: Sequence[Triple]) -> Triple:
    first, second, third = (sum(column) for column in zip(*sums, strict=True))
    return first, second, third
