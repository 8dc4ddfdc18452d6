"""Bad input to the committee is refused with the error that names it."""

import ape
import pytest

from game.stories import honest, networks

SALT = b"\1" * 32


@pytest.fixture
def case(play):
    """An announced case with seven members to draw from."""
    play.seat()
    dispute = play.open(play.claim(honest(networks()["vote"])))
    play.escalate(dispute)
    return dispute


def test_the_stake_is_exact_and_each_member_has_one_seat(play, committee, rules, actors):
    with ape.reverts(committee.WrongStake, sent=1, required=rules.stake):
        committee.join(value=1, sender=actors.stranger)
    committee.join(value=rules.stake, sender=actors.stranger)
    with ape.reverts(committee.AlreadyMember, caller=actors.stranger.address):
        committee.join(value=rules.stake, sender=actors.stranger)
    with ape.reverts(committee.WrongStake, sent=1, required=0):
        committee.topUp(value=1, sender=actors.stranger)


def test_only_members_top_up_and_leave(play, committee, actors):
    for call in (committee.topUp, committee.requestLeave, committee.leave):
        with ape.reverts(committee.NotMember, caller=actors.stranger.address):
            call(sender=actors.stranger)


def test_leaving_takes_a_request_and_its_time(play, chain, committee, rules, actors):
    committee.join(value=rules.stake, sender=actors.stranger)
    with ape.reverts(committee.LeaveNotDue, caller=actors.stranger.address, leavesAt=0):
        committee.leave(sender=actors.stranger)
    committee.requestLeave(sender=actors.stranger)
    due = play.time + rules.leave_delay
    for call in (committee.requestLeave, committee.topUp):
        with ape.reverts(committee.AlreadyLeaving, caller=actors.stranger.address):
            call(sender=actors.stranger)
    chain.pending_timestamp = due - 1
    with ape.reverts(committee.LeaveNotDue, leavesAt=due):
        committee.leave(sender=actors.stranger)
    chain.pending_timestamp = due
    committee.leave(sender=actors.stranger)
    assert play.credit(play.stranger) == rules.stake


def test_stakes_are_frozen_while_a_draw_is_pending(play, committee, actors, case):
    with ape.reverts(committee.StakesFrozen, pendingDraws=1):
        committee.topUp(sender=actors.members[0])


def test_a_case_goes_through_its_stages_in_order(play, committee, game, actors, case):
    member = actors.members[0]
    with ape.reverts(committee.WrongStage, caseId=case, stage=1, required=2):
        committee.commit(case, SALT, sender=member)
    with ape.reverts(committee.SeedNotMined, caseId=case):
        committee.draw(case, sender=actors.stranger)
    play.draw(case)
    with ape.reverts(committee.WrongStage, caseId=case, stage=2, required=1):
        committee.draw(case, sender=actors.stranger)
    with ape.reverts(committee.WrongStage, caseId=case, stage=2, required=3):
        committee.reveal(case, 1, b"", SALT, sender=member)
    with ape.reverts(committee.WrongStage, caseId=case, stage=2, required=4):
        game.settleVote(case, sender=actors.stranger)
    with ape.reverts(committee.WrongStage, stage=0, required=1):
        committee.draw(SALT, sender=actors.stranger)


def test_who_may_commit_and_reveal_and_what(play, committee, actors, case):
    drawn = play.draw(case)
    panel = [member for member in actors.members if member.address.lower() in drawn]
    first, second, _ = panel
    outsider = next(member for member in actors.members if member not in panel)
    long = bytes(1_025)
    commitment = committee.voteHash(case, first, 1, b"measured", SALT)
    with ape.reverts(committee.NotOnPanel, caseId=case, caller=outsider.address):
        committee.commit(case, commitment, sender=outsider)
    with ape.reverts(committee.NothingCommitted, caseId=case, caller=first.address):
        committee.commit(case, bytes(32), sender=first)
    committee.commit(case, commitment, sender=first)
    with ape.reverts(committee.AlreadyCommitted, caseId=case, caller=first.address):
        committee.commit(case, commitment, sender=first)
    committee.commit(case, committee.voteHash(case, panel[2], 1, b"", SALT), sender=panel[2])
    play.wait_until(play.read("committee", "deadlinesOf", case)[0] + 1)

    with ape.reverts(committee.NotOnPanel, caller=outsider.address):
        committee.reveal(case, 1, b"", SALT, sender=outsider)
    with ape.reverts(committee.NothingCommitted, caller=second.address):
        committee.reveal(case, 1, b"", SALT, sender=second)
    with ape.reverts(committee.InvalidVote):
        committee.reveal(case, 0, b"measured", SALT, sender=first)
    with ape.reverts(committee.StatisticsTooLong, length=1_025, limit=1_024):
        committee.reveal(case, 1, long, SALT, sender=first)
    for wrong in ((2, b"measured", SALT), (1, b"", SALT), (1, b"measured", bytes(32))):
        with ape.reverts(committee.CommitmentMismatch, required=commitment):
            committee.reveal(case, *wrong, sender=first)
    committee.reveal(case, 1, b"measured", SALT, sender=first)
    with ape.reverts(committee.AlreadyRevealed, caseId=case, caller=first.address):
        committee.reveal(case, 1, b"measured", SALT, sender=first)


def test_only_the_game_convenes_and_tallies(play, committee, actors, case):
    calls = ((committee.convene, actors.prover, actors.challenger, 1), (committee.tally,))
    for method, *arguments in calls:
        with ape.reverts(committee.NotDisputeGame, caller=actors.stranger.address):
            method(case, *arguments, sender=actors.stranger)
