"""What has become of an account's bonds, in sentences for whoever runs its role."""

from collections.abc import Iterator

from web3 import Web3

from tao.chain.reader import Reader
from tao.protocol.views import ChainView, DisputeView, Outcome, Phase, Status
from tao.roles.role import short

Told = tuple[bytes, str, str]
"""The claim or dispute, `won`, `lost` or `ended`, and a sentence."""


def outcomes(view: ChainView, me: str, reader: Reader) -> Iterator[Told]:
    """Of all claims and disputes of `me` that are over. Claims that became final are told by who finalises them."""
    for claim in view.claims:
        if claim.prover == me and claim.status is Status.REFUTED:
            lost = f"its bond of {ether(reader.prover_bond)} is lost"
            yield claim.claim_id, "lost", f"claim {short(claim.claim_id)} was refuted: {lost}"
    for dispute in view.disputes:
        if dispute.phase is Phase.CLOSED and me in (dispute.challenger, dispute.claim.prover):
            kind, sentence = _ended(dispute, me, reader)
            if sentence:
                yield dispute.dispute_id, kind, f"dispute {short(dispute.dispute_id)} {sentence}"


def _ended(dispute: DisputeView, me: str, reader: Reader) -> tuple[str, str]:
    """How a dispute ended for `me`; the prover of a refuted claim is told of the claim."""
    is_challenger = dispute.challenger == me
    bond = f"its bond of {ether(reader.challenger_bond)}"
    locks = dispute.dispute_id, *((dispute.claim.claim_id,) if is_challenger else ())
    paid = f"{ether(reader.credited(me, locks))} credited; `tao withdraw` pays it out"
    match dispute.outcome, is_challenger:
        case Outcome.CHALLENGER_WON, True:
            return "won", f"won: {paid}"
        case Outcome.PROVER_WON, True:
            return "lost", f"lost: {bond} is lost"
        case Outcome.PROVER_WON, False:
            return "won", f"won: {paid}"
        case Outcome.UNDECIDED, True:
            return "ended", f"ended undecided, as too few members voted: {bond} is credited"
        case Outcome.UNDECIDED, False:
            return "ended", "ended undecided, as too few members voted: the claim stands"
        case Outcome.MOOT, True:
            return "ended", f"ended, as its claim was refuted in another one: {bond} is credited"
    return "", ""


def ether(wei: int) -> str:
    """An amount for people."""
    return f"{Web3.from_wei(wei, 'ether')} ETH"
