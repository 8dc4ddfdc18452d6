"""The committee member: has an operator or a segment re-executed from the prover's values, and votes."""

import math
import time
from collections.abc import Iterable
from pathlib import Path

from tao.errors import StoreError, sentence
from tao.graph.literals import canonical_json
from tao.numerics.statistics import VoteStatistics
from tao.protocol import actions, committee
from tao.protocol.actions import Action
from tao.protocol.views import ChainView, DisputeView, Stage
from tao.roles.ballots import Ballot, Ballots
from tao.roles.context import Context
from tao.roles.docket import LOOK, Docket
from tao.roles.examiner import Examiner, ExaminerProcess
from tao.roles.journal import Done
from tao.roles.question import Question, Verdict, accept, reject
from tao.roles.role import SLICE, Role, dispute_facts, short
from tao.roles.seat import Seat
from tao.roles.states import ends
from tao.tensors.keccak import keccak

PATIENCE = 0.5
"""Share of the commit period for which a member waits for missing tensors, or tries again what fails."""

LIMIT = 0.75
"""Share of the commit period after which an examination that has no end is given up. It is above PATIENCE, so that
values shown at the last moment are examined, too."""


class MemberRole(Role):
    """Votes in the cases whose panel it sits on.

    device: how the member's kernels are called in its published statistics. folder: of this machine, where votes are
    kept until they are revealed. examiner: who runs the strangers' models, by default a process of its own with the
    kernels of this one.
    """

    name = "member"

    def __init__(
        self,
        context: Context,
        device: str = "",
        folder: Path | None = None,
        examiner: Examiner | None = None,
    ):
        super().__init__(context)
        self.device = device
        self._docket = Docket(examiner or ExaminerProcess(context.store.url, device))
        self._ballots = Ballots(folder and folder / _chain_name(context) / context.address)
        if folder is not None:
            self.remains = f"everything is on the chain, in the store and, of votes, in {folder}"
        self._seat = Seat(context, self.done)
        self._secret = context.secret("votes")
        self._now = 0

    @property
    def is_finished(self) -> bool:
        """Whether it has left the committee, as it wanted to."""
        return self._seat.is_given_up

    def join(self) -> Done | None:
        """Stake one seat, or restore the stake of the one this account has: now, or at a later tick where a pending
        draw freezes it. Raises ChainError for an account that asked to leave."""
        return self._told(self._seat.take())

    def leave(self) -> Done | None:
        """Ask to leave. Ticks go on voting, and take the stake out when it is free; then `is_finished`."""
        return self._told(self._seat.give_up())

    def close(self) -> None:
        """End the process that examines."""
        self._docket.examiner.close()

    def tick(self, seconds: float = SLICE) -> list[Done]:
        """See Role.tick. Where there is time without end, also wait for what is being examined."""
        done = super().tick(seconds)
        while math.isinf(seconds) and self._docket.is_busy:
            time.sleep(LOOK)
            done += super().tick(seconds)
        try:
            moved = self._told(self._seat.pursue())
        except Exception as error:
            self.context.journal.problem(self.name, "seat", sentence(error))
        else:
            done += [moved] if moved else []
        return done

    def done(self, *arguments, **details) -> Done:
        """See Role.done; what was fetched, the examiner has fetched."""
        return super().done(*arguments, **{"bytes_fetched": self._docket.examiner.bytes_read} | details)

    def decide(self, view: ChainView) -> Iterable[Action]:
        self._now = view.now
        cases = committee.parts(view)
        self._docket.retain([d.dispute_id for d in cases if d.case.stage in (Stage.COMMIT, Stage.REVEAL)])
        return self._each(
            cases,
            lambda dispute: committee.serve(dispute, self.address, self, view.now, view.block),
        )

    def verdict(self, dispute: DisputeView) -> Verdict | None:
        """See committee.Examiner. What was committed is revealed, whatever else the store holds by then."""
        case_id, about = dispute.dispute_id, _about(dispute)
        kept = self._ballots.get(case_id)
        if kept is not None and (kept.about == about or dispute.case.stage is Stage.REVEAL):
            return kept.vote, kept.statistics
        found = self._examined(dispute)
        if found is not None:
            self._ballots.keep(case_id, Ballot(about, *found))
        return found

    def perform(self, action: Action) -> Done | None:
        start, functions = time.monotonic(), self.context.contracts.committee.functions
        match action:
            case actions.CommitVote(dispute, vote, statistics):
                commitment = functions.voteHash(
                    dispute.dispute_id, self.address, vote, statistics, self._salt(dispute)
                ).call()
                sent = self.context.send(
                    functions.commit(dispute.dispute_id, commitment),
                    already=("AlreadyCommitted", "WrongStage"),
                )
                what = f"committed a vote on dispute {short(dispute.dispute_id)}"
                return self.done("commit-vote", what, start, sent, **dispute_facts(dispute))
            case actions.RevealVote(dispute, vote, statistics):
                sent = self.context.send(
                    functions.reveal(dispute.dispute_id, vote, statistics, self._salt(dispute)),
                    already=("AlreadyRevealed", "WrongStage"),
                )
                found = f"exceedance {VoteStatistics.decode(statistics).exceedance:.3g}"
                return self.done(
                    "reveal-vote",
                    f"voted {vote.name.lower()} on dispute {short(dispute.dispute_id)} ({found})",
                    start,
                    sent,
                    vote=vote.name.lower(),
                    statistics=statistics.decode(),
                    **dispute_facts(dispute),
                )
            case _:
                return self.upkeep(action)

    def _salt(self, dispute: DisputeView) -> bytes:
        address = self.context.contracts.committee.address
        return committee.salt(self._secret, self.context.deployment.chain_id, address, dispute.dispute_id)

    def _examined(self, dispute: DisputeView) -> Verdict | None:
        """The verdict, None while there may be one; where this machine has none in time, the one that slashes no
        prover: who does not vote pays more than who is outvoted."""
        is_late = self._is_past(PATIENCE, dispute)
        try:
            found = self._docket.ask(dispute.dispute_id, Question.of(dispute), is_late)
        except StoreError:
            return reject((), self.device) if is_late else None
        except Exception as error:
            if not is_late:
                raise
            return self._in_doubt(dispute, repr(error))
        if found is None and self._is_past(LIMIT, dispute):
            self._docket.drop(dispute.dispute_id)
            return self._in_doubt(dispute, "it has been examined for too long")
        return found

    def _in_doubt(self, dispute: DisputeView, why: str) -> Verdict:
        subject = f"judge {short(dispute.dispute_id)}"
        self.context.journal.problem(self.name, subject, f"accepted, as it cannot be judged: {why}")
        return accept(self.device)

    def _is_past(self, share: float, dispute: DisputeView) -> bool:
        """Whether this share of the period is over in which the vote is to be committed to, or to be revealed."""
        case = dispute.case
        if case.stage is Stage.REVEAL:
            end, period = case.reveal_end, case.reveal_end - case.commit_end
        else:
            end, period = case.commit_end, self.context.reader.commit_period
        return self._now > end - (1 - share) * period

    def _told(self, done: Done | None) -> Done | None:
        if done is not None:
            self.context.journal.done(done)
        return done


def _about(dispute: DisputeView) -> bytes:
    """Names what a case is about: the segment and what is committed at its ends."""
    lo, hi, *states = ends(dispute, dispute.lo, dispute.hi)
    return keccak(canonical_json([lo, hi, *([each.hex() for each in state] for state in states)]))


def _chain_name(context: Context) -> str:
    """Names the chain, for one of its kind with the same id, such as a local one of yesterday, is another."""
    return bytes(context.w3.eth.get_block(0)["hash"]).hex()[:16]
