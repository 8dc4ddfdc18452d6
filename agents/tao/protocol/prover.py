"""The prover: serve requests, defend claims, collect."""

from collections.abc import Iterator

from tao.protocol import actions
from tao.protocol.upkeep import upkeep
from tao.protocol.views import PROVER_MOVES, ChainView, DisputeView, Phase, Status


def defend(dispute: DisputeView, now: int, block: int) -> actions.Action | None:
    """The prover's move in one dispute of its claim, or None while it is not its turn."""
    common = upkeep(dispute, now, block)
    if isinstance(common, actions.Timeout) and dispute.phase in PROVER_MOVES:
        return None  # The prover's own clock: another will end it.
    if common is not None:
        return common
    if dispute.phase is Phase.REVEAL:
        return _reveal(dispute)
    if dispute.phase is Phase.ANSWER:
        return actions.Answer(dispute)
    if dispute.phase is Phase.DEFENCE:
        return actions.Defend(dispute)
    if dispute.phase is Phase.DOUBT:
        return actions.Weigh(dispute)
    return None


def _reveal(dispute: DisputeView) -> actions.Reveal:
    inner = dispute.cuts[1:-1]
    if not dispute.spans_steps:
        return actions.Reveal(dispute, inner)
    return actions.Reveal(dispute, inner, tuple(cut // dispute.node_count for cut in inner))


def decide(view: ChainView, me: str, model_id: bytes, minimum_fee: int = 0) -> Iterator[actions.Action]:
    """The moves `me` should make now: defence first (it runs against a clock), then collecting, then work.

    Serves open requests for `model_id` that pay at least `minimum_fee` wei, each one once: where its own
    claim was refuted, the same computation would give the same claim.
    """
    mine = [dispute for dispute in view.disputes if dispute.claim.prover == me]
    for dispute in sorted(mine, key=lambda dispute: dispute.turn_start + dispute.prover_left):
        move = defend(dispute, view.now, view.block)
        if move is not None:
            yield move
    for claim in view.claims:
        if claim.prover == me and claim.status is Status.FINALISABLE:
            yield actions.Finalise(claim)
    served = {claim.request_id for claim in view.claims if claim.prover == me}
    for request in view.requests:
        fits = request.model_id == model_id and request.fee >= minimum_fee
        if request.is_open and fits and request.request_id not in served:
            yield actions.Serve(request)
