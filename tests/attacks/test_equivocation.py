"""Attack: the prover says one thing in one round and another in the next, drops a tensor or alters one that
an operator only passes through, to lead the dispute to an operator where it is right.

Defence: every round inherits its ends by hash, the graph fixes how many values live at each cut, and at the
leaf a passed-through value must be the same before and after.
"""

import pytest

from game.stories import (
    Story,
    false_output,
    false_pass_through,
    honest,
    missing_value,
    networks,
    spoiled,
)
from support.raises import refused


def prove_inconsistent(play, dispute, story, node, after=None):
    record, path, before, _ = play.leaf(story, node)
    after = [value.commitment for value in story.states[node + 1]] if after is None else after
    play.send(play.watcher, "game", "proveInconsistent", dispute, (record, path, before, []), after)


def test_the_ends_of_a_round_are_those_of_the_round_before(play):
    """Revealing the truth in the second round does not help: the end of the segment stays the lie."""
    lie, truth = false_output(networks()["seven"], 4), honest(networks()["seven"])
    dispute = play.open(play.claim(lie))
    hashes = play.reveal(dispute, lie)
    play.select(dispute, hashes, 1)
    entry = play.dispute(dispute)
    assert (entry["lo"], entry["hi"]) == (3, 5)
    hashes = play.reveal(dispute, truth)
    assert hashes[-1] == entry["hi_state"]
    play.select(dispute, hashes, 1)
    mixed = Story("mixed", lie.network, truth.states[:5] + lie.states[5:], 4)
    play.prove(dispute, mixed)
    assert play.dispute(dispute)["outcome"] == "challenger won"


@pytest.mark.parametrize("node", [1, 5])
def test_an_altered_pass_through_loses_without_arithmetic(play, node):
    story = false_pass_through(networks()["seven"], node)
    dispute = play.to_leaf(story)
    prove_inconsistent(play, dispute, story, node)
    assert play.dispute(dispute)["outcome"] == "challenger won"


def test_a_dropped_value_loses_without_arithmetic(play):
    story = missing_value(networks()["seven"], 2)
    dispute = play.to_leaf(story)
    prove_inconsistent(play, dispute, story, 2)
    assert play.dispute(dispute)["outcome"] == "challenger won"


def test_an_added_value_loses_without_arithmetic(play):
    network = networks()["seven"]
    truth = honest(network)
    states = list(truth.states)
    states[3] = (*states[3], states[0][0])
    story = Story("one value too many", network, tuple(states), 2)
    dispute = play.to_leaf(story)
    prove_inconsistent(play, dispute, story, 2)
    assert play.dispute(dispute)["outcome"] == "challenger won"


def test_swapped_values_lose_without_arithmetic(play):
    """Two live values in the wrong order: each position of the state is fixed by the record."""
    network = networks()["seven"]
    truth = honest(network)
    states = list(truth.states)
    states[2] = states[2][::-1]
    story = Story("swapped values", network, tuple(states), 1)
    dispute = play.to_leaf(story)
    prove_inconsistent(play, dispute, story, 1)
    assert play.dispute(dispute)["outcome"] == "challenger won"


def test_consistent_states_cannot_be_called_inconsistent(play):
    story = honest(networks()["seven"])
    dispute = play.to_leaf(story, 1)
    with refused("StatesConsistent", dispute):
        prove_inconsistent(play, dispute, story, 1)
    with refused("StateMismatch"):
        prove_inconsistent(play, dispute, story, 1, after=[])


def test_other_outputs_than_those_in_the_prover_s_state_prove_nothing(play):
    """A challenger cannot put words into the prover's mouth."""
    truth = honest(networks()["contraction"])
    dispute = play.to_leaf(truth, 0)
    forged = Story("forged", truth.network, (truth.states[0], (spoiled(truth.states[1][0], 1),)), 0)
    with refused("StateMismatch"):
        play.prove(dispute, forged)
    other_inputs = Story("forged", truth.network, ((spoiled(truth.states[0][0], 1),), truth.states[1]), 0)
    with refused("StateMismatch"):
        play.prove(dispute, other_inputs)


def test_claims_of_one_prover_about_one_input_can_both_be_challenged(play):
    """Equivocation on the claim itself: two outputs for one input are two claims, each with its bond."""
    lie, truth = false_output(networks()["contraction"], 0), honest(networks()["contraction"])
    first, second = play.claim(lie), play.claim(truth)
    assert first != second
    assert play.read("vault", "totalLocked") == 2 * play.rules.prover_bond
    play.prove(play.open(first), lie)
    assert (play.status(first), play.status(second)) == ("refuted", "pending")


def test_a_refuted_claim_cannot_be_made_again(play):
    story = false_output(networks()["contraction"], 0)
    claim = play.claim(story)
    play.prove(play.open(claim), story)
    with refused("DuplicateClaim", claim):
        play.claim(story)
