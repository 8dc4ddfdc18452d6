"""Attacks on the vote: copy another's commitment, choose the seed, change the stakes once it is known, stay
away, or ask many panels and keep the one that pleases.

Defence: a commitment names its voter and its case; the seed block is announced before it exists and
settles, with the members of that moment whose stake was there before the claim, who is drawn; absence and, beyond a
margin, the minority are paid for; no quorum refunds; a panel that was asked decides, whatever another one said.
"""

import pytest

from game.stories import honest, networks
from support.play import ACCEPT, REJECT
from support.raises import refused


@pytest.fixture
def case(play):
    """A dispute before the committee, its panel drawn from seven members."""
    play.seat()
    dispute = escalated(play)
    play.panel = play.draw(dispute)
    return dispute


def escalated(play, challenger=None):
    story = honest(networks()["vote"])
    claim = play.claim(story) if challenger is None else play.dispute_of
    play.dispute_of = claim
    dispute = play.open(claim, challenger)
    play.escalate(dispute, challenger)
    return dispute


def test_a_copied_commitment_opens_for_nobody_but_its_author(play, case):
    author, copier, third = play.panel
    copied = play.ballot(case, author, REJECT)
    for member in (author, copier):
        play.send(member, "committee", "commit", case, copied)
    play.commit(case, third, ACCEPT)
    play.reveal_vote(case, author, REJECT)
    with refused("CommitmentMismatch"):
        play.reveal_vote(case, copier, REJECT)


def test_a_vote_of_one_case_does_not_count_in_another(play, case):
    other = escalated(play, play.watcher)
    panel = play.draw(other)
    for member in panel:
        play.send(member, "committee", "commit", other, play.ballot(case, member, REJECT))
    with refused("CommitmentMismatch"):
        play.reveal_vote(other, panel[0], REJECT)


def test_votes_are_not_revealed_while_others_may_still_commit(play, case):
    first, second, third = play.panel
    play.commit(case, first, ACCEPT)
    with refused("WrongStage"):
        play.reveal_vote(case, first, ACCEPT)
    play.commit(case, second, REJECT)
    with refused("AlreadyCommitted", case, first):
        play.commit(case, first, REJECT)
    play.commit(case, third, ACCEPT)
    assert play.stage(case) == "reveal"
    with refused("WrongStage"):
        play.commit(case, third, REJECT)


def test_the_panel_cannot_be_drawn_before_its_announced_block_is_past(play):
    play.seat()
    case = escalated(play)
    seed_block = play.read("committee", "seedBlockOf", case)
    assert seed_block > play.wire.now()[1]
    while play.wire.now()[1] < seed_block:
        with refused("SeedNotMined"):
            play.send(play.stranger, "committee", "draw", case)
    play.send(play.stranger, "committee", "draw", case)
    with refused("WrongStage"):
        play.send(play.stranger, "committee", "draw", case)


def test_the_panel_is_the_same_whoever_draws_it_and_whenever(play):
    """One seed, one panel: waiting for a better block or racing for the draw changes nothing."""
    play.seat()
    case = escalated(play)
    play.wire.mine(play.rules.seed_delay + 1)
    panels = set()
    for blocks, drawer in ((0, play.stranger), (0, play.prover), (5, play.challenger), (100, play.stranger)):
        snapshot = play.wire.snapshot()
        if blocks:
            play.wire.mine(blocks)
        play.send(drawer, "committee", "draw", case)
        panels.add(play.read("committee", "panelOf", case))
        play.wire.restore(snapshot)
    assert len(panels) == 1


def test_stakes_do_not_change_between_announcement_and_draw(play):
    """Who joins after the announcement is not drawn; who is in cannot leave, and asking to leave comes too
    late.
    """
    play.seat(play.members[:3])
    case = escalated(play)
    late = play.members[3]
    play.seat([late])
    leaver = play.members[0]
    play.send(leaver, "committee", "requestLeave")
    with refused("StakesFrozen"):
        play.send(leaver, "committee", "leave", at=play.time + play.rules.leave_delay)
    assert set(play.draw(case)) == set(play.members[:3])


def test_the_parties_do_not_judge_their_own_case(play):
    play.seat([play.prover, play.challenger, *play.members[:3]])
    assert set(play.draw(escalated(play))) == set(play.members[:3])


def test_a_member_on_a_panel_cannot_leave_before_the_tally(play, case):
    member = play.panel[0]
    play.send(member, "committee", "requestLeave")
    due = play.time + play.rules.leave_delay
    with refused("StakesFrozen"):
        play.send(member, "committee", "leave", at=due)
    play.vote(case, {})
    play.send(play.stranger, "game", "settleVote", case)
    play.send(member, "committee", "leave")
    assert play.credit(member) == play.rules.stake - play.rules.no_show_penalty


def test_who_does_not_reveal_pays_and_is_not_paid(play, case):
    first, second, absent = play.panel
    play.vote(case, {first: REJECT, second: REJECT})
    play.send(play.stranger, "game", "settleVote", case)
    rules = play.rules
    assert play.dispute(case)["outcome"] == "challenger won"
    assert play.read("committee", "stakeOf", absent) == rules.stake - rules.no_show_penalty
    assert [play.credit(member) for member in play.panel] == [rules.member_fee, rules.member_fee, 0]
    assert play.burned() == rules.burned(rules.prover_bond) + rules.no_show_penalty


def test_without_a_quorum_nobody_wins_and_both_bonds_stand(play, case):
    play.vote(case, {play.panel[0]: REJECT})
    play.send(play.stranger, "game", "settleVote", case)
    assert play.dispute(case)["outcome"] == "undecided"
    assert play.credit(play.challenger) == play.rules.challenger_bond
    assert play.status(play.dispute_of) == "pending"


def test_absence_never_pays_better_than_presence(play, case):
    """Without a quorum the absent pay those who came, and lose the whole penalty."""
    present, *absent = play.panel
    play.vote(case, {present: ACCEPT})
    play.send(play.stranger, "game", "settleVote", case)
    rules = play.rules
    assert 0 < play.credit(present) <= rules.member_fee
    assert [play.read("committee", "stakeOf", member) for member in absent] == [
        rules.stake - rules.no_show_penalty
    ] * 2
    assert play.credit(present) + play.burned() == 2 * rules.no_show_penalty


def test_a_penalised_member_is_not_drawn_again_before_it_tops_up(play, case):
    play.vote(case, {})
    play.send(play.stranger, "game", "settleVote", case)
    punished = set(play.panel)
    assert set(play.draw(escalated(play, play.watcher))) <= set(play.members) - punished
    for member in punished:
        play.send(member, "committee", "topUp", value=play.rules.no_show_penalty)


def test_panels_are_not_drawn_again_for_nothing(play, case):
    """Two disputes of a true claim are voted on; the panel that the challenger owns refutes it first. The other one
    decides all the same.
    """
    other = escalated(play, play.watcher)
    panel = play.draw(other)
    play.vote(other, dict.fromkeys(panel, REJECT))
    play.send(play.stranger, "game", "settleVote", other)
    assert play.status(play.dispute_of) == "refuted"
    before = play.credit(play.prover)
    with refused("VoteRunning", case):
        play.send(play.challenger, "game", "close", case)
    play.vote(case, dict.fromkeys(play.panel, ACCEPT))
    play.send(play.stranger, "game", "settleVote", case)
    rules, bond = play.rules, play.rules.challenger_bond
    assert play.dispute(case)["outcome"] == "prover won" and play.credit(play.challenger) == 0
    assert play.credit(play.prover) - before == bond - rules.burned(bond) - rules.size * rules.member_fee


def test_seats_bought_once_the_claim_is_there_are_not_drawn(play):
    """As many as are needed for a majority, in the block before the case is announced, asking to leave in the next."""
    play.seat(play.members[:3])
    dispute = play.open(play.claim(honest(networks()["vote"])))
    bought = [*play.members[3:], play.stranger, play.friend, play.client]
    play.seat(bought)
    play.escalate(dispute)
    for member in bought:
        play.send(member, "committee", "requestLeave")
    assert set(play.draw(dispute)) == set(play.members[:3])
