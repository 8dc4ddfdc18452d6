"""Attack: commit to other states between the steps of a run than those the dispute is about.

Defence: a state revealed between steps is the leaf of the claim's own checkpoint tree, at the number of the
step; the two ends of the run are the claim's state roots, whatever the tree says; without a leaf to show, the
clock runs out.
"""

from dataclasses import replace

import pytest

from game.stories import false_output, false_pass_through, hash_of, honest, networks, other_ends
from support.encoding import ZERO, keccak, merkle_root, state_hash
from support.raises import refused


def steps():
    return networks()["steps"]


def reveal(play, dispute, states, paths):
    entry = play.dispute(dispute)
    play.send(play.prover, "game", "reveal", dispute, entry["lo"], entry["hi"], states, paths)


def test_a_run_is_cut_between_its_steps_first(play):
    dispute = play.open(play.claim(honest(steps())))
    assert play.cuts(dispute) == [0, 6, 9, 12]
    play.select(dispute, play.reveal(dispute, honest(steps())), 0)
    assert play.cuts(dispute) == [0, 3, 6]
    play.select(dispute, play.reveal(dispute, honest(steps())), 1)
    assert play.cuts(dispute) == [3, 4, 5, 6]


@pytest.mark.parametrize("lie", [0, 3, 9])
def test_a_lie_in_any_step_is_refuted(play, lie):
    story = false_output(steps(), lie)
    claim = play.claim(story)
    dispute = play.open(claim)
    play.descend(dispute, story, lie)
    play.prove(dispute, story)
    assert play.status(claim) == "refuted"


@pytest.mark.parametrize("lie", [2, 5, 8])
def test_a_value_changed_on_the_way_into_the_next_step_is_inconsistent(play, lie):
    """The last operator of a step writes one matrix and passes the other on."""
    story = false_pass_through(steps(), lie)
    claim = play.claim(story)
    dispute = play.open(claim)
    play.descend(dispute, story, lie)
    record, path, before, _ = play.leaf(story, lie)
    after = [value.commitment for value in story.states[lie + 1]]
    play.send(play.watcher, "game", "proveInconsistent", dispute, (record, path, before, []), after)
    assert play.status(claim) == "refuted"


def test_the_checkpoint_of_another_step_is_refused(play):
    story = honest(steps())
    dispute = play.open(play.claim(story))
    states, paths = play.inner_states(dispute, story), story.paths(play.cuts(dispute))
    with refused("CheckpointMismatch", 2):
        reveal(play, dispute, [states[1], states[0]], [paths[1], paths[0]])
    with refused("CheckpointMismatch", 3):
        reveal(play, dispute, [states[0], states[0]], [paths[0], paths[0]])


def test_the_checkpoints_of_another_claim_are_refused(play):
    """One prover, two claims on the same inputs; it may not move between them."""
    truth, lie = honest(steps()), false_output(steps(), 0)
    play.claim(truth)
    dispute = play.open(play.claim(lie))
    states, paths = play.inner_states(dispute, truth), truth.paths(play.cuts(dispute))
    with refused("CheckpointMismatch", 2):
        reveal(play, dispute, states, paths)


def test_the_padding_of_the_tree_is_no_checkpoint(play):
    """Five checkpoints in a tree of eight: no list of values hashes to a zero leaf."""
    story = honest(steps())
    assert merkle_root([*story.checkpoints, ZERO, ZERO, ZERO]) == story.checkpoint_root
    dispute = play.open(play.claim(story))
    states, paths = play.inner_states(dispute, story), story.paths(play.cuts(dispute))
    with refused("EmptyState", 0):
        reveal(play, dispute, [[], states[1]], paths)


def test_an_inner_node_of_the_tree_is_no_checkpoint(play):
    """A state of one value hashes 64 bytes as inner nodes do; a path of fixed length keeps it a leaf."""
    value = keccak(b"a value")
    leaves = (keccak(b"0"), keccak(b"1"), state_hash([value]), ZERO, keccak(b"4"))
    forged = replace(honest(steps()), committed=leaves)
    dispute = play.open(play.claim(forged))
    states, paths = play.inner_states(dispute, forged), forged.paths(play.cuts(dispute))
    with refused("CheckpointMismatch", 2):
        reveal(play, dispute, [[value], states[1]], [paths[0][1:], paths[1]])


def test_a_tree_with_other_ends_changes_nothing_for_the_challenger(play):
    """Neither end of the tree is ever read: the dispute starts from the claim's input root and ends at its
    output root.
    """
    for lie in (0, 11):
        story = other_ends(steps(), lie)
        claim = play.claim(story)
        dispute = play.open(claim)
        entry = play.dispute(dispute)
        assert entry["lo_state"] == hash_of(story.states[0]) != story.checkpoints[0]
        assert entry["hi_state"] == hash_of(story.states[-1]) != story.checkpoints[-1]
        play.descend(dispute, story, lie)
        play.prove(dispute, story)
        assert play.status(claim) == "refuted"


def test_false_checkpoints_around_a_true_output_are_refuted_too(play):
    """A challenger that knows one to be false wins, so that one may rely on those of a finalised claim."""
    truth, lie = honest(steps()), false_output(steps(), 4)
    states = (*truth.states[:5], *lie.states[5:10], *truth.states[10:])
    story = replace(lie, states=states)
    assert story.outputs == truth.outputs and story.checkpoints[2] != truth.checkpoints[2]
    claim = play.claim(story)
    dispute = play.open(claim)
    play.descend(dispute, story, 4)
    play.prove(dispute, story)
    assert play.status(claim) == "refuted"


def test_a_root_without_a_tree_loses_by_the_clock(play):
    truth = honest(steps())
    receipt = play.send(
        play.prover,
        "claims",
        "claim",
        play.register(truth.network),
        ZERO,
        truth.inputs,
        truth.outputs,
        keccak(b"no tree"),
        value=play.rules.prover_bond,
    )
    claim = receipt.event("Claimed")["claimId"]
    dispute = play.open(claim)
    with refused("CheckpointMismatch", 2):
        reveal(play, dispute, play.inner_states(dispute, truth), truth.paths(play.cuts(dispute)))
    play.send(play.stranger, "game", "timeout", dispute, at=play.deadline(dispute) + 1)
    assert play.status(claim) == "refuted"
