"""Reference model of the sum game: one assertion of one dispute at its leaf, its turns, clocks and partition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from game.disputes import Outcome, Phase
from game.rules import Rules, require
from support.encoding import ZERO
from support.sums import Triple, children, partials_hash


class Stage(IntEnum):
    NONE, ASSERTED, DOUBTED, ACCEPTED = range(4)


@dataclass
class SumReference:
    """`truth` are the sums over lanes [lo, hi) of the row; `posted` the pieces of it that are recorded."""

    rules: Rules
    truth: Callable[[int, int], Triple]
    lanes: int
    key: bytes
    prover: str
    challenger: str
    is_wrong: bool
    prover_left: int
    challenger_left: int
    turn_start: int
    phase: Phase = Phase.LEAF
    outcome: Outcome = Outcome.OPEN
    stage: Stage = Stage.NONE
    lo: int = 0
    hi: int = 0
    partials: list[Triple] = field(default_factory=list)
    posted: set[tuple[int, int]] = field(default_factory=set)

    @property
    def is_provers_turn(self) -> bool:
        return self.phase is Phase.DOUBT

    @property
    def deadline(self) -> int:
        return self.turn_start + (self.prover_left if self.is_provers_turn else self.challenger_left)

    @property
    def assertion(self) -> tuple:
        """ISumGame.Assertion but for the adjudicator."""
        if self.stage is Stage.NONE:
            return ZERO, ZERO, 0, 0, 0
        return self.key, partials_hash(self.partials), self.lo, self.hi, self.stage

    def assert_sum(self, now: int, caller: str, sums: Triple) -> None:
        self._gate(now, Phase.LEAF, caller)
        require(self.stage is Stage.NONE, "AlreadyAsserted")
        self.lo, self.hi, self.partials, self.stage = 0, self.lanes, [sums], Stage.ASSERTED
        self._pass(now, Phase.DOUBT)

    def accept(self, now: int, caller: str, key: bytes, sums: Triple) -> None:
        self._gate(now, Phase.DOUBT, caller)
        require(self.stage is Stage.ASSERTED, "WrongSumStage")
        require(key == self.key, "RangeMismatch")
        require([sums] == self.partials, "PartialsMismatch")
        self.stage = Stage.ACCEPTED
        self._pass(now, Phase.LEAF)

    def doubt(
        self,
        now: int,
        caller: str,
        key: bytes,
        lanes: tuple[int, int],
        partials: Sequence[Triple],
        child: int,
    ) -> None:
        self._gate(now, Phase.DOUBT, caller)
        require(key == self.key, "RangeMismatch")
        require(lanes == (self.lo, self.hi), "LanesMismatch")
        require(list(partials) == self.partials, "PartialsMismatch")
        require(child < len(partials), "ChildOutOfRange")
        self.lo, self.hi = children(self.lo, self.hi, len(partials))[child]
        self.partials, self.stage = [partials[child]], Stage.DOUBTED
        self._pass(now, Phase.SPLIT)

    def split(
        self, now: int, caller: str, lanes: tuple[int, int], sums: Triple, partials: Sequence[Triple]
    ) -> None:
        self._gate(now, Phase.SPLIT, caller)
        require(lanes == (self.lo, self.hi), "LanesMismatch")
        require([sums] == self.partials, "PartialsMismatch")
        require(self.hi - self.lo > 1, "SingleLane")
        require(len(partials) == min(self.rules.fan_out, self.hi - self.lo), "WrongPartialCount")
        require(tuple(map(sum, zip(*partials, strict=True))) == tuple(sums), "PartialsDoNotAddUp")
        self.partials = list(partials)
        self._pass(now, Phase.DOUBT)

    def settle(self, now: int, sums: Triple, lanes: Sequence[int]) -> None:
        require([sums] == self.partials, "PartialsMismatch")
        at, total = self.lo, (0, 0, 0)
        for count in lanes:
            require(at + count <= self.hi, "PieceBeyondRun")
            require((at, at + count) in self.posted, "UnknownPiece")
            total = tuple(map(sum, zip(total, self.truth(at, at + count), strict=True)))
            at += count
        require(at == self.hi, "PiecesMissing")
        require(total == tuple(sums), "SumsDiffer")
        self._gate(now, Phase.SPLIT)
        self.phase, self.outcome = Phase.CLOSED, Outcome.CHALLENGER_WON

    def prove(self, now: int, sums: Triple) -> None:
        """By the accepted sums; of false ones nothing is known but that the prover agreed to them."""
        require(self.stage is Stage.ACCEPTED, "WrongSumStage")
        require([sums] == self.partials, "PartialsMismatch")
        require(self.is_wrong, "NotRefuted")
        self._gate(now, Phase.LEAF)
        self.phase, self.outcome = Phase.CLOSED, Outcome.CHALLENGER_WON

    def timeout(self, now: int) -> None:
        require(self.phase is not Phase.CLOSED, "AlreadyClosed")
        require(now > self.deadline, "ClockRunning")
        self.outcome = Outcome.CHALLENGER_WON if self.is_provers_turn else Outcome.PROVER_WON
        self.phase = Phase.CLOSED

    def _gate(self, now: int, required: Phase, caller: str | None = None) -> None:
        require(self.phase is not Phase.CLOSED, "AlreadyClosed")
        require(self.phase is required, "WrongPhase")
        require(now <= self.deadline, "ClockExpired")
        mover = self.prover if self.is_provers_turn else self.challenger
        require(caller is None or caller == mover, "NotYourTurn")

    def _pass(self, now: int, phase: Phase) -> None:
        spent = now - self.turn_start
        if self.is_provers_turn:
            self.prover_left -= spent
        else:
            self.challenger_left -= spent
        self.turn_start, self.phase = now, phase
