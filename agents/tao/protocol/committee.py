"""The committee member: draw, commit, reveal, and keep the tally going."""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Protocol

from tao.protocol import actions
from tao.protocol.upkeep import upkeep
from tao.protocol.views import ChainView, DisputeView, Stage, Vote


class Examiner(Protocol):
    """Re-executes the segment of a case."""

    def verdict(self, dispute: DisputeView) -> tuple[Vote, bytes] | None:
        """The vote and the statistics behind it; None while the data may still arrive.

        The case is about operators [lo, hi) of the dispute, one or several of one step: whether `states[hi]`
        follows from `states[lo]`.
        """


def salt(key: bytes, chain_id: int, committee: str, case_id: bytes) -> bytes:
    """The salt of one vote: HMAC-SHA256 of where the vote counts, so that a wiped disk loses nothing.

    `committee` is the contract's checksummed or lower-case hex address.
    """
    message = chain_id.to_bytes(32, "big") + bytes.fromhex(committee.removeprefix("0x")) + case_id
    return hmac.new(key, b"TAO.salt.v1" + message, hashlib.sha256).digest()


def stage(commit_end: int, reveal_end: int, votes: Iterable[tuple[bytes, Vote]], now: int) -> Stage:
    """The mirror of OperatorCommittee.stageOf for a case that has not ended.

    A stage ends with its deadline, which still belongs to it, or once nobody is left to act in it.
    """
    if commit_end == 0:
        return Stage.ANNOUNCED
    ballots = list(votes)
    commits = sum(any(commitment) for commitment, _ in ballots)
    reveals = sum(vote is not Vote.NONE for _, vote in ballots)
    if commits < len(ballots) and now <= commit_end:
        return Stage.COMMIT
    if reveals < commits and now <= reveal_end:
        return Stage.REVEAL
    return Stage.TALLYING


def serve(dispute: DisputeView, me: str, examiner: Examiner, now: int, block: int) -> actions.Action | None:
    """The member's move in one case, or None while there is nothing to do."""
    case = dispute.case
    if case is not None and me in case.panel:
        commitment, revealed = case.votes[me]
        if case.stage is Stage.COMMIT and not any(commitment):
            verdict = examiner.verdict(dispute)
            return None if verdict is None else actions.CommitVote(dispute, *verdict)
        if case.stage is Stage.REVEAL and any(commitment) and revealed is Vote.NONE:
            verdict = examiner.verdict(dispute)
            return None if verdict is None else actions.RevealVote(dispute, *verdict)
    return upkeep(dispute, now, block)


def parts(view: ChainView) -> list[DisputeView]:
    """The disputes with a case, the one that ends first at the front."""
    cases = [dispute for dispute in view.disputes if dispute.case is not None]
    return sorted(cases, key=lambda dispute: dispute.case.commit_end)
