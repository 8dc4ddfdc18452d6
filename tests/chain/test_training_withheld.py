"""What is withheld or deleted of a training run: an honest trainer loses nothing by it, a cheat wins nothing."""

import shutil

import pytest

from chain.training import STEPS, actions, credit, dispute, earned, expected, private
from chain.world import CHALLENGER
from demo.training.cheats import FewerEpochs, PoisonedBatch
from tao.chain.local import let_pass
from tao.protocol.views import Outcome


def test_an_honest_run_whose_logs_are_not_published_is_left_alone(training):
    """Rounded by itself the run ends where the claim says, so publishing late wins nobody's bond."""
    training.request()
    trainer, auditor = training.trainer(store=private(training)), training.auditor()
    assert actions(trainer.tick()) == ["claim"]
    assert auditor.tick() == []
    let_pass(training.world.w3, 120)
    assert auditor.tick() == []
    let_pass(training.world.w3, 601)
    assert actions(trainer.tick()) == ["finalise"]


def test_a_replay_without_logs_pauses_where_a_tick_ends_and_goes_on_in_the_next(training):
    """A dispute of another claim must not wait for its end."""
    training.request()
    training.trainer(PoisonedBatch, store=private(training)).tick()
    (claim,) = training.world.reader.view({training.job.bundle.model_id}).claims
    judge = training.auditor().judge
    for step in range(STEPS):
        ticks = iter((False, True))
        judge.must_pause = lambda ticks=ticks: next(ticks)
        assert (
            not judge.suspicious(claim, claim.window_end) and len(judge.cases[claim.claim_id].own) == step + 1
        )
    judge.must_pause = lambda: False
    assert judge.suspicious(claim, claim.window_end)


def test_a_replay_without_logs_that_fails_is_begun_again_and_blames_nobody(training, monkeypatch):
    training.request()
    training.trainer(store=private(training)).tick()
    (claim,) = training.world.reader.view({training.job.bundle.model_id}).claims
    judge = training.auditor().judge
    judge.must_pause = lambda: False
    replay, fails = judge.replay.replay, [MemoryError("too little")]

    def failing(state, log, step):
        if step == 2 and fails:
            raise fails.pop()
        return replay(state, log, step)

    monkeypatch.setattr(judge.replay, "replay", failing)
    with pytest.raises(MemoryError):
        judge.suspicious(claim, claim.window_end)
    assert not judge.suspicious(claim, claim.window_end) and judge.cases[claim.claim_id].is_own_whole


def test_what_is_over_is_forgotten(training):
    """It holds whole states."""
    training.request()
    trainer, auditor = training.trainer(), training.auditor()
    trainer.tick()
    auditor.tick()
    assert len(trainer._runs) == len(auditor.judge.cases) == 1
    let_pass(training.world.w3, 601)
    assert actions(trainer.tick()) == ["finalise"]
    assert trainer.tick() == auditor.tick() == []
    assert len(trainer._runs) == len(auditor.judge.cases) == 0


def test_a_cheat_that_publishes_nothing_loses_by_the_committee(training):
    training.request()
    auditor = training.auditor()
    done = training.world.play(
        training.trainer(PoisonedBatch, store=private(training)),
        auditor,
        *training.world.members(),
        each_round=lambda: let_pass(training.world.w3, 15),
        rounds=60,
    )
    assert actions(done).count("demand") == actions(done).count("answer") == 4
    step, nodes = expected(training.job, "poisoned-batch")
    found = dispute(training)
    assert found.outcome is Outcome.CHALLENGER_WON
    assert found.lo // found.node_count == step and found.node in nodes
    assert credit(auditor) > auditor.context.reader.challenger_bond


def test_a_cheat_that_publishes_when_a_value_is_demanded_loses_by_proof(training):
    training.request()
    folder, auditor = training.world.folder, training.auditor()

    def publish():
        let_pass(training.world.w3, 15)
        disputes = training.world.reader.view().disputes
        if disputes and disputes[0].demand is not None:
            shutil.copytree(folder / "private", folder / "store", dirs_exist_ok=True)

    trainer = training.trainer(PoisonedBatch, store=private(training))
    done = training.world.play(trainer, auditor, each_round=publish)
    assert {"demand", "prove"} <= set(actions(done))
    assert dispute(training).outcome is Outcome.CHALLENGER_WON and credit(auditor) == earned(auditor)


@pytest.mark.parametrize("restarted", [False, True], ids=["auditor goes on", "auditor restarts"])
def test_logs_and_checkpoints_deleted_once_the_dispute_is_open_help_no_cheat(training, restarted):
    training.request()
    folder, auditor = training.world.folder, training.auditor()
    public = folder / "store" / "named" / "runs"
    trainer, members = training.trainer(FewerEpochs), training.world.members()
    trainer.tick()
    assert actions(auditor.tick()) == ["open"]
    trainer = training.trainer(FewerEpochs, store=private(training))
    shutil.rmtree(public)
    shutil.rmtree(folder / "store" / "blobs")
    if restarted:
        auditor = training.auditor()
    training.world.play(trainer, auditor, *members, each_round=lambda: let_pass(training.world.w3, 15))
    step, nodes = expected(training.job, "fewer-epochs")
    found = dispute(training)
    assert found.outcome is Outcome.CHALLENGER_WON
    assert found.lo // found.node_count == step and found.node in nodes


def test_a_claim_whose_first_state_is_gone_is_left_alone(training):
    training.request()
    training.trainer(PoisonedBatch, store=private(training)).tick()
    shutil.rmtree(training.world.folder / "store" / "tensors")
    auditor = training.auditor()
    let_pass(training.world.w3, 120)
    assert auditor.tick() == [] and auditor.address == training.world.actor(CHALLENGER).address
