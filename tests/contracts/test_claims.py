"""Bad input to the claim registry is refused with the error that names it."""

import ape

from game.stories import false_output, honest, networks

UNKNOWN = b"\1" * 32
NONE = bytes(32)


def story():
    return honest(networks()["contraction"])


def arguments(play, told=None, request=NONE):
    told = told or story()
    return play.register(told.network), request, told.inputs, told.outputs, told.checkpoint_root


def test_the_bond_is_exact(play, claims, rules, actors):
    for sent in (0, rules.prover_bond - 1, rules.prover_bond + 1):
        with ape.reverts(claims.WrongBond, sent=sent, required=rules.prover_bond):
            claims.claim(*arguments(play), value=sent, sender=actors.prover)


def test_the_values_are_as_many_as_the_model_has(play, claims, rules, actors):
    model, request, inputs, outputs, _ = arguments(play)
    for given in ((inputs * 2, outputs), (inputs, []), ([], outputs)):
        with ape.reverts(claims.WrongValueCount):
            claims.claim(model, request, *given, NONE, value=rules.prover_bond, sender=actors.prover)
    with ape.reverts(claims.WrongValueCount, given=2, required=1):
        claims.request(model, inputs * 2, 0, sender=actors.client)


def test_a_run_has_checkpoints_iff_it_has_several_steps(play, claims, rules, actors):
    many = honest(networks()["steps"])
    for told, root, steps in ((story(), UNKNOWN, 1), (many, NONE, 4)):
        with ape.reverts(claims.WrongCheckpoints, checkpointRoot=root, steps=steps):
            claims.claim(*arguments(play, told)[:4], root, value=rules.prover_bond, sender=actors.prover)


def test_a_claim_of_an_unknown_model_is_refused(play, claims, models, rules, actors):
    told = story()
    with ape.reverts(models.UnknownModel, modelId=UNKNOWN):
        claims.claim(
            UNKNOWN, NONE, told.inputs, told.outputs, NONE, value=rules.prover_bond, sender=actors.prover
        )


def test_the_same_claim_or_request_twice_is_refused(play, claims, rules, actors):
    claim, request = play.claim(story()), play.request(story(), fee=5)
    with ape.reverts(claims.DuplicateClaim, claimId=claim):
        claims.claim(*arguments(play), value=rules.prover_bond, sender=actors.prover)
    with ape.reverts(claims.DuplicateRequest, requestId=request):
        claims.request(arguments(play)[0], story().inputs, 0, value=5, sender=actors.client)


def test_what_does_not_exist_is_unknown(play, claims, rules, actors):
    with ape.reverts(claims.UnknownClaim, claimId=UNKNOWN):
        claims.getClaim(UNKNOWN)
    with ape.reverts(claims.UnknownClaim, claimId=UNKNOWN):
        claims.standingOf(UNKNOWN)
    with ape.reverts(claims.UnknownClaim, claimId=UNKNOWN):
        claims.windowEnd(UNKNOWN)
    with ape.reverts(claims.UnknownRequest, requestId=UNKNOWN):
        claims.getRequest(UNKNOWN)
    with ape.reverts(claims.UnknownRequest, requestId=UNKNOWN):
        claims.cancel(UNKNOWN, sender=actors.client)
    with ape.reverts(claims.UnknownRequest, requestId=UNKNOWN):
        claims.claim(*arguments(play, request=UNKNOWN), value=rules.prover_bond, sender=actors.prover)
    with ape.reverts(claims.NotFinalisable, claimId=UNKNOWN, status=0):
        claims.finalise(UNKNOWN, sender=actors.prover)


def test_a_request_is_served_by_a_claim_that_fits_it(play, claims, rules, actors):
    request = play.request(story(), fee=5)
    with ape.reverts(claims.RequestMismatch, requestId=request):
        claims.claim(
            *arguments(play, honest(networks()["vote"]), request),
            value=rules.prover_bond,
            sender=actors.prover,
        )


def test_a_request_is_open_while_nobody_serves_it(play, claims, rules, actors):
    request = play.request(story(), fee=5)
    play.claim(story(), request=request)
    with ape.reverts(claims.RequestNotOpen, requestId=request):
        claims.claim(*arguments(play, request=request), value=rules.prover_bond, sender=actors.friend)
    with ape.reverts(claims.RequestNotOpen, requestId=request):
        claims.cancel(request, sender=actors.client)


def test_a_refuted_claim_opens_the_request_again_and_the_fee_stays(play, claims, rules, actors):
    lie = false_output(networks()["contraction"], 0)
    request = play.request(lie, fee=5)
    play.prove(play.open(play.claim(lie, request=request)), lie)
    claim = claims.claim(*arguments(play, request=request), value=rules.prover_bond, sender=actors.friend)
    (claimed,) = claim.events.filter(claims.Claimed)
    play.wait_until(play.read("claims", "windowEnd", claimed.claimId) + 1)
    claims.finalise(claimed.claimId, sender=actors.stranger)
    assert play.credit(play.friend) == rules.prover_bond + 5


def test_only_the_client_cancels_and_only_once(play, claims, actors):
    request = play.request(story(), fee=5)
    with ape.reverts(claims.NotClient, caller=actors.stranger.address, client=actors.client.address):
        claims.cancel(request, sender=actors.stranger)
    claims.cancel(request, sender=actors.client)
    assert play.credit(play.client) == 5
    with ape.reverts(claims.RequestNotOpen, requestId=request):
        claims.cancel(request, sender=actors.client)


def test_only_the_game_tells_of_disputes(play, claims, actors):
    claim = play.claim(story())
    for call in (claims.disputeOpened, claims.disputeClosed):
        with ape.reverts(claims.NotDisputeGame, caller=actors.stranger.address):
            call(claim, sender=actors.stranger)
    with ape.reverts(claims.NotDisputeGame, caller=actors.stranger.address):
        claims.refute(claim, actors.stranger, [], 0, sender=actors.stranger)


def test_a_final_claim_is_neither_finalised_nor_challenged_again(play, claims, game, rules, actors):
    claim = play.claim(story())
    with ape.reverts(claims.NotFinalisable, claimId=claim, status=1):
        claims.finalise(claim, sender=actors.prover)
    play.wait_until(play.read("claims", "windowEnd", claim) + 1)
    claims.finalise(claim, sender=actors.stranger)
    with ape.reverts(claims.NotFinalisable, claimId=claim, status=4):
        claims.finalise(claim, sender=actors.prover)
    with ape.reverts(claims.NotChallengeable, claimId=claim, status=4):
        game.open(claim, value=rules.challenger_bond, sender=actors.challenger)
