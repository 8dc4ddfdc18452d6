"""Attack: accuse an honest prover of an element beyond its calibrated threshold, again and again or by a
threshold that is not the node's, so that it pays for its defence or misses its turn.

Defence: an accusation needs the node's own threshold and a contract that measured the excess; a dispute takes
one, which ends it; and where the committee finds the operator within its tolerance, the accuser's bond pays
the prover.
"""

import pytest

from game.stories import false_output, honest, networks
from support.encoding import ZERO
from support.play import ACCEPT, REJECT
from support.raises import refused
from support.wire import Reverted


def calibrated(lie=None):
    network = networks()["calibrated"]
    return honest(network) if lie is None else false_output(network, lie)


THETA = 5 << 15


def accused(play, story, measured=THETA + 1):
    claim = play.claim(story)
    dispute = play.open(claim)
    play.accuse(dispute, story, measured)
    return claim, dispute


def decided(play, dispute, vote):
    """The prover defends itself, and the whole panel votes alike."""
    play.escalate(dispute, play.prover)
    panel = play.draw(dispute)
    play.vote(dispute, dict.fromkeys(panel, vote))
    play.send(play.stranger, "game", "settleVote", dispute)


def test_accusing_an_honest_prover_costs_the_whole_bond_and_the_prover_gains(play):
    play.seat()
    claim, dispute = accused(play, calibrated())
    decided(play, dispute, ACCEPT)
    bond, rules = play.rules.challenger_bond, play.rules
    assert play.dispute(dispute)["outcome"] == "prover won"
    assert play.credit(play.challenger) == 0
    assert play.credit(play.prover) == bond - rules.burned(bond) - rules.size * rules.member_fee > 0
    assert play.status(claim) == "pending"


def test_an_accused_cheat_loses_by_the_committee(play):
    play.seat()
    claim, dispute = accused(play, calibrated(0))
    decided(play, dispute, REJECT)
    assert play.status(claim) == "refuted"
    assert play.credit(play.challenger) > play.rules.challenger_bond


def test_an_accused_prover_that_keeps_silent_loses_on_time_and_not_a_second_before(play):
    claim, dispute = accused(play, calibrated(0))
    with refused("ClockRunning", dispute):
        play.send(play.challenger, "game", "timeout", dispute, at=play.deadline(dispute))
    play.send(play.challenger, "game", "timeout", dispute, at=play.deadline(dispute) + 1)
    assert play.status(claim) == "refuted"


def test_a_defence_in_the_last_second_is_in_time(play):
    _, dispute = accused(play, calibrated())
    play.escalate(dispute, play.prover, at=play.deadline(dispute))
    assert play.dispute(dispute)["phase"] == "vote"


def test_an_accusation_is_made_once_in_a_dispute(play):
    story = calibrated()
    _, dispute = accused(play, story)
    with refused("WrongPhase", dispute, 5, 3):
        play.accuse(dispute, story, THETA + 2)
    play.escalate(dispute, play.prover)
    with refused("WrongPhase", dispute, 8, 3):
        play.accuse(dispute, story, THETA + 2)


def test_each_accuser_stakes_a_bond_of_its_own(play):
    """Two accusations of one claim need two bonds, and each is lost on its own."""
    story = calibrated()
    claim, dispute = accused(play, story)
    with refused("DuplicateDispute", dispute):
        play.open(claim)
    other = play.open(claim, play.friend)
    play.accuse(other, story, THETA + 1, sender=play.friend)
    decided(play, dispute, ACCEPT)
    assert play.dispute(other)["phase"] == "defence"
    assert play.status(claim) == "disputed"


def test_the_accuser_cannot_answer_for_the_prover_nor_anybody_accuse_for_the_challenger(play):
    story = calibrated()
    dispute = play.open(play.claim(story))
    for outsider in (play.prover, play.stranger):
        with refused("NotYourTurn", outsider, play.challenger):
            play.accuse(dispute, story, THETA + 1, sender=outsider)
    play.accuse(dispute, story, THETA + 1)
    for outsider in (play.challenger, play.stranger):
        with refused("NotYourTurn", outsider, play.prover):
            play.escalate(dispute, outsider)


def test_an_element_at_its_threshold_is_not_beyond_it(play):
    story = calibrated()
    dispute = play.open(play.claim(story))
    with refused("NotExceeded", dispute):
        play.accuse(dispute, story, THETA)


def test_the_threshold_of_another_node_is_refused(play):
    """Node 2 has a third of the threshold of node 0, in the same tree."""
    story = honest(networks()["seven"])
    network = story.network
    assert 0 < network.theta(2) < network.theta(0)
    dispute = play.to_leaf(story, 0)
    other = dict(theta=network.theta(2), other=network.tolerance_hash(2))
    for path in (network.tolerance_path(0), network.tolerance_path(2)):
        with refused("ThresholdMismatch", 0, network.theta(2)):
            play.accuse(dispute, story, 2**40, path=path, **other)


@pytest.mark.parametrize("part", ["theta", "other", "segments", "shorter", "longer", "swapped"])
def test_a_threshold_that_was_not_committed_is_refused(play, part):
    story = honest(networks()["seven"])
    network = story.network
    path = network.tolerance_path(0)
    changed = {
        "theta": {"theta": 1},
        "other": {"other": ZERO},
        "segments": {"path": [*path[:-1], ZERO]},
        "shorter": {"path": path[:-1]},
        "longer": {"path": [*path, ZERO]},
        "swapped": {"path": [path[-1], *path[:-1]]},
    }[part]
    dispute = play.to_leaf(story, 0)
    with refused("ThresholdMismatch", 0, changed.get("theta", network.theta(0))):
        play.accuse(dispute, story, 2**40, **changed)


def test_an_operator_without_a_threshold_cannot_be_accused(play):
    story = honest(networks()["seven"])
    assert story.network.theta(1) == 0
    dispute = play.to_leaf(story, 1)
    with refused("NotCalibrated", 1):
        play.accuse(dispute, story, 2**40)


def test_an_operator_whose_adjudicator_does_not_measure_cannot_be_accused(play):
    """Copies are decided exactly, whatever threshold was registered; some operators have no adjudicator."""
    story = honest(networks()["seven"])
    assert story.network.theta(2) > 0 and story.network.theta(3) > 0
    copy, vote = play.to_leaf(story, 2), play.open(play.claim(honest(networks()["vote"])))
    with pytest.raises(Reverted, match="no data"):
        play.accuse(copy, story, 2**40)
    with refused("NoAdjudicator"):
        play.accuse(vote, honest(networks()["vote"]), 2**40)
    assert play.dispute(copy)["phase"] == play.dispute(vote)["phase"] == "leaf"


def test_a_step_of_training_cannot_be_accused(play):
    """Its operators round by rules of their own, which thresholds of inference say nothing about."""
    story = honest(networks()["steps"])
    dispute = play.to_leaf(story, 3)
    assert story.network.theta(3) > 0
    with refused("NotCalibrated", 0):
        play.accuse(dispute, story, 2**40)


def test_what_is_said_about_the_operator_is_checked_before_it_is_measured(play):
    story = calibrated()
    dispute = play.open(play.claim(story))
    record, path, before, outputs = play.leaf(story, 0)
    network = story.network
    proof = (THETA + 1).to_bytes(32, "big")
    threshold = (network.theta(0), network.tolerance_hash(0), network.tolerance_path(0))
    for leaf, error in (
        ((record[:-1] + b"\7", path, before, outputs), "NodeNotInGraph"),
        ((record, path, [ZERO], outputs), "StateMismatch"),
        ((record, path, before, [ZERO]), "StateMismatch"),
        ((record, path, before, []), "WrongStateCount"),
    ):
        with refused(error):
            play.send(play.challenger, "game", "accuse", dispute, leaf, proof, *threshold)


def test_a_dispute_with_an_accusation_ends_no_later_than_any_other(play):
    """Both sides pay their time: the accusation does not refill a clock."""
    story = calibrated()
    opened = play.time + 60  # later than the network is registered
    dispute = play.open(play.claim(story, at=opened), at=opened)
    play.send(play.challenger, "game", "demand", dispute, play.leaf(story, 0), True, 0, 0, at=opened + 500)
    tensor = play.output(story, 0)
    play.send(
        play.prover,
        "game",
        "answer",
        dispute,
        tensor.commitment,
        tensor.type.packed,
        0,
        tensor.chunk(0),
        tensor.path(0),
        at=opened + 900,
    )
    play.accuse(dispute, story, THETA + 1, at=opened + 1_000)
    assert play.deadline(dispute) == opened + 1_000 + play.rules.prover_clock - 400
