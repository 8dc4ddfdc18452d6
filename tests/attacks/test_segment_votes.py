"""Attack: put more to the committee than it can judge, before the prover has spoken, or a segment again.

Defence: only the challenger may, only once the prover has revealed, for one step at most, and the vote ends
the dispute: it costs the challenger its bond where the segment follows.
"""

from game.stories import false_output, honest, networks
from support.play import ACCEPT, REJECT
from support.raises import refused


def decided(play, dispute, vote):
    panel = play.draw(dispute)
    play.vote(dispute, dict.fromkeys(panel, vote))
    play.send(play.stranger, "game", "settleVote", dispute)


def test_a_vote_on_the_whole_graph_ends_the_dispute_for_either_side(play):
    play.seat()
    for story, vote, outcome in (
        (honest(networks()["seven"]), ACCEPT, "prover won"),
        (false_output(networks()["seven"], 4), REJECT, "challenger won"),
    ):
        dispute = play.open(play.claim(story))
        play.reveal(dispute, story)
        event = play.escalate(dispute).event("Escalated")
        assert (event["lo"], event["hi"]) == (0, 7)
        entry = play.dispute(dispute)
        assert (entry["lo"], entry["hi"], entry["phase"]) == (0, 7, "vote")
        decided(play, dispute, vote)
        assert play.dispute(dispute)["outcome"] == outcome
    assert play.credit(play.prover) > 0


def test_a_segment_that_follows_costs_the_challenger_its_bond(play):
    play.seat()
    story = honest(networks()["seven"])
    claim = play.claim(story)
    dispute = play.open(claim)
    play.select(dispute, play.reveal(dispute, story), 0)
    play.reveal(dispute, story)
    play.escalate(dispute)
    decided(play, dispute, ACCEPT)
    bond, rules = play.rules.challenger_bond, play.rules
    assert play.credit(play.challenger) == 0
    assert play.credit(play.prover) == bond - rules.burned(bond) - rules.size * rules.member_fee
    assert play.status(claim) == "pending"


def test_nothing_goes_to_the_committee_before_the_prover_has_revealed(play):
    """Else the challenger would spare itself to replay, and the prover to commit to its states."""
    story = honest(networks()["seven"])
    dispute = play.open(play.claim(story))
    for sender in (play.challenger, play.prover):
        with refused("WrongPhase", dispute, 1, 3):
            play.escalate(dispute, sender)


def test_the_prover_cannot_take_a_segment_to_the_committee(play):
    """It would stop the descent to the operator that is wrong."""
    story = false_output(networks()["seven"], 4)
    dispute = play.open(play.claim(story))
    play.reveal(dispute, story)
    for sender in (play.prover, play.stranger):
        with refused("NotYourTurn", sender, play.challenger):
            play.escalate(dispute, sender)


def test_a_segment_of_several_steps_is_too_long(play):
    story = honest(networks()["steps"])
    dispute = play.open(play.claim(story))
    hashes = play.reveal(dispute, story)
    with refused("SegmentTooLong", 0, 12):
        play.escalate(dispute)
    play.select(dispute, hashes, 2)
    play.reveal(dispute, story)
    event = play.escalate(dispute).event("Escalated")
    assert (event["lo"], event["hi"]) == (9, 12)


def test_a_segment_goes_to_the_committee_once(play):
    play.seat()
    story = honest(networks()["seven"])
    dispute = play.open(play.claim(story))
    hashes = play.reveal(dispute, story)
    play.escalate(dispute)
    with refused("WrongPhase", dispute, 8, 3):
        play.escalate(dispute)
    with refused("WrongPhase", dispute, 8, 2):
        play.select(dispute, hashes, 0)
    decided(play, dispute, ACCEPT)
    with refused("AlreadyClosed", dispute):
        play.escalate(dispute)


def test_a_segment_is_escalated_up_to_the_last_second(play):
    story = honest(networks()["seven"])
    dispute, late = play.open(play.claim(story)), play.open(play.claim(story, play.watcher))
    play.reveal(dispute, story)
    play.reveal(late, story, play.watcher)
    end = play.deadline(dispute)
    play.escalate(dispute, at=end)
    with refused("ClockExpired", late):
        play.escalate(late, at=play.deadline(late) + 1)
