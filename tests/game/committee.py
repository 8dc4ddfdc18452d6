"""Reference model of the committee. The draw's randomness is external: the panel is given and checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from game.rules import Now, Rules, require
from game.vault import Vault
from support.encoding import ZERO, vote_hash

NEVER = 2**64 - 1


class Vote(IntEnum):
    NONE, ACCEPT, REJECT = range(3)


class Verdict(IntEnum):
    NO_QUORUM, ACCEPT, REJECT = range(3)


class Stage(IntEnum):
    NONE, ANNOUNCED, COMMIT, REVEAL, TALLYING, ENDED = range(6)


@dataclass
class Seat:
    """Drawn for the announcements numbered from `first` up to, not including, `until`, of claims made later than
    `whole_since`.
    """

    first: int
    whole_since: int
    until: int = NEVER
    duties: int = 0
    leaves_at: int = 0


@dataclass
class Ballot:
    commitment: bytes = ZERO
    vote: Vote = Vote.NONE


@dataclass
class Case:
    parties: tuple[str, str]
    since: int
    announcement: int
    population: tuple[str, ...]
    seed_block: int
    commit_end: int = 0
    reveal_end: int = 0
    ballots: dict[str, Ballot] = field(default_factory=dict)
    ended: bool = False

    def votes(self, vote: Vote) -> list[str]:
        return [member for member, ballot in self.ballots.items() if ballot.vote == vote]


class Committee:
    def __init__(self, rules: Rules, vault: Vault):
        self.rules, self.vault = rules, vault
        self.members: list[str] = []
        self.seats: dict[str, Seat] = {}
        self.cases: dict[bytes, Case] = {}
        self.announcements = 0

    # ---- members

    def join(self, now: Now, caller: str, value: int) -> None:
        require(caller not in self.seats, "AlreadyMember")
        require(value == self.rules.stake, "WrongStake")
        self.members.append(caller)
        self.seats[caller] = Seat(self.announcements + 1, now.time)
        self.vault.lock(self.rules.committee, _lock(caller), value)

    def top_up(self, now: Now, caller: str, value: int) -> None:
        seat = self._seat(caller)
        require(not seat.leaves_at, "AlreadyLeaving")
        require(not self.pending_draws, "StakesFrozen")
        require(value == self.rules.stake - self.stake(caller), "WrongStake")
        self.vault.lock(self.rules.committee, _lock(caller), value)
        seat.first, seat.until, seat.whole_since = self.announcements + 1, NEVER, now.time

    def request_leave(self, now: Now, caller: str) -> None:
        seat = self._seat(caller)
        require(not seat.leaves_at, "AlreadyLeaving")
        seat.leaves_at = now.time + self.rules.leave_delay
        self._exclude(seat)

    def leave(self, now: Now, caller: str) -> None:
        seat = self._seat(caller)
        require(seat.leaves_at != 0 and now.time >= seat.leaves_at, "LeaveNotDue")
        require(not self.pending_draws and not seat.duties, "StakesFrozen")
        index = self.members.index(caller)
        self.members[index] = self.members[-1]
        self.members.pop()
        del self.seats[caller]
        held = self.stake(caller)
        if held:
            self.vault.credit(self.rules.committee, _lock(caller), caller, held)

    # ---- cases

    def convene(self, now: Now, case: bytes, prover: str, challenger: str, since: int) -> None:
        assert case not in self.cases
        self.announcements += 1
        seed_block = now.block + self.rules.seed_delay
        parties, population = (prover, challenger), tuple(self.members)
        self.cases[case] = Case(parties, since, self.announcements, population, seed_block)

    def eligible(self, case: bytes) -> set[str]:
        """Who may be on the panel: settled by the announcement, before the seed exists."""
        entry = self.cases[case]
        return {
            member
            for member in entry.population
            if member not in entry.parties
            and self.seats[member].first <= entry.announcement < self.seats[member].until
            and self.seats[member].whole_since < entry.since
        }

    def draw(self, now: Now, caller: str, case: bytes, panel: list[str] | None) -> None:
        """`panel` as the chain drew it; None where it drew nothing."""
        self._require_stage(now, case, Stage.ANNOUNCED)
        entry = self.cases[case]
        require(now.block > entry.seed_block, "SeedNotMined")
        assert panel is not None, "the chain refused a draw that is due"
        eligible = self.eligible(case)
        assert len(panel) == len(set(panel)) == min(self.rules.size, len(eligible))
        assert set(panel) <= eligible
        entry.commit_end = now.time + self.rules.commit_period
        entry.reveal_end = entry.commit_end + self.rules.reveal_period
        entry.ballots = {member: Ballot() for member in panel}
        for member in panel:
            self.seats[member].duties += 1

    def commit(self, now: Now, caller: str, case: bytes, commitment: bytes) -> None:
        self._require_stage(now, case, Stage.COMMIT)
        ballot = self._ballot(case, caller)
        require(ballot.commitment == ZERO, "AlreadyCommitted")
        require(commitment != ZERO, "NothingCommitted")
        ballot.commitment = commitment

    def reveal(self, now: Now, caller: str, case: bytes, vote: Vote, statistics: bytes, salt: bytes) -> None:
        self._require_stage(now, case, Stage.REVEAL)
        ballot = self._ballot(case, caller)
        require(ballot.commitment != ZERO, "NothingCommitted")
        require(ballot.vote == Vote.NONE, "AlreadyRevealed")
        require(vote != Vote.NONE, "InvalidVote")
        require(len(statistics) <= 1024, "StatisticsTooLong")
        given = vote_hash(self.rules.chain, self.rules.committee, case, caller, vote, statistics, salt)
        require(given == ballot.commitment, "CommitmentMismatch")
        ballot.vote = Vote(vote)

    def tally(self, now: Now, case: bytes) -> tuple[Verdict, list[str]]:
        self._require_stage(now, case, Stage.TALLYING)
        entry = self.cases[case]
        self._end(entry)
        accepts, rejects, absent = entry.votes(Vote.ACCEPT), entry.votes(Vote.REJECT), entry.votes(Vote.NONE)
        if len(accepts) + len(rejects) < self.rules.quorum:
            self._absent_pay_present(absent, [m for m in entry.ballots if m not in absent])
            return Verdict.NO_QUORUM, []
        majority, minority = (rejects, accepts) if len(rejects) > len(accepts) else (accepts, rejects)
        for member in absent:
            self._burn(member, self.rules.no_show_penalty)
        if len(majority) - len(minority) >= self.rules.minority_margin:
            for member in minority:
                self._burn(member, self.rules.minority_penalty)
        return (Verdict.REJECT if majority is rejects else Verdict.ACCEPT), majority

    # ---- views

    @property
    def pending_draws(self) -> int:
        return sum(1 for case in self.cases.values() if not case.ended and not case.commit_end)

    def stake(self, member: str) -> int:
        return self.vault.locks[self.rules.committee, _lock(member)]

    def stage(self, now: Now, case: bytes) -> Stage:
        entry = self.cases.get(case)
        if entry is None:
            return Stage.NONE
        if entry.ended:
            return Stage.ENDED
        if not entry.commit_end:
            return Stage.ANNOUNCED
        committed = [ballot for ballot in entry.ballots.values() if ballot.commitment != ZERO]
        if len(committed) < len(entry.ballots) and now.time <= entry.commit_end:
            return Stage.COMMIT
        if any(ballot.vote == Vote.NONE for ballot in committed) and now.time <= entry.reveal_end:
            return Stage.REVEAL
        return Stage.TALLYING

    def _require_stage(self, now: Now, case: bytes, stage: Stage) -> None:
        require(self.stage(now, case) == stage, "WrongStage")

    def _seat(self, member: str) -> Seat:
        require(member in self.seats, "NotMember")
        return self.seats[member]

    def _ballot(self, case: bytes, member: str) -> Ballot:
        require(member in self.cases[case].ballots, "NotOnPanel")
        return self.cases[case].ballots[member]

    def _exclude(self, seat: Seat) -> None:
        seat.until = min(seat.until, self.announcements + 1)

    def _end(self, case: Case) -> None:
        case.ended = True
        for member in case.ballots:
            self.seats[member].duties -= 1

    def _penalise(self, member: str, penalty: int) -> int:
        amount = min(penalty, self.stake(member))
        if amount:
            self._exclude(self.seats[member])
        return amount

    def _burn(self, member: str, penalty: int) -> None:
        self.vault.burn(self.rules.committee, _lock(member), self._penalise(member, penalty))

    def _absent_pay_present(self, absent: list[str], present: list[str]) -> None:
        """Without a quorum no bond pays the voters: the absent do, up to one fee each in all."""
        for member in absent:
            amount = self._penalise(member, self.rules.no_show_penalty)
            share = min(amount // len(present), self.rules.member_fee // len(absent)) if present else 0
            for voter in present:
                self.vault.credit(self.rules.committee, _lock(member), voter, share)
            self.vault.burn(self.rules.committee, _lock(member), amount - share * len(present))


def _lock(member: str) -> bytes:
    return int(member, 16).to_bytes(32, "big")
