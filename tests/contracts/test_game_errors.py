"""Bad input to the dispute game is refused with the error that names it."""

import ape
import pytest

from game.stories import false_output, honest, networks

UNKNOWN = b"\1" * 32
EMPTY_LEAF = (b"", [], [], [])


@pytest.fixture
def seven(play):
    """A true claim of seven operators and a dispute about it, in which the prover is to reveal."""
    told = honest(networks()["seven"])
    return play.open(play.claim(told)), told


def test_the_bond_is_exact(play, game, rules, actors):
    claim = play.claim(honest(networks()["contraction"]))
    with ape.reverts(game.WrongBond, sent=1, required=rules.challenger_bond):
        game.open(claim, value=1, sender=actors.challenger)


def test_every_move_of_an_unknown_dispute_is_refused(play, game, actors):
    calls = [
        (game.reveal, 0, 7, [], []),
        (game.select, 0, 7, [], 0),
        (game.prove, EMPTY_LEAF, b""),
        (game.close,),
        (game.proveInconsistent, EMPTY_LEAF, []),
        (game.demand, EMPTY_LEAF, True, 0, 0),
        (game.answer, UNKNOWN, b"", 0, b"", []),
        (game.accuse, EMPTY_LEAF, b"", 1, UNKNOWN, []),
        (game.escalate, 0, 7),
        (game.settleVote,),
        (game.timeout,),
    ]
    for method, *arguments in calls:
        with ape.reverts(game.UnknownDispute, disputeId=UNKNOWN):
            method(UNKNOWN, *arguments, sender=actors.stranger)
    with ape.reverts(game.UnknownDispute, disputeId=UNKNOWN):
        game.getDispute(UNKNOWN)
    with ape.reverts(game.UnknownDispute, disputeId=UNKNOWN):
        game.deadlineOf(UNKNOWN)


def test_every_move_out_of_phase_is_refused(play, game, actors, seven):
    dispute, _ = seven
    calls = [
        (game.select, 0, 7, [], 0),
        (game.prove, EMPTY_LEAF, b""),
        (game.proveInconsistent, EMPTY_LEAF, []),
        (game.demand, EMPTY_LEAF, True, 0, 0),
        (game.answer, UNKNOWN, b"", 0, b"", []),
        (game.accuse, EMPTY_LEAF, b"", 1, UNKNOWN, []),
        (game.escalate, 0, 7),
        (game.settleVote,),
    ]
    for method, *arguments in calls:
        with ape.reverts(game.WrongPhase, disputeId=dispute, phase=1):
            method(dispute, *arguments, sender=actors.prover)


def test_a_reveal_has_one_state_for_each_inner_cut_and_none_empty(play, game, actors, seven):
    dispute, told = seven
    states = play.inner_states(dispute, told)
    with ape.reverts(game.WrongStateCount, given=1, required=2):
        game.reveal(dispute, 0, 7, states[:1], [], sender=actors.prover)
    with ape.reverts(game.EmptyState, index=1):
        game.reveal(dispute, 0, 7, [states[0], []], [], sender=actors.prover)
    with ape.reverts(game.StateTooLong, index=0, length=1537):
        game.reveal(dispute, 0, 7, [[bytes(32)] * 1537, states[1]], [], sender=actors.prover)
    with ape.reverts(game.SegmentMismatch, lo=0, hi=7):
        game.reveal(dispute, 0, 6, states, [], sender=actors.prover)
    with ape.reverts(game.NotYourTurn, caller=actors.challenger.address, required=actors.prover.address):
        game.reveal(dispute, 0, 7, states, [], sender=actors.challenger)


def test_states_between_steps_are_the_claims_checkpoints_and_no_others_are(play, game, actors):
    told = honest(networks()["steps"])
    dispute = play.open(play.claim(told))
    states, paths = play.inner_states(dispute, told), told.paths(play.cuts(dispute))
    with ape.reverts(game.CheckpointMismatch, step=2):
        game.reveal(dispute, *play.segment(dispute), states, paths[::-1], sender=actors.prover)
    play.select(dispute, play.reveal(dispute, told), 2)
    with ape.reverts(game.UnexpectedPaths, given=1):
        states = play.inner_states(dispute, told)
        game.reveal(dispute, *play.segment(dispute), states, [[]], sender=actors.prover)


def test_a_selection_repeats_the_hashes_and_names_a_child(play, game, actors, seven):
    dispute, told = seven
    hashes = play.reveal(dispute, told)
    for wrong in ([], hashes[:-1], hashes[::-1], [*hashes, bytes(32)]):
        with ape.reverts(game.BoundariesMismatch):
            game.select(dispute, 0, 7, wrong, 0, sender=actors.challenger)
    with ape.reverts(game.SegmentMismatch, lo=0, hi=7):
        game.select(dispute, 0, 3, hashes, 0, sender=actors.challenger)
    with ape.reverts(game.ChildOutOfRange, child=3, degree=3):
        game.select(dispute, 0, 7, hashes, 3, sender=actors.challenger)


def test_a_leaf_claim_is_the_graphs_record_and_the_provers_states(play, game, actors, seven):
    dispute, told = seven
    play.descend(dispute, told, 4)
    record, path, before, outputs = play.leaf(told, 4)
    proof = play.proof(told, 4).encoded

    def prove(*leaf):
        game.prove(dispute, leaf, proof, sender=actors.stranger)

    with ape.reverts(game.NodeNotInGraph, node=4):
        prove(record + b"\0", path, before, outputs)
    with ape.reverts(game.StateMismatch):
        prove(record, path, before[:-1], outputs)
    with ape.reverts(game.StateMismatch):
        prove(record, path, before, [bytes(32)])
    with ape.reverts(game.WrongStateCount, given=0, required=1):
        prove(record, path, before, [])
    with ape.reverts(game.NotRefuted, disputeId=dispute):
        prove(record, path, before, outputs)
    with ape.reverts(game.StatesConsistent, disputeId=dispute):
        after = [value.commitment for value in told.states[5]]
        game.proveInconsistent(dispute, (record, path, before, []), after, sender=actors.stranger)


def test_an_operator_without_an_adjudicator_is_for_the_committee(play, game, actors):
    told = false_output(networks()["vote"], 0)
    dispute = play.open(play.claim(told))
    with ape.reverts(game.NoAdjudicator):
        game.prove(dispute, play.leaf(told, 0), b"", sender=actors.challenger)


def test_a_demand_is_for_something_the_prover_has(play, game, rules, actors, seven):
    dispute, told = seven
    play.descend(dispute, told, 0)
    leaf = play.leaf(told, 0)
    with ape.reverts(game.DemandOutOfRange, index=1, size=1):
        game.demand(dispute, leaf, True, 1, 0, sender=actors.challenger)
    with ape.reverts(game.DemandOutOfRange, index=3, size=3):
        game.demand(dispute, leaf, False, 3, 0, sender=actors.challenger)
    with ape.reverts(game.ParameterDemanded, index=2):
        game.demand(dispute, leaf, False, 2, 0, sender=actors.challenger)
    with ape.reverts(game.DemandOutOfRange, index=6):
        game.demand(dispute, leaf, False, 0, 6, sender=actors.challenger)
    tensor = told.states[0][0]
    opening = (tensor.commitment, tensor.type.packed)
    for chunk in range(rules.max_demands):
        game.demand(dispute, leaf, False, 0, chunk, sender=actors.challenger)
        with ape.reverts(game.DemandMismatch):
            game.answer(dispute, *opening, 5, tensor.chunk(5), tensor.path(5), sender=actors.prover)
        with ape.reverts(game.OpeningMismatch, commitment=tensor.commitment):
            game.answer(dispute, *opening, chunk, tensor.chunk(5), tensor.path(chunk), sender=actors.prover)
        with ape.reverts(game.WrongChunkLength, given=255, required=256):
            game.answer(dispute, *opening, chunk, bytes(255), tensor.path(chunk), sender=actors.prover)
        with ape.reverts(game.WrongPathLength, given=0, required=3):
            game.answer(dispute, *opening, chunk, bytes(256), [], sender=actors.prover)
        game.answer(dispute, *opening, chunk, tensor.chunk(chunk), tensor.path(chunk), sender=actors.prover)
    with ape.reverts(game.NoDemandsLeft, disputeId=dispute):
        game.demand(dispute, leaf, False, 0, 0, sender=actors.challenger)


def test_a_clock_runs_or_has_run_out(play, chain, game, actors, seven):
    dispute, told = seven
    with ape.reverts(game.ClockRunning, disputeId=dispute):
        game.timeout(dispute, sender=actors.stranger)
    states, deadline = play.inner_states(dispute, told), play.deadline(dispute)
    chain.pending_timestamp = deadline + 1
    with ape.reverts(game.ClockExpired, disputeId=dispute):
        game.reveal(dispute, 0, 7, states, [], sender=actors.prover)


def test_the_other_disputes_of_a_refuted_claim_can_only_be_closed(play, game, rules, actors):
    told = false_output(networks()["contraction"], 0)
    claim = play.claim(told)
    first, second = play.open(claim), play.open(claim, play.friend)
    with ape.reverts(game.ClaimNotRefuted, claimId=claim):
        game.close(second, sender=actors.friend)
    with ape.reverts(game.DuplicateDispute, disputeId=first):
        game.open(claim, value=rules.challenger_bond, sender=actors.challenger)
    play.prove(first, told)
    for method, *arguments in ((game.escalate, 0, 1), (game.timeout,), (game.prove, EMPTY_LEAF, b"")):
        with ape.reverts(game.ClaimRefutedElsewhere, claimId=claim):
            method(second, *arguments, sender=actors.friend)
    game.close(second, sender=actors.stranger)
    for method, *arguments in ((game.close,), (game.timeout,), (game.escalate, 0, 1)):
        with ape.reverts(game.AlreadyClosed, disputeId=second):
            method(second, *arguments, sender=actors.friend)
