"""The contracts agree with the reference model, whatever prover, challengers and members do in whatever
order.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from game.claim_moves import MOST_CLAIMS, MOST_REQUESTS, ClaimMoves
from game.committee import Stage
from game.committee_moves import CommitteeMoves
from game.dispute_moves import MOST_DISPUTES, DisputeMoves
from game.disputes import Phase
from game.stories import networks
from game.sum_moves import SumMoves
from game.sums import Stage as SumStage
from support.sums import SUMMED

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")

BATCHES, EXAMPLES, STEPS = {"quick": (3, 15, 80), "deep": (3, 1_000, 90)}[PROFILE]
MOST_BATCHES = 12
"""How far a draw gets is uneven: batches go on until every kind of move succeeded often enough."""

Move = Callable[[st.DataObject], None]

# What most claims of an example are about, so that no kind of end is left to luck.
FOCUS = {
    "any": lambda story: True,
    "inconsistent": lambda story: story.inconsistent,
    "calibrated": lambda story: story.network is networks()["calibrated"],
    "vote": lambda story: story.network is networks()["vote"],
    "sums": lambda story: story.network.nodes[0].operator in SUMMED and story.network.length == 1,
}


class Game(ClaimMoves, DisputeMoves, SumMoves, CommitteeMoves):
    """Everybody plays everything at once. One rule, so that every example has all moves at its disposal."""

    @initialize(focus=st.sampled_from(("any", "sums", *FOCUS)))
    def concentrate(self, focus: str) -> None:
        self.focus = FOCUS[focus]

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        move = self.choose(data, [move for weight, move in self.agenda() for _ in range(weight)])
        move(data)

    def agenda(self) -> list[tuple[int, Move]]:
        """The moves that may succeed now, with weights, and a few that may not.

        The first ones are drawn most, so what can be repeated to no end comes last.
        """
        claims, disputes, committee = self.reference.claims, self.reference.disputes, self.reference.committee
        leaf, split = len(self.playable(Phase.LEAF)), len(self.playable(Phase.SPLIT))
        accepted, recorded = len(self.stated(Phase.LEAF, SumStage.ACCEPTED)), len(self.recorded())
        wishes = [
            (80 * len(self.summable()), self.assert_sum),
            (32 * len(self.playable(Phase.DOUBT)), self.doubt),
            (24 * len(self.stated(Phase.DOUBT, SumStage.ASSERTED)), self.accept),
            (40 * len(self.splittable()), self.split),
            (20 * (split - recorded), self.post),
            (60 * len(self.settleable()), self.settle),
            (16 * recorded, self.settle),
            (40 * len(self.conclusive()), self.prove_by_sums),
            (40 * len(self.playable(Phase.REVEAL)), self.reveal),
            (40 * len(self.playable(Phase.SELECT)), self.select),
            (5 * len(self.playable(Phase.SELECT)), self.escalate_early),
            (6 * leaf, self.prove),
            (40 * len(self.refutable()), self.prove),
            (80 * len(self.inconsistent()), self.prove_inconsistent),
            (8 * leaf, self.demand),
            (12 * len(self.playable(Phase.ANSWER)), self.answer),
            (8 * leaf, self.escalate),
            (3 * leaf, self.accuse),
            (16 * len(self.accusable()), self.accuse),
            (16 * len(self.playable(Phase.DEFENCE)), self.defend),
            (3 * len(self.expired()), self.timeout),
            (2 * len(self.moot()), self.close),
            (12 * len(self.at_stage(Stage.ANNOUNCED)), self.draw),
            (20 * len(self.at_stage(Stage.COMMIT)), self.commit),
            (20 * len(self.at_stage(Stage.REVEAL)), self.reveal_vote),
            (12 * len(self.at_stage(Stage.TALLYING)), self.settle_vote),
            (8 * (len(self.challengeable()) > 0 and len(disputes.disputes) < MOST_DISPUTES), self.open),
            (4 * (len(claims.claims) < MOST_CLAIMS), self.claim),
            (len(self.open_requests()) > 1, self.cancel),
            (2 * (len(self.undisputed(20)) > 0), self.finalise),
            (len(claims.vault.credits) > 0, self.withdraw),
            (len(self.outside()) > 0, self.join),
            (3 * len(self.short_of_stake()), self.top_up),
            (len(committee.members) > 4, self.request_leave),
            (len(self.leaving(20)) > 0, self.leave),
            (6 * len(self.playable(Phase.DOUBT)), self.accept),
            (4 * split, self.split),
            (6 * split, self.settle),
            (8 * accepted, self.prove_by_sums),
            (4 * accepted, self.assert_sum),
            (len(claims.requests) < MOST_REQUESTS, self.request),
            (1, self.wait),
            (1, self.stray),
        ]
        return [(weight, move) for weight, move in wishes if weight]

    def wait(self, data: st.DataObject) -> None:
        """Nothing happens for some seconds, or until just before, at or just after some deadline."""
        edges = self.edges() if data.draw(st.booleans()) else []
        at = self.choose(data, edges) + self.choose(data, (-1, 0, 1)) if edges else self.when(data)
        self.pass_time(max(self.time, at))

    def stray(self, data: st.DataObject) -> None:
        """A move whose time has most likely not come."""
        moves: list[Move] = [
            self.request,
            self.join,
            self.top_up,
            self.request_leave,
            self.leave,
            self.withdraw,
        ]
        if self.reference.claims.requests:
            moves += [self.cancel]
        if self.reference.claims.claims:
            moves += [self.finalise, self.open]
        if self.reference.disputes.disputes:
            moves += [
                self.reveal,
                self.select,
                self.prove,
                self.prove_inconsistent,
                self.demand,
                self.answer,
                self.escalate,
                self.escalate_early,
                self.accuse,
                self.defend,
                self.assert_sum,
                self.accept,
                self.doubt,
                self.split,
                self.settle,
                self.prove_by_sums,
                self.timeout,
                self.close,
            ]
        if self.reference.committee.cases:
            moves += [self.draw, self.commit, self.reveal_vote, self.settle_vote]
        self.choose(data, moves)(data)


# How often each move succeeds at least, in either profile; so a silent refusal of one kind cannot go
# unnoticed.
LEAST = {
    "request": 50,
    "cancel": 20,
    "claim": 100,
    "finalise": 30,
    "withdraw": 50,
    "open": 100,
    "reveal": 100,
    "select": 80,
    "prove": 8,
    "proveInconsistent": 2,
    "demand": 10,
    "answer": 4,
    "escalate": 15,
    "escalateSegment": 3,
    "escalateSegment: SegmentTooLong": 1,
    "accuse": 10,
    "defend": 5,
    "assertSum": 30,
    "accept": 10,
    "doubt": 25,
    "split": 10,
    "post": 8,
    "settle": 3,
    "settle: SumsDiffer": 1,
    "proveBySums": 1,
    "timeout": 50,
    "timeoutOfDoubt": 3,
    "timeoutOfSplit": 3,
    "close": 20,
    "closeOfDoubt": 1,
    "closeOfSplit": 1,
    "join": 100,
    "topUp": 10,
    "requestLeave": 40,
    "leave": 20,
    "draw": 15,
    "commit": 20,
    "revealVote": 8,
    "settleVote": 12,
    "settleVoteOfRefuted": 1,
}


def test_the_contracts_do_what_the_reference_does(deployment, people):
    moves: Counter = Counter()
    rare: dict[str, int] = {}
    for batch in range(MOST_BATCHES):

        def game() -> Game:
            return Game(deployment, people, moves)

        # The quick profile draws from the same seeds every time; the deep one draws new ones.
        machine = seed(batch)(game) if PROFILE == "quick" else game
        run_state_machine_as_test(
            machine, settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS, database=None)
        )
        rare = {move: moves[move] for move, least in LEAST.items() if moves[move] < least}
        if batch + 1 >= BATCHES and not rare:
            break
    assert not rare, f"too few of these moves succeeded: {rare}"
    assert moves["legal"] > moves["illegal"]
