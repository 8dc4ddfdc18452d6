"""Attack: a challenger in league with the prover loses on purpose, so that the false claim counts as
defended.

Defence: a lost dispute changes nothing for other challengers, and a claim becomes final only when its
window is over and no dispute is open.
"""

from game.stories import false_output, networks
from support.raises import refused


def test_a_lost_dispute_leaves_the_claim_open_to_everyone_else(play):
    story = false_output(networks()["seven"], 4)
    claim = play.claim(story)
    laundered = play.open(claim, play.friend)
    play.wait_until(play.deadline(laundered) + 1)
    # The prover is the one to move first, so it must reveal for its friend to lose on time.
    assert play.dispute(laundered)["phase"] == "reveal"
    play.send(play.stranger, "game", "timeout", laundered)
    assert play.status(claim) == "refuted"


def test_a_claim_defended_against_a_friend_is_refuted_by_a_stranger(play):
    story = false_output(networks()["seven"], 4)
    claim = play.claim(story)
    laundered = play.open(claim, play.friend)
    play.reveal(laundered, story)
    play.wait_until(play.deadline(laundered) + 1)
    play.send(play.prover, "game", "timeout", laundered)
    assert play.dispute(laundered)["outcome"] == "prover won"
    assert play.status(claim) == "pending"

    honest = play.open(claim, play.challenger)
    play.descend(honest, story, 4)
    play.prove(honest, story)
    assert play.status(claim) == "refuted"


def test_a_claim_is_not_final_while_any_dispute_is_open(play):
    story = false_output(networks()["seven"], 4)
    claim = play.claim(story)
    end = play.read("claims", "windowEnd", claim)
    laundered = play.open(claim, play.friend, at=end - 5)
    honest = play.open(claim, play.challenger, at=end)
    hashes = play.reveal(laundered, story)
    play.reveal(honest, story)
    play.select(laundered, hashes, 0)
    with refused("NotFinalisable"):
        play.send(play.prover, "claims", "finalise", claim, at=end + 1)
    # Not even when all disputes but one are lost.
    play.wait_until(play.deadline(laundered) + 1)
    play.send(play.challenger, "game", "timeout", laundered)
    assert play.status(claim) == "refuted"
    with refused("NotFinalisable"):
        play.send(play.prover, "claims", "finalise", claim)
