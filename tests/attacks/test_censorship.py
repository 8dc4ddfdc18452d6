"""Attack: the honest side's transactions are kept out of blocks for a while, so that it loses on time.

Defence: clocks are budgets for the whole dispute, and time lost to censorship shorter than what is left of
the budget costs nothing; the opponent's clock is not touched.
"""

import pytest

from game.stories import false_output, honest, networks
from support.raises import refused


@pytest.mark.parametrize("censored", ["in one piece", "a little in every turn"])
def test_a_prover_censored_for_less_than_its_budget_does_not_lose(play, censored):
    story = honest(networks()["seven"])
    claim = play.claim(story)
    dispute = play.open(claim)
    slack = play.rules.prover_clock
    delays = [slack, 0] if censored == "in one piece" else [slack // 2, slack - slack // 2]
    opened = play.time
    for delay in delays:
        with refused("ClockRunning"):
            play.send(play.stranger, "game", "timeout", dispute, at=play.time + delay)
        hashes = play.reveal(dispute, story, at=play.time)
        play.select(dispute, hashes, 0, at=play.time)
    assert play.time - opened == slack
    assert play.dispute(dispute)["phase"] == "leaf"
    assert play.dispute(dispute)["challenger_left"] == play.rules.challenger_clock
    play.send(play.prover, "game", "timeout", dispute, at=play.deadline(dispute) + 1)
    assert play.status(claim) in ("pending", "finalisable")


def test_a_challenger_censored_for_less_than_its_budget_still_proves(play):
    story = false_output(networks()["seven"], 4)
    dispute = play.open(play.claim(story))
    half = play.rules.challenger_clock // 2
    hashes = play.reveal(dispute, story)
    play.select(dispute, hashes, 1, at=play.time + half)
    hashes = play.reveal(dispute, story, at=play.time)
    play.select(dispute, hashes, 1, at=play.time + half - 1)
    play.prove(dispute, story, at=play.deadline(dispute))
    assert play.dispute(dispute)["outcome"] == "challenger won"


def test_the_clocks_stand_still_while_the_committee_votes(play):
    """A vote that takes longer than both clocks together costs neither side the dispute."""
    play.seat()
    case = play.open(play.claim(honest(networks()["vote"])))
    play.escalate(case)
    later = play.time + play.rules.prover_clock + play.rules.challenger_clock
    with refused("ClockRunning"):
        play.send(play.stranger, "game", "timeout", case, at=later)
    panel = play.draw(case)
    play.vote(case, dict.fromkeys(panel, 1))
    play.send(play.stranger, "game", "settleVote", case)
    assert play.dispute(case)["outcome"] == "prover won"
