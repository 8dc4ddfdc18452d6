"""Attack: many challengers dispute a true claim, one after the other, to keep it from becoming final.

Defence: all disputes of a claim run side by side and none opens after the window, so finality comes at the
latest one dispute after it, whatever their number, and every lost challenge pays the prover.
"""

from game.stories import honest, networks
from support.raises import refused


def test_finality_is_one_dispute_after_the_window_however_many_challengers_there_are(play):
    story = honest(networks()["seven"])
    claim = play.claim(story)
    window_end = play.read("claims", "windowEnd", claim)
    attackers = [play.challenger, play.friend, play.watcher, play.client, play.stranger, *play.members]
    disputes = [play.open(claim, attacker, at=window_end) for attacker in attackers]
    with refused("NotChallengeable"):
        play.open(claim, play.prover, at=window_end + 1)
    for dispute in disputes:
        play.reveal(dispute, story, at=window_end + play.rules.prover_clock)
    last = max(play.deadline(dispute) for dispute in disputes)
    assert last <= window_end + play.rules.prover_clock + play.rules.challenger_clock
    for dispute in disputes:
        play.send(play.prover, "game", "timeout", dispute, at=last + 1)
    play.send(play.prover, "claims", "finalise", claim, at=last + 1)
    assert play.status(claim) == "finalised"
    bond, count = play.rules.challenger_bond, len(attackers)
    assert play.credit(play.prover) == play.rules.prover_bond + count * (bond - play.rules.burned(bond))


def test_a_dispute_lasts_no_longer_than_both_clocks_whatever_the_players_do(play):
    """Both sides use every second they have, over all rounds."""
    story = honest(networks()["seven"])
    opened = play.time + 10
    dispute = play.open(play.claim(story, at=opened), at=opened)
    hashes = play.reveal(dispute, story, at=opened + 600)
    play.select(dispute, hashes, 0, at=opened + 600 + 700)
    play.reveal(dispute, story, at=opened + 900 + 700)
    assert play.dispute(dispute)["prover_left"] == 0
    assert play.deadline(dispute) == opened + play.rules.prover_clock + play.rules.challenger_clock


def test_one_challenger_has_one_dispute_of_a_claim(play):
    claim = play.claim(honest(networks()["seven"]))
    dispute = play.open(claim)
    with refused("DuplicateDispute", dispute):
        play.open(claim)
