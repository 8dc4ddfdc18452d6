"""Attack: someone copies a pending transaction and gets in first, to take its place or to make it fail.

Defence: every id contains its author, so a copy is another claim or another dispute; a leaf proof may be
sent by anyone, and whoever sends it the reward is the challenger's.
"""

from game.stories import false_output, honest, networks
from support.raises import refused


def test_a_copied_claim_is_another_claim(play):
    story = honest(networks()["contraction"])
    stolen = play.claim(story, prover=play.stranger)
    original = play.claim(story)
    assert stolen != original
    assert play.status(original) == "pending"


def test_a_copied_challenge_is_another_dispute(play):
    claim = play.claim(false_output(networks()["contraction"], 0))
    stolen = play.open(claim, play.stranger)
    original = play.open(claim, play.challenger)
    assert stolen != original
    assert play.dispute(original)["challenger"] == play.challenger


def test_a_copied_proof_rewards_the_challenger_not_the_sender(play):
    story = false_output(networks()["contraction"], 0)
    dispute = play.open(play.claim(story))
    play.prove(dispute, story, sender=play.stranger)
    assert play.credit(play.stranger) == 0
    share = play.rules.prover_bond - play.rules.burned(play.rules.prover_bond)
    assert play.credit(play.challenger) == share + play.rules.challenger_bond
    # The challenger's own transaction comes too late and finds its work done.
    with refused("AlreadyClosed", dispute):
        play.prove(dispute, story)


def test_a_proof_copied_into_another_dispute_does_not_touch_the_first(play):
    """The copier opens a dispute of its own and wins it; the honest challenger is refunded in full."""
    story = false_output(networks()["contraction"], 0)
    claim = play.claim(story)
    original, copied = play.open(claim), play.open(claim, play.stranger)
    play.prove(copied, story, sender=play.stranger)
    with refused("ClaimRefutedElsewhere", claim):
        play.prove(original, story)
    play.send(play.challenger, "game", "close", original)
    assert play.dispute(original)["outcome"] == "moot"
    assert play.credit(play.challenger) == play.rules.challenger_bond


def test_nobody_moves_for_the_prover_or_the_challenger(play):
    story = honest(networks()["seven"])
    dispute = play.open(play.claim(story))
    for outsider in (play.challenger, play.stranger):
        with refused("NotYourTurn", outsider, play.prover):
            play.send(outsider, "game", "reveal", dispute, 0, 7, play.inner_states(dispute, story), [])
    hashes = play.reveal(dispute, story)
    for outsider in (play.prover, play.stranger):
        with refused("NotYourTurn", outsider, play.challenger):
            play.select(dispute, hashes, 0, outsider)


def test_a_request_cannot_be_taken_by_a_claim_that_does_not_fit_it(play):
    request = play.request(honest(networks()["contraction"]), fee=1)
    with refused("RequestMismatch", request):
        play.claim(honest(networks()["vote"]), prover=play.stranger, request=request)
    play.claim(honest(networks()["contraction"]), request=request)
