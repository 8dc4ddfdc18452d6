"""Moves of the stateful tests: members, draws, votes."""

from __future__ import annotations

from hypothesis import strategies as st

from game.committee import Stage, Vote
from game.disputes import Phase
from game.machine import Machine
from game.rules import Now
from support.encoding import ZERO, vote_hash

LONGEST = 1024


class CommitteeMoves(Machine):
    # ---- members

    def outside(self) -> list[str]:
        return [member for member in self.members if member not in self.reference.committee.seats]

    def short_of_stake(self) -> list[str]:
        committee = self.reference.committee
        return [member for member in committee.members if committee.stake(member) < self.rules.stake]

    def leaving(self, within: int) -> list[str]:
        """Members that asked to leave and may do so in that many seconds."""
        seats = self.reference.committee.seats
        return [member for member, seat in seats.items() if 0 < seat.leaves_at <= self.time + within]

    def join(self, data: st.DataObject) -> None:
        outside = self.outside()
        caller = self.choose(data, outside if outside and not self.rarely(data) else self.members)
        value = self.rules.stake - self.rarely(data)
        self.move(
            "join",
            caller,
            "committee",
            "join",
            (),
            lambda now, _: self.reference.committee.join(now, caller, value),
            value=value,
            at=self.when(data),
        )

    def top_up(self, data: st.DataObject) -> None:
        committee = self.reference.committee
        short = self.short_of_stake()
        caller = self.choose(data, short if short and not self.rarely(data) else self.members)
        value = max(self.rules.stake - committee.stake(caller) - self.rarely(data), 0)
        self.move(
            "topUp",
            caller,
            "committee",
            "topUp",
            (),
            lambda now, _: committee.top_up(now, caller, value),
            value=value,
            at=self.when(data),
        )

    def request_leave(self, data: st.DataObject) -> None:
        caller = self.choose(data, self.members)
        self.move(
            "requestLeave",
            caller,
            "committee",
            "requestLeave",
            (),
            lambda now, _: self.reference.committee.request_leave(now, caller),
            at=self.when(data),
        )

    def leave(self, data: st.DataObject) -> None:
        seats = self.reference.committee.seats
        caller = self.choose(data, self.leaving(self.rules.leave_delay) or self.members)
        edge = seats[caller].leaves_at if caller in seats else 0
        self.move(
            "leave",
            caller,
            "committee",
            "leave",
            (),
            lambda now, _: self.reference.committee.leave(now, caller),
            at=self.on_edge(data, edge, edge),
        )

    # ---- cases

    def at_stage(self, stage: Stage) -> list[bytes]:
        now = Now(self.time, self.block)
        return [
            case
            for case in self.reference.committee.cases
            if self.reference.committee.stage(now, case) == stage
        ]

    def pick_case(self, data: st.DataObject, stage: Stage) -> bytes:
        fitting = self.at_stage(stage)
        return self.choose(
            data, fitting if fitting and not self.rarely(data, 20) else self.reference.committee.cases
        )

    def draw(self, data: st.DataObject) -> None:
        committee = self.reference.committee
        case = self.pick_case(data, Stage.ANNOUNCED)
        missing = committee.cases[case].seed_block - self.block
        if missing > 0 and not self.rarely(data, 4):
            self.wire.mine(missing, at=self.time)
            self.block += missing
        caller = self.choose(data, self.accounts)

        def effect(now: Now, receipt) -> None:
            panel = None if receipt is None else list(receipt.event("PanelDrawn")["panel"])
            committee.draw(now, caller, case, panel)

        self.move("draw", caller, "committee", "draw", (case,), effect, at=self.when(data))

    def commit(self, data: st.DataObject) -> None:
        committee = self.reference.committee
        case = self.pick_case(data, Stage.COMMIT)
        entry = committee.cases[case]
        open_seats = [member for member, ballot in entry.ballots.items() if ballot.commitment == ZERO]
        caller = self.choose(data, open_seats if open_seats and not self.rarely(data) else self.members)
        vote = self.choose(data, (Vote.ACCEPT, Vote.REJECT))
        statistics = bytes(self.choose(data, (0, 40, 40, LONGEST, LONGEST + 1)))
        salt = bytes([self.choose(data, (1, 2))]) * 32
        commitment = (
            vote_hash(self.rules.chain, self.rules.committee, case, caller, vote, statistics, salt)
            if not self.rarely(data)
            else ZERO
        )

        def effect(now: Now, _) -> None:
            committee.commit(now, caller, case, commitment)
            self.secrets[case, caller] = (vote, statistics, salt)

        self.move(
            "commit",
            caller,
            "committee",
            "commit",
            (case, commitment),
            effect,
            at=self.when(data, entry.commit_end),
        )

    def reveal_vote(self, data: st.DataObject) -> None:
        committee = self.reference.committee
        waiting = not self.at_stage(Stage.REVEAL)
        case = self.pick_case(data, Stage.COMMIT if waiting else Stage.REVEAL)
        entry = committee.cases[case]
        secret = [m for m, b in entry.ballots.items() if b.commitment != ZERO and b.vote == Vote.NONE]
        caller = self.choose(data, secret if secret and not self.rarely(data) else self.members)
        vote, statistics, salt = self.secrets.get((case, caller), (Vote.ACCEPT, b"", bytes(32)))
        if self.rarely(data):
            vote = self.choose(data, tuple(Vote))
        at = (
            self.on_edge(data, entry.commit_end, entry.commit_end + 1)
            if waiting
            else self.when(data, entry.reveal_end)
        )
        self.move(
            "revealVote",
            caller,
            "committee",
            "reveal",
            (case, vote, statistics, salt),
            lambda now, _: committee.reveal(now, caller, case, vote, statistics, salt),
            at=at,
        )

    def settle_vote(self, data: st.DataObject) -> None:
        committee, disputes = self.reference.committee, self.reference.disputes
        ready = self.at_stage(Stage.TALLYING)
        dispute = self.choose(data, ready) if ready else self.pick_dispute(data, Phase.VOTE)
        edge = committee.cases[dispute].reveal_end if dispute in committee.cases else 0
        caller = self.choose(data, self.accounts)
        at = self.when(data) if ready else self.on_edge(data, edge, edge + 1)
        is_refuted = self.reference.claims.get(disputes.disputes[dispute].claim).refuted
        self.move(
            "settleVoteOfRefuted" if is_refuted else "settleVote",
            caller,
            "game",
            "settleVote",
            (dispute,),
            lambda now, _: disputes.settle_vote(now, caller, dispute),
            at=at,
        )
