"""Attack: call `prove` with so little gas that the adjudicator, which gets 63/64 of it, runs dry, hoping
that the failure counts as an answer.

Defence: an adjudicator that does not run to its end makes `prove` revert; any gas gives a revert or the
same verdict.
"""

import pytest

from game.stories import false_output, honest, networks
from support.wire import Reverted

STEPS = 60


def least_gas(play, *args):
    """What the calldata alone costs at most (EIP-7623); a transaction with less never enters a block."""
    return 21_000 + 40 * (len(play.deployment.game.data("prove", *args)) // 2)


@pytest.mark.parametrize(("network", "node"), [("contraction", 0), ("seven", 0), ("seven", 1), ("seven", 2)])
def test_any_gas_limit_gives_a_revert_or_the_same_verdict(play, network, node):
    story = false_output(networks()[network], node)
    dispute = play.to_leaf(story)
    snapshot = play.wire.snapshot()
    enough = play.prove(dispute, story).gas_used
    outcomes = set()
    start = least_gas(play, dispute, play.leaf(story, node), play.proof(story, node).encoded)
    for gas in range(start, enough + enough // 8, enough // STEPS):
        play.wire.restore(snapshot)
        snapshot = play.wire.snapshot()
        try:
            play.prove(dispute, story, gas=gas)
        except Reverted:
            assert play.dispute(dispute)["phase"] == "leaf"
            outcomes.add("reverted")
        else:
            assert play.dispute(dispute)["outcome"] == "challenger won"
            outcomes.add("refuted")
    assert outcomes == {"reverted", "refuted"}


def test_no_gas_limit_makes_a_proof_of_an_honest_element_succeed(play):
    story = honest(networks()["contraction"])
    dispute = play.to_leaf(story, 0)
    leaf, proof = play.leaf(story, 0), play.proof(story, 0, 2).encoded
    for gas in range(least_gas(play, dispute, leaf, proof), 1_000_000, 20_000):
        with pytest.raises(Reverted):
            play.send(play.challenger, "game", "prove", dispute, leaf, proof, gas=gas)
    assert play.dispute(dispute)["phase"] == "leaf"
    assert play.status(play.dispute(dispute)["claim"]) == "disputed"
