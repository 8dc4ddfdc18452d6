"""The challenger's rules with fake judges."""

from itertools import product

import pytest

from tao.protocol import actions, challenger
from tao.protocol.challenger import Exceeding, Inconsistent, Measured, Missing, Refutable
from tao.protocol.views import Phase, Stage, Status

from .factories import CHALLENGER, MODEL, NOW, STRANGER, case, claim, dispute, view


class FakeJudge:
    """Answers from tables and counts what it was asked."""

    def __init__(self, deviations=(), finding=None, suspicious=True, whole=0.0, differing=()):
        self.deviations, self.finding, self.verdict = deviations, finding, suspicious
        self.whole, self.differing = whole, differing
        self.asked = []

    def suspicious(self, claim, now):
        self.asked.append(claim)
        return self.verdict

    def deviation(self, dispute, child):
        self.asked.append(child)
        return self.deviations[child]

    def differs(self, dispute, child):
        return child in self.differing

    def accumulated(self, dispute):
        return self.whole

    def examine(self, dispute, given_up=()):
        return self.finding


def moves(judge, *disputes, me=CHALLENGER, models=frozenset({MODEL}), **changes):
    seen = view(*disputes, **changes)
    found = [challenger.move(part, seen, me, judge, models) for part in challenger.parts(seen, me)]
    return [action for action in found if action is not None]


@pytest.mark.parametrize("deviations", list(product([0.1, 0.9, 1.0, 1.1, 7.0, float("inf")], repeat=4)))
def test_selects_the_first_implausible_child_else_the_worst(deviations):
    judge = FakeJudge(deviations)
    child, deviation = challenger.choose(dispute(Phase.SELECT), judge)
    implausible = [index for index, value in enumerate(deviations) if value > 1]
    expected = implausible[0] if implausible else deviations.index(max(deviations))
    assert (child, deviation) == (expected, deviations[expected])


def test_selects_among_steps_while_the_segment_is_longer_than_one():
    judge = FakeJudge([0.5, 0.6, 3.0])
    run = dispute(Phase.SELECT, lo=0, hi=30)
    assert moves(judge, run) == [actions.Select(run, 2, 3.0)]
    assert run.cuts == (0, 10, 20, 30) and dispute(lo=27, hi=28).node == 7


def test_children_after_the_choice_are_not_computed():
    judge = FakeJudge([0.5, 3.0])
    assert moves(judge, dispute(Phase.SELECT)) == [actions.Select(dispute(Phase.SELECT), 1, 3.0)]
    assert judge.asked == [0, 1]


WITHHELD = [
    # whole, spans steps, seconds of the clock used up, expected
    (7.0, False, 12, None),
    (7.0, False, 13, "escalate"),
    (1.0, False, 13, "select"),
    (7.0, True, 12, None),
    (7.0, True, 13, "select"),
]


@pytest.mark.parametrize(("whole", "spans_steps", "used", "expected"), WITHHELD)
def test_what_is_withheld_is_waited_for_and_then_left_to_the_committee_if_that_rejects_the_segment(
    whole, spans_steps, used, expected
):
    """Choosing the hidden child at once, the challenger would lose when its end is shown to be right."""
    judge = FakeJudge([0.5, None, 0.7, 0.0], whole=whole)
    found = dispute(Phase.SELECT, hi=30 if spans_steps else 10, challenger_left=50)
    move = {
        None: [],
        "escalate": [actions.Escalate(found, whole)],
        "select": [actions.Select(found, 1, float("inf"))],
    }
    assert moves(judge, found, now=NOW + used) == move[expected]


def test_an_implausible_child_is_chosen_at_once_though_an_earlier_end_is_withheld():
    """Its own start is there, so that it can be shown whatever comes of the other."""
    found = dispute(Phase.SELECT)
    assert moves(FakeJudge([0.5, None, None, 3.0], whole=7.0), found) == [actions.Select(found, 3, 3.0)]


@pytest.mark.parametrize(
    ("deviations", "whole", "expected"),
    [
        ([0.5, 0.2, 3.0, 0.0], 7.0, actions.Select(dispute(Phase.SELECT), 2, 3.0)),
        ([0.5, 0.2, 0.7, 0.0], 7.0, actions.Escalate(dispute(Phase.SELECT), 7.0)),
        ([0.5, 0.2, 0.7, 0.0], 1.0, actions.Select(dispute(Phase.SELECT), 1, 0.2)),
        ([0.5, 0.2, None, 0.0], 1.0, actions.Select(dispute(Phase.SELECT), 1, 0.2)),
    ],
)
def test_a_child_that_only_differs_leads_away_from_nothing_that_can_be_shown(deviations, whole, expected):
    """A prover may flip a tie before the operator that it computes wrongly."""
    assert moves(FakeJudge(deviations, whole=whole, differing=(1, 3)), dispute(Phase.SELECT)) == [expected]


def test_not_a_number_never_hides_a_later_implausible_child():
    child, _ = challenger.choose(dispute(Phase.SELECT), FakeJudge([float("nan"), 0.5, 2.0, 0.0]))
    assert child == 2


@pytest.mark.parametrize(
    ("deviations", "whole", "expected"),
    [
        ([0.5, 1.0, 0.0, 0.0], 1.01, actions.Escalate(dispute(Phase.SELECT), 1.01)),
        ([0.5, 1.0, 0.0, 0.0], 1.0, actions.Select(dispute(Phase.SELECT), 1, 1.0)),
        ([0.5, 1.01], 7.0, actions.Select(dispute(Phase.SELECT), 1, 1.01)),
    ],
)
def test_a_segment_goes_to_the_committee_only_if_it_is_beyond_its_limit_and_no_child_is(
    deviations, whole, expected
):
    assert moves(FakeJudge(deviations, whole=whole), dispute(Phase.SELECT)) == [expected]


@pytest.mark.parametrize(("hi", "votable"), [(9, True), (10, True), (20, False)])
def test_a_segment_longer_than_a_step_does_not_go_to_the_committee(hi, votable):
    segment = dispute(Phase.SELECT, hi=hi)
    expected = actions.Escalate(segment, 7.0) if votable else actions.Select(segment, 0, 0.5)
    assert moves(FakeJudge([0.5] * 4, whole=7.0), segment) == [expected]


LEAF = dispute(Phase.LEAF, lo=4, hi=5)


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (Inconsistent(), actions.ProveInconsistent(LEAF)),
        (Refutable(17), actions.Prove(LEAF, 17)),
        (Missing(True, 0, 3), actions.DemandChunk(LEAF, True, 0, 3)),
        (Measured(1.01), actions.Escalate(LEAF, 1.01)),
        (Exceeding(17), actions.Accuse(LEAF, 17)),
    ],
)
def test_ends_a_leaf_by_the_cheapest_certain_win(finding, expected):
    assert moves(FakeJudge(finding=finding), LEAF) == [expected]


def test_escalates_a_missing_value_when_no_demand_is_left():
    leaf = dispute(Phase.LEAF, demands_left=0)
    assert moves(FakeJudge(finding=Missing(True, 0, 0)), leaf) == [actions.Escalate(leaf, float("inf"))]


@pytest.mark.parametrize("exceedance", [0.0, 0.99, 1.0])
def test_concedes_an_operator_within_tolerance(exceedance):
    (move,) = moves(FakeJudge(finding=Measured(exceedance)), LEAF)
    assert isinstance(move, actions.Concede) and "within tolerance" in move.reason


@pytest.mark.parametrize("late", [0, 50, 51])
def test_supports_doubted_sums_while_it_is_in_time(late):
    doubted = dispute(Phase.SPLIT, lo=4, hi=5)
    assert moves(FakeJudge(), doubted, now=NOW + late) == ([actions.Support(doubted)] if late <= 50 else [])


@pytest.mark.parametrize("late", [49, 50, 51])
@pytest.mark.parametrize("phase", [Phase.REVEAL, Phase.ANSWER, Phase.DEFENCE, Phase.DOUBT])
def test_times_a_silent_prover_out_from_the_second_after_the_deadline(phase, late):
    found = moves(FakeJudge(), dispute(phase), now=NOW + late)
    assert found == ([actions.Timeout(dispute(phase))] if late > 50 else [])


def test_keeps_silent_about_its_own_expired_clock():
    assert moves(FakeJudge([2.0]), dispute(Phase.SELECT), now=NOW + 51) == []


def test_takes_the_refund_when_the_claim_fell_elsewhere():
    refuted = dispute(Phase.SELECT, claim=claim(status=Status.REFUTED))
    assert moves(FakeJudge([2.0]), refuted) == [actions.Close(refuted)]


def test_settles_its_vote():
    voting = dispute(Phase.VOTE, case=case(Stage.TALLYING))
    assert moves(FakeJudge(), voting) == [actions.SettleVote(voting)]


@pytest.mark.parametrize("suspicious", [True, False])
@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("late", [100, 101])
def test_opens_suspicious_claims_while_the_window_lasts(status, suspicious, late):
    candidate = claim(status=status)
    found = moves(FakeJudge(suspicious=suspicious), claims=[candidate], now=NOW + late)
    expected = suspicious and status in (Status.PENDING, Status.DISPUTED) and late <= 100
    assert found == ([actions.Open(candidate)] if expected else [])


@pytest.mark.parametrize("change", [{"prover": CHALLENGER}, {"model_id": b"x" * 32}])
def test_leaves_its_own_claims_and_unknown_models_alone(change):
    judge = FakeJudge()
    assert moves(judge, claims=[claim(**change)]) == [] and judge.asked == []


def test_does_not_dispute_a_claim_twice_but_does_beside_others():
    judge = FakeJudge([0.0] * 4)
    closed = dispute(Phase.CLOSED)
    assert moves(judge, closed, claims=[closed.claim]) == []
    assert moves(judge, closed, claims=[closed.claim], me=STRANGER) == [actions.Open(closed.claim)]


def test_moves_in_running_disputes_before_opening_new_ones():
    running = dispute(Phase.LEAF)
    fresh = claim(claim_id=b"f" * 32)
    made = moves(FakeJudge(finding=Refutable(1)), running, claims=[fresh])
    assert made == [actions.Prove(running, 1), actions.Open(fresh)]
