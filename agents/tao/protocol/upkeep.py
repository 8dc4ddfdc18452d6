"""Moves that are open to anyone, shared by all roles: they keep the game going and need no judgement."""

from tao.protocol import actions
from tao.protocol.clock import is_expired
from tao.protocol.views import CHALLENGER_MOVES, PROVER_MOVES, DisputeView, Phase, Stage, Status


def expired(dispute: DisputeView, now: int) -> bool:
    """True iff the side to move has let its clock run out."""
    if dispute.phase in PROVER_MOVES:
        return is_expired(now, dispute.turn_start, dispute.prover_left)
    if dispute.phase in CHALLENGER_MOVES:
        return is_expired(now, dispute.turn_start, dispute.challenger_left)
    return False


def upkeep(dispute: DisputeView, now: int, block: int) -> actions.Action | None:
    """The move anyone can make for this dispute at second `now` with `block` the latest block, if any."""
    if dispute.phase in (Phase.NONE, Phase.CLOSED):
        return None
    # A vote goes on: a verdict for the prover costs the challenger its bond all the same.
    if dispute.claim.status is Status.REFUTED and dispute.phase is not Phase.VOTE:
        return actions.Close(dispute)
    if expired(dispute, now):
        return actions.Timeout(dispute)
    if dispute.phase is Phase.VOTE and dispute.case is not None:
        if dispute.case.stage is Stage.ANNOUNCED and block > dispute.case.seed_block:
            return actions.Draw(dispute)
        if dispute.case.stage is Stage.TALLYING:
            return actions.SettleVote(dispute)
    return None
