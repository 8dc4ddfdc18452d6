"""Attack: a move in the last second, or after it, hoping that one side reads `>` where the other reads `>=`.

Defence: one rule of expiry for moves and for `timeout`: at any second exactly one of them is allowed.
"""

import pytest

from game.stories import false_output, honest, networks
from support.raises import refused


@pytest.mark.parametrize("offset", [-1, 0])
def test_the_side_to_move_may_move_up_to_and_including_its_deadline(play, offset):
    story = honest(networks()["seven"])
    dispute = play.open(play.claim(story))
    deadline = play.deadline(dispute)
    with refused("ClockRunning"):
        play.send(play.challenger, "game", "timeout", dispute, at=deadline + offset)
    play.reveal(dispute, story, at=deadline + offset)
    assert play.dispute(dispute)["phase"] == "select"
    assert play.dispute(dispute)["prover_left"] == -offset


def test_from_the_second_after_the_deadline_only_timeout_is_allowed(play):
    story = honest(networks()["seven"])
    dispute = play.open(play.claim(story))
    deadline = play.deadline(dispute)
    with refused("ClockExpired"):
        play.reveal(dispute, story, at=deadline + 1)
    play.send(play.stranger, "game", "timeout", dispute, at=deadline + 1)
    assert play.dispute(dispute)["outcome"] == "challenger won"


@pytest.mark.parametrize("phase", ["select", "leaf", "answer"])
def test_the_other_phases_expire_like_the_first(play, phase):
    story = false_output(networks()["seven"], 4)
    dispute = play.open(play.claim(story))
    if phase == "select":
        hashes = play.reveal(dispute, story)
    else:
        play.descend(dispute, story, 4)
    if phase == "answer":
        play.send(play.challenger, "game", "demand", dispute, play.leaf(story, 4), True, 0, 0)
    after = play.deadline(dispute) + 1
    with refused("ClockRunning"):
        play.send(play.stranger, "game", "timeout", dispute, at=after - 1)
    with refused("ClockExpired"):
        match phase:
            case "select":
                play.select(dispute, hashes, 2, at=after)
            case "leaf":
                play.prove(dispute, story, at=after)
            case "answer":
                tensor = play.output(story, 4)
                opening = (tensor.commitment, tensor.type.packed, 0, tensor.chunk(0), tensor.path(0))
                play.send(play.prover, "game", "answer", dispute, *opening, at=after)
    play.send(play.stranger, "game", "timeout", dispute, at=after)
    assert play.dispute(dispute)["outcome"] == ("challenger won" if phase == "answer" else "prover won")


def test_the_window_and_finality_share_a_boundary(play):
    claim = play.claim(honest(networks()["contraction"]))
    end = play.read("claims", "windowEnd", claim)
    with refused("NotFinalisable"):
        play.send(play.stranger, "claims", "finalise", claim, at=end)
    with refused("NotChallengeable"):
        play.open(claim, at=end + 1)
    play.send(play.stranger, "claims", "finalise", claim, at=end + 1)
    assert play.status(claim) == "finalised"


def test_a_dispute_may_be_opened_in_the_last_second_of_the_window(play):
    claim = play.claim(honest(networks()["contraction"]))
    play.open(claim, at=play.read("claims", "windowEnd", claim))
    assert play.status(claim) == "disputed"


@pytest.mark.parametrize(("offset", "stage"), [(-1, "commit"), (0, "commit"), (1, "tallying")])
def test_the_commit_stage_ends_after_its_last_second(play, offset, stage):
    play.seat()
    case = play.to_leaf(honest(networks()["vote"]), 0)
    play.escalate(case)
    play.draw(case)
    play.wait_until(play.read("committee", "deadlinesOf", case)[0] + offset)
    assert play.stage(case) == stage
