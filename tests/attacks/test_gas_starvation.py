"""Attack: call what asks an adjudicator with so little gas that the adjudicator, which gets 63/64 of it, runs dry,
hoping that the failure counts as an answer.

Defence: an adjudicator that does not run to its end makes the call revert; any gas gives a revert or the same
verdict.
"""

import pytest

from game.stories import false_output, honest, networks
from support.graphs import one_sum
from support.sums import Row, SumPlay
from support.wire import Reverted

STEPS = 60
UNDECIDED = (False, "leaf", "open")
"""The call reverts, and the dispute is where it was."""


def least_gas(play, contract, method, *args):
    """What the calldata alone costs at most (EIP-7623); a transaction with less never enters a block."""
    data = getattr(play.deployment, contract).data(method, *args)
    return 21_000 + 40 * (len(data) // 2)


def verdicts(play, contract, method, dispute, *args, most=None):
    """Whether the challenger's call succeeds, and where the dispute is then, over gas limits up to `most`, or to more
    than the call needs."""
    call = (contract, method, dispute, *args)
    snapshot = play.wire.snapshot()
    if most is None:
        most = play.send(play.challenger, *call).gas_used * 9 // 8
    least, found = least_gas(play, *call), set()
    for gas in range(least, most, (most - least) // STEPS):
        play.wire.restore(snapshot)
        snapshot = play.wire.snapshot()
        try:
            play.send(play.challenger, *call, gas=gas)
            succeeds = True
        except Reverted:
            succeeds = False
        entry = play.dispute(dispute)
        found.add((succeeds, entry["phase"], entry["outcome"]))
    return found


def proof(play, story, node):
    """What `prove` gets about the false element of a node, or about an honest one."""
    dispute = play.to_leaf(story, node)
    return dispute, play.leaf(story, node), play.proof(story, node).encoded


def accusation(play, story, node):
    """What `accuse` gets."""
    network = story.network
    assert network.theta(node) > 0
    threshold = (network.theta(node), network.tolerance_hash(node), network.tolerance_path(node))
    return *proof(play, story, node), *threshold


def accepted_sums(play, story):
    """What `prove` of the sum game gets, where the prover has accepted the sums over the row."""
    game = SumPlay(play, Row(story))
    game.assert_sum()
    game.accept()
    return game.dispute, game.leaf, game.row.proof(), game.row.sums()


@pytest.mark.parametrize(("network", "node"), [("contraction", 0), ("seven", 0), ("seven", 1), ("seven", 2)])
def test_any_gas_limit_of_a_proof_gives_a_revert_or_the_same_verdict(play, network, node):
    given = proof(play, false_output(networks()[network], node), node)
    assert verdicts(play, "game", "prove", *given) == {UNDECIDED, (True, "closed", "challenger won")}


@pytest.mark.parametrize("network", ["contraction", "seven"])
def test_any_gas_limit_of_an_accusation_gives_a_revert_or_the_same_verdict(play, network):
    given = accusation(play, false_output(networks()[network], 0), 0)
    assert verdicts(play, "game", "accuse", *given) == {UNDECIDED, (True, "defence", "open")}


def test_any_gas_limit_of_a_proof_by_sums_gives_a_revert_or_the_same_verdict(play):
    given = accepted_sums(play, false_output(one_sum(), 0))
    assert verdicts(play, "sums", "prove", *given) == {UNDECIDED, (True, "closed", "challenger won")}


@pytest.mark.parametrize(("method", "arguments"), [("prove", proof), ("accuse", accusation)])
def test_no_gas_limit_makes_an_honest_element_false(play, method, arguments):
    given = arguments(play, honest(networks()["contraction"]), 0)
    assert verdicts(play, "game", method, *given, most=1_000_000) == {UNDECIDED}


def test_no_gas_limit_makes_an_honest_element_false_by_its_sums(play):
    given = accepted_sums(play, honest(one_sum()))
    assert verdicts(play, "sums", "prove", *given, most=1_000_000) == {UNDECIDED}
