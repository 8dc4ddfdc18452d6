"""Random plays of the sum game: the contract and the reference refuse the same moves with the same errors, and agree on
everything that can be seen after the others.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from game.disputes import Outcome, Phase
from game.rules import Refused
from game.stories import honest
from game.sums import Stage, SumReference
from support.isolation import isolated
from support.play import Play
from support.sums import LANES, Row, SumPlay, Triple, lied, one_sum, story
from support.wire import Reverted

GAMES = 200 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 24
MOVES = 40
ERRORS = (
    "AlreadyAsserted",
    "AlreadyClosed",
    "ChildOutOfRange",
    "ClockExpired",
    "ClockRunning",
    "LanesMismatch",
    "NotYourTurn",
    "PartialsDoNotAddUp",
    "PartialsMismatch",
    "SumsDiffer",
    "WrongPartialCount",
    "WrongPhase",
    "WrongSumStage",
)


@dataclass
class Game:
    """One dispute on the contracts and in the reference. `lie`: the lane whose sum the challenger overstates."""

    chain: SumPlay
    reference: SumReference
    random: random.Random
    lie: int | None
    moves: Counter

    @classmethod
    def begin(cls, play: Play, seed: int, moves: Counter) -> Game:
        chance = random.Random(seed)
        told = story() if seed % 2 else honest(one_sum())
        chain = SumPlay(play, Row(told))
        entry = play.dispute(chain.dispute)
        row, rules = chain.row, play.rules
        reference = SumReference(
            rules,
            row.sums,
            LANES,
            row.key,
            play.prover,
            play.challenger,
            told.lie is not None,
            rules.prover_clock,
            rules.challenger_clock,
            entry["turn_start"],
        )
        return cls(chain, reference, chance, chance.choice([None, chance.randrange(LANES)]), moves)

    def play(self) -> None:
        for _ in range(MOVES):
            kind = self.random.choices(*zip(*self.likely().items(), strict=True))[0]
            getattr(self, kind)()
            if self.reference.phase is Phase.CLOSED and self.random.random() < 0.5:
                return

    def likely(self) -> dict[str, int]:
        weights = dict.fromkeys(("assert_sum", "accept", "doubt", "split", "settle", "prove", "timeout"), 1)
        reference = self.reference
        if reference.phase is Phase.LEAF:
            weights |= {"assert_sum": 12} if reference.stage is Stage.NONE else {"prove": 6, "timeout": 4}
        if reference.phase is Phase.DOUBT:
            weights |= {"doubt": 24, "accept": 4, "timeout": 2}
        if reference.phase is Phase.SPLIT:
            weights |= {"split": 24, "settle": 6, "timeout": 2}
        return weights

    # ---- the moves

    def assert_sum(self) -> None:
        sums, sender = self.sums(0, LANES), self.usually(self.chain.play.challenger)
        self.move(
            "assert",
            lambda at: self.chain.assert_sum(sums, sender=sender, at=at),
            lambda now: self.reference.assert_sum(now, sender, sums),
        )

    def accept(self) -> None:
        sender, key, sums = self.usually(self.chain.play.prover), self.key(), self.doubted()
        self.move(
            "accept",
            lambda at: self.chain.accept(sums, key=key, sender=sender, at=at),
            lambda now: self.reference.accept(now, sender, key, sums),
        )

    def doubt(self) -> None:
        sender, partials = self.usually(self.chain.play.prover), self.maybe_other(self.reference.partials)
        key, lanes = self.key(), self.lanes()
        child = self.random.randrange(len(partials) + (self.random.random() < 0.2)) if partials else 0
        self.move(
            "doubt",
            lambda at: self.chain.doubt(partials, child, key=key, lanes=lanes, sender=sender, at=at),
            lambda now: self.reference.doubt(now, sender, key, lanes, partials, child),
        )

    def split(self) -> None:
        sender, sums = self.usually(self.chain.play.challenger), self.doubted()
        reference, lanes = self.reference, self.lanes()
        partials = self.chain.revealed(self.lie) if reference.hi else [sums]
        chance = self.random.random()
        if chance < 0.12:
            partials = self.maybe_other(partials, always=True)
        elif chance < 0.3:
            partials = partials[:-1]
        self.move(
            "split",
            lambda at: self.chain.split(sums, partials, lanes=lanes, sender=sender, at=at),
            lambda now: reference.split(now, sender, lanes, sums, partials),
        )

    def settle(self) -> None:
        reference, sums, row = self.reference, self.doubted(), self.chain.row
        lo, hi = reference.lo, reference.hi
        lanes = (
            [hi - lo]
            if hi - lo < 2 or self.random.random() < 0.5
            else [(hi - lo) // 2, hi - lo - (hi - lo) // 2]
        )
        if hi and self.random.random() < 0.9:
            at = lo
            for count in lanes:
                self.chain.post(row.piece(at, at + count))
                reference.posted.add((at, at + count))
                at += count
        if reference.stage is Stage.NONE:
            return  # there is no range to name yet
        if self.random.random() < 0.1:
            lanes = lanes[:-1]
        self.move(
            "settle",
            lambda at: self.chain.settle(sums, lanes, sender=self.chain.play.watcher, at=at),
            lambda now: reference.settle(now, sums, lanes),
        )

    def prove(self) -> None:
        if self.reference.stage is Stage.ACCEPTED and self.lie is not None:
            return  # sums that are not the row's refute what they like
        sums = self.doubted()
        self.move(
            "prove",
            lambda at: self.chain.prove(sums, at=at),
            lambda now: self.reference.prove(now, sums),
        )

    def timeout(self) -> None:
        play, dispute = self.chain.play, self.chain.dispute
        self.move(
            "timeout",
            lambda at: play.send(play.stranger, "game", "timeout", dispute, at=at),
            lambda now: self.reference.timeout(now),
        )

    # ---- chance

    def sums(self, lo: int, hi: int) -> Triple:
        return lied(self.chain.row.sums(lo, hi), self.lie is not None and lo <= self.lie < hi)

    def doubted(self) -> Triple:
        return (self.maybe_other(self.reference.partials) or [self.sums(0, LANES)])[0]

    def maybe_other(self, partials: list[Triple], always: bool = False) -> list[Triple]:
        if partials and (always or self.random.random() < 0.08):
            return [lied(partials[0]), *partials[1:]]
        return list(partials)

    def lanes(self) -> tuple[int, int]:
        reference = self.reference
        return (reference.lo, reference.hi + (self.random.random() < 0.05))

    def key(self) -> bytes:
        return self.reference.key if self.random.random() < 0.95 else bytes(32)

    def usually(self, account: str) -> str:
        return account if self.random.random() < 0.93 else self.chain.play.stranger

    # ---- both at once

    def move(self, kind: str, send: Callable[[int], object], effect: Callable[[int], None]) -> None:
        now, deadline = self.chain.play.time, self.reference.deadline
        soon = [now + self.random.choice((1, 2, 30))] * 12
        edges = [deadline, deadline + 1] if deadline >= now else []
        at = self.random.choice(soon + edges)
        error = expected = None
        try:
            send(at)
        except Reverted as reverted:
            error = reverted.error
        try:
            effect(at)
        except Refused as refused:
            expected = refused.error
        assert error == expected, f"{kind} at {at}: the contract says {error}, the reference {expected}"
        self.moves[expected or kind] += 1
        self.compare()

    def compare(self) -> None:
        chain, reference = self.chain, self.reference
        key, partials, adjudicator, lo, hi, stage = chain.play.read("sums", "assertionOf", chain.dispute)
        assert (key, partials, lo, hi, stage) == reference.assertion
        nobody = "0x" + 40 * "0"
        decides = chain.play.deployment.reduction.address
        assert adjudicator == (decides if reference.stage else nobody)
        entry = chain.play.dispute(chain.dispute)
        assert entry["phase"] == reference.phase.name.lower()
        assert entry["outcome"] == reference.outcome.name.lower().replace("_", " ")
        if reference.phase is not Phase.CLOSED:
            assert chain.play.deadline(chain.dispute) == reference.deadline
            assert (entry["prover_left"], entry["challenger_left"]) == (
                reference.prover_left,
                reference.challenger_left,
            )
        vault = [chain.play.read("vault", name) for name in ("totalLocked", "totalCredited", "totalBurned")]
        assert chain.play.wire.balance(chain.play.deployment.vault.address) == sum(vault)


def test_the_contract_and_the_reference_agree_in_random_games(play, people):
    moves: Counter = Counter()
    ends: Counter = Counter()
    for seed in range(GAMES):
        with isolated(play.wire):
            game = Game.begin(Play(play.deployment, people), seed, moves)
            game.play()
            ends[game.reference.outcome, game.reference.stage] += 1
    kinds = ("assert", "accept", "doubt", "split", "settle", "prove", "timeout")
    missing = [name for name in (*kinds, *ERRORS) if not moves[name]]
    assert not missing, f"never met: {missing}; {moves}"
    assert ends[Outcome.CHALLENGER_WON, Stage.DOUBTED] and ends[Outcome.CHALLENGER_WON, Stage.ACCEPTED]
    assert ends[Outcome.PROVER_WON, Stage.DOUBTED]
