"""Views for the tests of the pure rules."""

from dataclasses import replace

from tao.protocol.views import (
    CaseView,
    ChainView,
    ClaimView,
    DisputeView,
    Outcome,
    Phase,
    RequestView,
    Stage,
    Status,
    Vote,
)

PROVER, CHALLENGER, MEMBER, STRANGER = "0xP", "0xC", "0xM", "0xS"
MODEL = b"m" * 32
NOW = 10_000

CLAIM = ClaimView(
    claim_id=b"c" * 32,
    model_id=MODEL,
    request_id=None,
    prover=PROVER,
    inputs=(b"i" * 32,),
    outputs=(b"o" * 32,),
    checkpoint_root=None,
    claimed_at=NOW - 10,
    window_end=NOW + 100,
    status=Status.DISPUTED,
    open_disputes=1,
)

DISPUTE = DisputeView(
    dispute_id=b"d" * 32,
    claim=CLAIM,
    challenger=CHALLENGER,
    phase=Phase.REVEAL,
    outcome=Outcome.OPEN,
    fan_out=4,
    node_count=10,
    lo=0,
    hi=10,
    lo_state=b"0" * 32,
    hi_state=b"1" * 32,
    states={},
    hashes=(),
    demands_left=2,
    demand=None,
    prover_left=50,
    challenger_left=50,
    turn_start=NOW,
    case=None,
)

REQUEST = RequestView(
    request_id=b"r" * 32,
    model_id=MODEL,
    client=STRANGER,
    fee=7,
    inputs=(b"i" * 32,),
    active_claim=None,
    closed=False,
)


def claim(**changes) -> ClaimView:
    return replace(CLAIM, **changes)


def dispute(phase: Phase = Phase.REVEAL, **changes) -> DisputeView:
    return replace(DISPUTE, phase=phase, **changes)


def case(stage: Stage, commitment: bytes = bytes(32), vote: Vote = Vote.NONE, **changes) -> CaseView:
    base = CaseView(
        case_id=b"d" * 32,
        stage=stage,
        seed_block=90,
        panel=(MEMBER,),
        commit_end=NOW + 5,
        reveal_end=NOW + 10,
        votes={MEMBER: (commitment, vote)},
    )
    return replace(base, **changes)


def view(*disputes: DisputeView, claims=(), requests=(), now: int = NOW, block: int = 100) -> ChainView:
    return ChainView(now=now, block=block, requests=tuple(requests), claims=tuple(claims), disputes=disputes)
