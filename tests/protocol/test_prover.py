"""The prover's rules."""

from itertools import product

import pytest

from tao.protocol import actions, prover
from tao.protocol.views import Phase, Stage, Status

from .factories import MODEL, NOW, PROVER, REQUEST, STRANGER, case, claim, dispute, view


def moves(*disputes, me=PROVER, **changes):
    return list(prover.decide(view(*disputes, **changes), me, MODEL, minimum_fee=5))


def test_reveals_every_inner_cut_when_it_is_its_turn():
    assert moves(dispute(lo=0, hi=10)) == [actions.Reveal(dispute(lo=0, hi=10), (3, 6, 8))]


def test_reveals_checkpoints_while_the_segment_is_longer_than_a_step():
    """Seven steps of ten operators: two for each of the first three children, one for the last."""
    run = dispute(lo=20, hi=90)
    assert moves(run) == [actions.Reveal(run, (40, 60, 80), checkpoints=(4, 6, 8))]
    step = dispute(lo=20, hi=30)
    assert moves(step) == [actions.Reveal(step, (23, 26, 28), checkpoints=())]


def test_answers_a_demand():
    assert moves(dispute(Phase.ANSWER)) == [actions.Answer(dispute(Phase.ANSWER))]


@pytest.mark.parametrize("late", [0, 50, 51])
def test_answers_an_accusation_by_the_committee_while_it_is_in_time(late):
    accused = dispute(Phase.DEFENCE, lo=4, hi=5)
    assert moves(accused, now=NOW + late) == ([actions.Defend(accused)] if late <= 50 else [])


@pytest.mark.parametrize("late", [0, 50, 51])
def test_weighs_asserted_sums_while_it_is_in_time(late):
    asserted = dispute(Phase.DOUBT, lo=4, hi=5)
    assert moves(asserted, now=NOW + late) == ([actions.Weigh(asserted)] if late <= 50 else [])


@pytest.mark.parametrize("phase", list(Phase))
def test_does_nothing_in_the_disputes_of_others(phase):
    assert moves(dispute(phase), me=STRANGER) == []


@pytest.mark.parametrize(("phase", "late"), product([Phase.SELECT, Phase.LEAF, Phase.SPLIT], [49, 50, 51]))
def test_times_the_challenger_out_from_the_second_after_the_deadline(phase, late):
    found = moves(dispute(phase), now=NOW + late)
    assert found == ([actions.Timeout(dispute(phase))] if late > 50 else [])


def test_keeps_silent_about_its_own_expired_clock():
    assert moves(dispute(Phase.REVEAL), now=NOW + 51) == []


def test_reveals_in_the_last_second():
    assert isinstance(moves(dispute(), now=NOW + 50)[0], actions.Reveal)


def test_defends_the_dispute_that_ends_first():
    near, far = dispute(prover_left=10), dispute(prover_left=40)
    assert [move.dispute for move in moves(far, near)] == [near, far]


def test_closes_a_dispute_of_a_refuted_claim():
    refuted = dispute(claim=claim(status=Status.REFUTED))
    assert moves(refuted) == [actions.Close(refuted)]


@pytest.mark.parametrize(("block", "drawn"), [(89, False), (90, False), (91, True)])
def test_draws_once_the_seed_block_has_passed(block, drawn):
    voting = dispute(Phase.VOTE, case=case(Stage.ANNOUNCED))
    assert moves(voting, block=block) == ([actions.Draw(voting)] if drawn else [])


def test_settles_a_vote_that_can_be_tallied():
    voting = dispute(Phase.VOTE, case=case(Stage.TALLYING))
    assert moves(voting) == [actions.SettleVote(voting)]


@pytest.mark.parametrize("status", list(Status))
def test_finalises_its_own_claims_when_due(status):
    own, other = claim(status=status), claim(status=status, prover=STRANGER)
    assert moves(claims=[own, other]) == ([actions.Finalise(own)] if status is Status.FINALISABLE else [])


@pytest.mark.parametrize(
    ("changes", "served"),
    [
        ({}, True),
        ({"fee": 5}, True),
        ({"fee": 4}, False),
        ({"closed": True}, False),
        ({"active_claim": b"c" * 32}, False),
        ({"model_id": b"x" * 32}, False),
    ],
)
def test_serves_open_requests_for_its_model_that_pay_enough(changes, served):
    from dataclasses import replace

    request = replace(REQUEST, **changes)
    assert moves(requests=[request]) == ([actions.Serve(request)] if served else [])


def test_does_not_serve_again_a_request_for_which_its_claim_was_refuted():
    refuted = claim(status=Status.REFUTED, request_id=REQUEST.request_id)
    assert moves(requests=[REQUEST], claims=[refuted]) == []
    assert moves(
        requests=[REQUEST],
        claims=[claim(status=Status.REFUTED, request_id=REQUEST.request_id, prover=STRANGER)],
    )
