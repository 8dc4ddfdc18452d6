"""How a role spends its time: what can wait does, so that a flood of it costs nobody a dispute."""

from benchmarks.small import Cheat, node
from chain.training import STEPS, TrainingWorld
from chain.world import CLIENT
from demo.training.job import build
from tao.protocol.views import Status


def kinds(done):
    return [each.action for each in done]


def test_after_its_slice_a_tick_serves_no_further_request(world):
    for _ in range(3):
        world.request()
    prover = world.prover()
    assert prover.tick(-1.0) == []
    assert kinds(prover.tick(60.0)) == ["claim"] * 3


def test_a_dispute_is_defended_however_many_requests_wait(world):
    world.request()
    prover, liar = world.prover(), world.challenger()
    liar.judge.suspicious = lambda claim, now: True
    prover.tick()
    assert kinds(liar.tick()) == ["open"]
    world.request()
    assert kinds(prover.tick(-1.0)) == ["reveal"]


def test_requests_that_failed_are_served_last(world):
    first, second = world.request(), world.request()
    prover = world.prover()
    perform, seen = prover.perform, []

    def failing(action):
        seen.append(action.request.request_id)
        if action.request.request_id == first and seen.count(first) == 1:
            raise MemoryError
        return perform(action)

    prover.perform = failing
    assert kinds(prover.tick()) == ["claim"]
    third = world.request()
    assert kinds(prover.tick()) == ["claim", "claim"]
    assert seen == [first, second, third, first]


def test_after_its_slice_a_tick_judges_no_further_claim(world):
    world.request()
    world.prover(Cheat(world.bundle, node(world.bundle, "contraction"))).tick()
    challenger = world.challenger()
    assert challenger.tick(-1.0) == [] and not challenger.judge.claims
    assert kinds(challenger.tick(60.0)) == ["open"]
    (claim,) = world.actor(CLIENT).reader.view().claims
    assert claim.status is Status.DISPUTED


def test_training_and_audits_go_on_over_several_ticks(world, monkeypatch):
    """A dispute of an earlier claim must not wait for the end of either."""
    training = TrainingWorld(world, build(STEPS))
    training.request()
    trainer = training.trainer()
    monkeypatch.setattr(trainer, "_is_over", lambda: trainer.over)
    ticks = 0
    while not kinds(done := trainer_tick(trainer)):
        ticks += 1
    assert ticks == STEPS - 1 and kinds(done) == ["claim"] and done[0].details["run_seconds"] > 0
    auditor = training.auditor()
    (claim,) = world.reader.view().claims
    judge = auditor.judge
    judge.must_pause = lambda: True
    for step in range(1, STEPS):
        assert (
            not judge.suspicious(claim, claim.claimed_at)
            and judge.cases[claim.claim_id].audit.report.steps == step
        )
    assert not judge.suspicious(claim, claim.claimed_at) and judge.cases[claim.claim_id].report.is_equal


def trainer_tick(trainer):
    """One in which the slice is over as soon as a step is recorded."""
    trainer.over = False
    perform = trainer.perform

    def begin(action):
        trainer.over = True
        return perform(action)

    trainer.perform = begin
    try:
        return trainer.tick()
    finally:
        trainer.perform = perform
