"""Attack: a prover disputes its own false claim, or has a friend win against it first, to get its bond back.

Defence: a share of whatever bond is lost is burned, so what a colluding pair holds together strictly falls.
"""

import pytest

from game.stories import false_output, honest, networks


def wealth(play, *accounts):
    return sum(play.credit(account) for account in accounts)


@pytest.mark.parametrize("winner", ["challenger", "prover"])
def test_a_colluding_pair_loses_the_burned_share_whoever_wins(play, winner):
    story = false_output(networks()["contraction"], 0)
    claim = play.claim(story)
    dispute = play.open(claim, play.friend)
    if winner == "challenger":
        play.prove(dispute, story, sender=play.friend)
        lost = play.rules.burned(play.rules.prover_bond)
    else:
        play.send(play.prover, "game", "timeout", dispute, at=play.deadline(dispute) + 1)
        end = play.read("claims", "windowEnd", claim)
        play.send(play.prover, "claims", "finalise", claim, at=max(end, play.time) + 1)
        lost = play.rules.burned(play.rules.challenger_bond)
    staked = play.rules.prover_bond + play.rules.challenger_bond
    assert wealth(play, play.prover, play.friend) == staked - lost
    assert 0 < lost == play.burned()


def test_being_both_sides_oneself_costs_the_same(play):
    story = false_output(networks()["contraction"], 0)
    dispute = play.open(play.claim(story), play.prover)
    play.prove(dispute, story, sender=play.prover)
    staked = play.rules.prover_bond + play.rules.challenger_bond
    assert play.credit(play.prover) == staked - play.rules.burned(play.rules.prover_bond)


def test_a_friend_who_refutes_first_saves_the_prover_no_more_than_the_unburned_share(play):
    """The honest challenger is refunded in full; the pair still pays for the false claim."""
    story = false_output(networks()["contraction"], 0)
    claim = play.claim(story)
    first, second = play.open(claim, play.friend), play.open(claim, play.challenger)
    play.prove(first, story, sender=play.friend)
    play.send(play.stranger, "game", "close", second)
    assert play.credit(play.challenger) == play.rules.challenger_bond
    staked = play.rules.prover_bond + play.rules.challenger_bond
    assert wealth(play, play.prover, play.friend) < staked


@pytest.mark.parametrize("verdict", ["accept", "reject"])
def test_a_vote_between_friends_costs_the_burned_share_and_the_fees(play, verdict):
    vote = 1 if verdict == "accept" else 2
    story = honest(networks()["vote"])
    play.seat()
    claim = play.claim(story)
    case = play.open(claim, play.friend)
    play.escalate(case, play.friend)
    panel = play.draw(case)
    play.vote(case, dict.fromkeys(panel, vote))
    play.send(play.stranger, "game", "settleVote", case)
    rules = play.rules
    lost_bond = rules.challenger_bond if verdict == "accept" else rules.prover_bond
    cost = rules.burned(lost_bond) + len(panel) * rules.member_fee
    if verdict == "accept":
        end = play.read("claims", "windowEnd", claim)
        play.send(play.prover, "claims", "finalise", claim, at=max(end, play.time) + 1)
    assert wealth(play, play.prover, play.friend) == rules.prover_bond + rules.challenger_bond - cost
