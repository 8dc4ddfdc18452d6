"""Trainer, auditor and members that are killed around every transaction of a dispute about a training run."""

import pytest

from chain.mortal import Mortal, have_voted, mortal_members, play
from chain.training import KEEP_EVERY, Accuser, dispute, expected
from chain.world import CHALLENGER, PROVER
from demo.training.cheats import PoisonedBatch
from tao.protocol.views import Outcome, Status
from tao.roles.auditor import AuditorRole
from tao.roles.trainer import TrainerRole
from tao.training.record import Recording


def mortal_trainer(training, make=Recording):
    def build(context):
        return TrainerRole(context, training.job.bundle, keep_every=KEEP_EVERY, make=make)

    return Mortal(training.world.actor(PROVER), build)


def mortal_auditor(training, accused=None):
    """accused: an operator that it leads every dispute to and calls wrong, whatever it is; None: honest."""

    def build(context):
        auditor = AuditorRole(context, training.job.bundle)
        if accused is not None:
            auditor.judge = Accuser(training.job.bundle, context.store, 0, accused, at_leaf=2.0)
        return auditor

    return Mortal(training.world.actor(CHALLENGER), build)


def place(training):
    """Where the poisoned batch is caught: the number of the operator in the whole run."""
    step, nodes = expected(training.job, "poisoned-batch")
    return step * len(training.job.bundle.graph) + min(nodes)


def test_a_cheating_trainer_loses_by_proof(training):
    training.request()
    trainer, auditor = mortal_trainer(training, PoisonedBatch), mortal_auditor(training)
    play(training.world, trainer, auditor)
    found = dispute(training)
    assert found.outcome is Outcome.CHALLENGER_WON and found.claim.status is Status.REFUTED
    assert found.lo == place(training)
    assert auditor.sent == ["open", *["select"] * trainer.sent.count("reveal"), "prove"]
    assert trainer.deaths == 2 * len(trainer.sent) and auditor.deaths == 2 * len(auditor.sent)


@pytest.mark.parametrize("make", [Recording, PoisonedBatch], ids=["honest", "cheating"])
def test_a_vote_acquits_an_honest_trainer_and_condemns_a_cheating_one(training, make):
    """The auditor asks for it: a malicious one, or one that has no proof."""
    training.request()
    trainer, auditor = mortal_trainer(training, make), mortal_auditor(training, place(training))
    members = mortal_members(training.world)
    play(training.world, trainer, auditor, members=members)
    found = dispute(training)
    assert found.lo == place(training) and have_voted(members)
    assert found.outcome is (Outcome.PROVER_WON if make is Recording else Outcome.CHALLENGER_WON)
    assert trainer.sent.count("reveal") == auditor.sent.count("select") > 0
    assert "escalate" in auditor.sent and trainer.deaths >= 2 * len(trainer.sent)
