"""Runs that break down, because a value is not finite, are refuted where they did."""

import pytest

from chain.training import TrainingWorld, actions, dispute, private
from tao.chain.local import let_pass
from tao.protocol.views import Outcome
from tao.training import prepare
from tao.training.proofs import SUMS
from training.cases import mlp
from training.faults import Careless, Inventive
from training.runs import OPTIONS, parts


@pytest.mark.parametrize("cheat", [Inventive, Careless])
@pytest.mark.parametrize("rate", [1e20, 3e38], ids=["sum-overflows", "state-is-infinite"])
def test_a_run_that_goes_on_from_what_is_not_finite_is_refuted_where_it_broke_down(world, cheat, rate):
    """One makes up what follows, the other one goes on with infinities. A state may be infinite by honest
    arithmetic; then the next step has a sum that is not."""
    training = breaking(world, rate)
    done = world.play(training.trainer(cheat), training.auditor())
    assert actions(done)[-1] == "prove" and "escalate" not in actions(done)
    found = dispute(training)
    assert found.outcome is Outcome.CHALLENGER_WON
    assert training.job.bundle.graph.nodes[found.node].operator in SUMS


def test_a_run_that_breaks_down_and_is_withheld_is_refuted(world):
    training = breaking(world, 1e20)
    done = world.play(
        training.trainer(Careless, store=private(training)),
        training.auditor(),
        *world.members(),
        each_round=lambda: let_pass(world.w3, 15),
        rounds=60,
    )
    assert {"open", "demand"} <= set(actions(done))
    assert dispute(training).outcome is Outcome.CHALLENGER_WON


def breaking(world, rate):
    """A job that was requested and that no honest trainer can do."""
    case = mlp()
    case.optimizer.param_groups[0]["lr"] = rate
    training = TrainingWorld(world, prepare(*parts(case), **OPTIONS))
    training.request()
    assert training.trainer().tick() == [] and "NaN or infinite value in node" in world.log()
    return training
