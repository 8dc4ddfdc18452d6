"""Real processes of roles, ended by SIGKILL between their moves or within them, and started again."""

from benchmarks.small import Cheat
from chain.processes import moves, running, wait_until
from chain.test_every_fault import Liar
from chain.training import KEEP_EVERY, TrainingWorld
from chain.world import CHALLENGER, FIRST_MEMBER, PROVER
from demo.training.cheats import AT, PoisonedBatch
from demo.training.job import build
from tao.chain.local import let_pass, mine
from tao.protocol.views import Outcome, Phase, Stage, Status, Vote
from tao.roles.challenger import ChallengerRole
from tao.tensors.store import TensorStore
from tao.training.checkpoints import Trail
from tao.training.record import Recording

TANH, SOFTPLUS = 2, 5
"""Operators that a contract decides, and that members vote on."""
LONG, SHORT = 40, 4
"""Steps of a run that is killed within, and of one that is disputed."""


def test_a_prover_killed_after_each_of_its_moves_continues_and_wins(world):
    world.request()
    members = world.members()
    attacker = ChallengerRole(world.actor(CHALLENGER), world.bundle)
    attacker.judge = Liar(world.bundle, attacker.context.store)
    attacker.judge.target = 5
    for expected in (["claim"], ["claim", "reveal"], ["claim", "reveal", "reveal"]):
        with running(world, "prover", PROVER, model=named(world.bundle)):
            wait_until(lambda expected=expected: moves(world, "prover") == expected)
        assert moves(world, "prover") == expected
        for _ in range(3):
            attacker.tick()
            mine(world.w3)
    reader = world.reader
    (dispute,) = reader.view().disputes
    assert dispute.lo == 5 and dispute.phase in (Phase.LEAF, Phase.VOTE)
    world.play(attacker, *members)
    assert reader.view().disputes[0].outcome is Outcome.PROVER_WON


def test_a_challenger_killed_after_each_of_its_moves_continues_and_wins(world):
    world.request()
    prover, made = world.prover(Cheat(world.bundle, TANH)), []
    for move in ("open", "select", "select", "prove"):
        prover.tick()
        made.append(move)
        with running(world, "challenger", CHALLENGER, model=named(world.bundle)):
            wait_until(lambda: moves(world, "challenger") == made)
        assert moves(world, "challenger") == made
    dispute = world.dispute()
    assert dispute.lo == TANH and dispute.outcome is Outcome.CHALLENGER_WON


def test_a_member_killed_between_commitment_and_reveal_votes_what_it_committed_to(world):
    world.request()
    (killed, *others) = world.members()
    prover, challenger = world.prover(Cheat(world.bundle, SOFTPLUS)), world.challenger()

    def case():
        disputes = world.reader.view().disputes
        return disputes[0].case if disputes else None

    def vote():
        return case().votes[killed.address]

    while case() is None or case().stage is not Stage.COMMIT:
        prover.tick()
        challenger.tick()
        mine(world.w3)
    with running(world, "committee", FIRST_MEMBER):
        wait_until(lambda: moves(world, "committee") == ["commit-vote"])
    committed, revealed = vote()
    assert any(committed) and revealed is Vote.NONE
    for member in others:
        member.tick()
    assert case().stage is Stage.REVEAL
    with running(world, "committee", FIRST_MEMBER):
        wait_until(lambda: moves(world, "committee") == ["commit-vote", "reveal-vote"])
    assert vote() == (committed, Vote.REJECT)
    world.play(challenger, *others)
    assert world.dispute().outcome is Outcome.CHALLENGER_WON


def test_a_trainer_killed_on_the_way_ends_with_the_claim_of_an_undisturbed_run_which_finalises(world):
    training = TrainingWorld(world, build(LONG))
    model_id, request = training.job.bundle.model_id, training.request()
    owner, reader = world.actor(PROVER).address, world.reader
    trail = Trail(TensorStore(world.folder / "store"), model_id, training.job.first, owner)

    def status():
        return [claim.status for claim in reader.view({model_id}).claims]

    with running(world, "trainer", PROVER, model=named(training.job.bundle), keep_every=KEEP_EVERY):
        wait_until(lambda: (trail.head or 0) >= LONG // 3)
    with running(world, "trainer", PROVER, model=named(training.job.bundle), keep_every=KEEP_EVERY):
        wait_until(lambda: status() == [Status.PENDING])
    assert training.auditor().tick() == [] and f"{LONG} steps equal" in world.log()
    let_pass(world.w3, 601)
    assert [done.action for done in training.trainer().tick()] == ["finalise"]
    assert status() == [Status.FINALISED]
    undisturbed = Recording(training.job, TensorStore(world.folder / "undisturbed"), owner=owner)
    assert len(list(undisturbed)) == LONG
    (claim,) = reader.view({model_id}).claims
    assert claim.request_id == request
    assert (claim.checkpoint_root, claim.outputs) == (
        undisturbed.claim().checkpoint_root,
        undisturbed.claim().outputs,
    )


def test_an_auditor_killed_within_a_dispute_goes_on_and_catches_the_cheat(world):
    training = TrainingWorld(world, build(SHORT))
    model_id = training.job.bundle.model_id
    training.request()
    trainer, reader = training.trainer(PoisonedBatch), world.reader
    trainer.tick()

    def disputes():
        return reader.view({model_id}).disputes

    def is_within_a_step():
        return any(not dispute.spans_steps for dispute in disputes())

    def is_over():
        return any(dispute.phase is Phase.CLOSED for dispute in disputes())

    # Nobody mines beside: the clocks would run ahead of a process that takes its time to start.
    with running(world, "auditor", CHALLENGER, model=named(training.job.bundle)):
        wait_until(is_within_a_step, trainer.tick)
    assert not is_over()
    with running(world, "auditor", CHALLENGER, model=named(training.job.bundle)):
        wait_until(is_over, trainer.tick)
    (dispute,) = disputes()
    assert dispute.outcome is Outcome.CHALLENGER_WON and dispute.claim.status is Status.REFUTED
    assert dispute.lo // dispute.node_count == AT


def named(bundle):
    """A model as the commands take it."""
    return "0x" + bundle.model_id.hex()
