"""A prover that drifts inside every operator's thresholds is disputed, and voted down over a segment."""

from dataclasses import replace
from unittest.mock import MagicMock

import pytest

from benchmarks.small import InProcess
from numerics.test_segments import bundle, inputs, pushed  # noqa: F401  fixtures
from tao.errors import ModelError
from tao.execution import capture
from tao.numerics.statistics import VoteStatistics
from tao.protocol import actions, challenger
from tao.protocol.partition import cuts
from tao.protocol.views import Phase, Stage, Vote
from tao.roles.admission import require_segments
from tao.roles.examination import Examination
from tao.roles.judge import ReplayJudge
from tao.roles.member import MemberRole
from tao.tensors import commit
from tao.tensors.store import TensorStore

from .factories import NOW, case, claim, dispute

FAN_OUT = 3


@pytest.fixture
def store(tmp_path):
    return TensorStore(str(tmp_path))


def committed(bundle, store, inputs, share):  # noqa: F811
    """The commitments at every cut of a run whose operators are pushed by this share of their thresholds."""
    count = len(bundle.graph)
    states = capture(bundle.graph, bundle.parameters, inputs, range(count + 1), pushed(bundle, share))
    return {cut: tuple(map(store.put_tensor, state)) for cut, state in states.items()}


def dispute_at(states, lo, hi):
    inner = cuts(lo, hi, FAN_OUT) if hi - lo > 1 else (lo, hi)
    known = {cut: states[cut] for cut in inner}
    hashes = (b"h" * 32,) * len(inner)
    size = dict(node_count=max(states), fan_out=FAN_OUT)
    return dispute(Phase.SELECT, lo=lo, hi=hi, states=known, hashes=hashes, **size)


def member(bundle, store):  # noqa: F811
    """A member whose chain says nothing but the committee's commit period."""
    context = MagicMock()
    context.reader.commit_period = 10
    examination = Examination(store, "test", {claim().model_id: bundle})
    return MemberRole(context, "test", examiner=InProcess(examination))


def verdict(member, view, now=NOW):
    """On the segment of a dispute that has gone to the committee."""
    member._now = now
    return member.verdict(replace(view, phase=Phase.VOTE, case=case(Stage.COMMIT, commit_end=NOW + 10)))


def test_accumulated_drift_is_disputed_put_to_the_vote_and_rejected(bundle, inputs, store):  # noqa: F811
    count = len(bundle.graph)
    states = committed(bundle, store, inputs, 0.9)
    judge = ReplayJudge(bundle, store)
    assert judge.suspicious(claim(inputs=states[0], outputs=states[count]), NOW)
    lo, hi = 0, count
    for _ in range(10):
        case_view = dispute_at(states, lo, hi)
        move = challenger.pursue(case_view, judge, NOW, 100)
        if not isinstance(move, actions.Select):
            break
        inner = cuts(lo, hi, FAN_OUT)
        lo, hi = inner[move.child], inner[move.child + 1]
    assert isinstance(move, actions.Escalate) and hi - lo > 1 and move.exceedance > 1
    vote, published = verdict(member(bundle, store), dispute_at(states, lo, hi))
    assert vote is Vote.REJECT
    figures = VoteStatistics.decode(published)
    assert figures.exceedance == pytest.approx(1.25 * move.exceedance, rel=1e-3) and figures.device == "test"
    assert figures.absolute[-1] > figures.relative[-1] > 1  # elements, and rows


def test_an_honest_run_is_not_disputed_not_escalated_and_accepted(bundle, inputs, store):  # noqa: F811
    count = len(bundle.graph)
    states = committed(bundle, store, inputs, 0.0)
    judge = ReplayJudge(bundle, store)
    assert not judge.suspicious(claim(inputs=states[0], outputs=states[count]), NOW)
    whole = dispute_at(states, 0, count)
    assert judge.accumulated(whole) <= 1 / 1.25
    assert isinstance(challenger.pursue(whole, judge, NOW, 100), actions.Select)
    assert verdict(member(bundle, store), whole)[0] is Vote.ACCEPT


def test_a_member_accepts_a_segment_without_thresholds_and_rejects_one_that_does_not_fit(
    bundle,  # noqa: F811
    inputs,  # noqa: F811
    store,
):
    states = committed(bundle, store, inputs, 0.9)
    assert bundle.profile.segment(1, 4) is None
    vote, published = verdict(member(bundle, store), dispute_at(states, 1, 4))
    assert vote is Vote.ACCEPT and VoteStatistics.decode(published).exceedance == 0
    whole = dispute_at(states, 0, len(bundle.graph))
    short = {**whole.states, whole.hi: ()}
    broken = replace(whole, states=short)
    assert verdict(member(bundle, store), broken)[0] is Vote.REJECT


def test_a_member_waits_for_missing_ends_of_a_segment_and_then_rejects(bundle, inputs, store, tmp_path):  # noqa: F811
    states = committed(bundle, store, inputs, 0.0)
    elsewhere = member(bundle, TensorStore(str(tmp_path / "empty")))
    whole = dispute_at(states, 0, len(bundle.graph))
    assert verdict(elsewhere, whole, NOW + 5) is None
    assert verdict(elsewhere, whole, NOW + 6)[0] is Vote.REJECT


def test_a_child_that_is_hidden_until_it_is_chosen_does_not_cost_the_challenger_its_bond(
    bundle,  # noqa: F811
    inputs,  # noqa: F811
    store,
    tmp_path,
):
    """The last operator lies. What the prover hides, and would show once it is chosen, is right."""
    count = len(bundle.graph)

    def lie(index, node, operands, outputs):
        return [output + 1 if index == count - 1 else output for output in outputs]

    states = capture(bundle.graph, bundle.parameters, inputs, range(count + 1), lie)
    *_, hidden, _ = cuts(0, count, FAN_OUT)  # the lie begins there
    public = {commit(t) for cut, state in states.items() if cut != hidden for t in state}
    held = {cut: tuple(map(store.put_tensor, state)) for cut, state in states.items()}
    elsewhere = TensorStore(str(tmp_path / "elsewhere"))
    for tensor in (t for state in states.values() for t in state):
        if commit(tensor) in public:
            elsewhere.put_tensor(tensor)
    judge = ReplayJudge(bundle, elsewhere)
    whole = dispute_at(held, 0, count)
    last = len(whole.cuts) - 2
    assert judge.deviation(whole, last - 1) is judge.deviation(whole, last) is None
    assert challenger.pursue(whole, judge, NOW, 100) is None
    late = NOW + whole.challenger_left // challenger.WAIT + 1
    move = challenger.pursue(whole, judge, late, 100)
    assert isinstance(move, actions.Escalate) and verdict(member(bundle, elsewhere), whole)[0] is Vote.REJECT
    for tensor in states[hidden]:
        elsewhere.put_tensor(tensor)
    shown = challenger.pursue(whole, judge, NOW, 100)
    assert judge.deviation(whole, last - 1) <= 1 and isinstance(shown, actions.Select) and shown.child == last


def test_figures_of_other_states_at_the_same_cuts_are_not_taken(bundle, inputs, store):  # noqa: F811
    """After a reorganisation the prover may have revealed others."""
    count = len(bundle.graph)
    judge = ReplayJudge(bundle, store)
    honest, pushed_far = (committed(bundle, store, inputs, share) for share in (0.0, 50.0))
    inner = cuts(0, count, FAN_OUT)
    first = dispute_at(honest, 0, count)
    other = replace(first, states={**first.states, inner[1]: pushed_far[inner[1]]})
    assert judge.deviation(first, 0) <= 1 < judge.deviation(other, 0)


def test_a_profile_for_disputes_with_another_fan_out_is_not_registered(bundle):  # noqa: F811
    require_segments(bundle, FAN_OUT)
    require_segments(replace(bundle, profile=replace(bundle.profile, segments=())), 2)
    for other in (2, 16):
        with pytest.raises(
            ModelError, match=f"fan-out of {other}, .* calibrate again with --fan-out {other}"
        ):
            require_segments(bundle, other)


@pytest.mark.parametrize("window", [40, 4000])
def test_hidden_outputs_are_disputed_in_the_last_quarter_of_any_window(bundle, tmp_path, window):  # noqa: F811
    judge = ReplayJudge(bundle, TensorStore(str(tmp_path / "empty")))
    claimed = replace(claim(), claimed_at=NOW, window_end=NOW + window)
    late = NOW + window * 3 // 4
    assert [judge.suspicious(claimed, now) for now in (NOW, late, late + 1)] == [False, False, True]
