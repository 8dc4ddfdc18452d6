"""Training steps that sum more lanes than a transaction holds: disputes end by records, or by asserted sums."""

import pytest
import torch
from torch import nn

from benchmarks.sums import Doubting
from chain.training import STEPS, actions, credit, dispute, earned
from demo.training.cheats import AT, Cheat
from demo.training.job import loss
from tao.chain.local import let_pass, mine
from tao.errors import TooLarge
from tao.graph.rounding import ROUNDED_CONTRACTION
from tao.graph.states import of_outputs
from tao.protocol.challenger import Measured, Refutable
from tao.protocol.views import Outcome, Status
from tao.roles import sums
from tao.roles.audit_judge import AuditJudge
from tao.roles.states import ends
from tao.roles.trainer import TrainerRole
from tao.training import prepare, proofs

LANES = 32_000


@pytest.fixture(scope="module")
def job():
    """A layer of 32,000 inputs, whose products are sums of as many lanes, and the gradient of its bias."""
    torch.manual_seed(1)
    module = nn.Linear(LANES, 2)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-6)
    data = torch.randn(4, LANES), torch.tensor([0, 1, 1, 0])
    return prepare(module, optimizer, data, loss, steps=STEPS, batch_size=2, log_capacity=64)


def long_sum(job) -> int:
    return next(
        i
        for i, node in enumerate(job.bundle.graph.nodes)
        if node.operator == ROUNDED_CONTRACTION and node.reduction == LANES
    )


@pytest.fixture
def asserting(monkeypatch):
    """What takes more than one transaction to post is asserted."""
    monkeypatch.setattr(sums, "MOST_POSTED", 1)


class Shifted(Cheat):
    """One sum of 32,000 products is too large by a quarter of a thousandth."""

    def change(self, step, node, operands, outputs, state):
        if step != AT or node != long_sum(self.job):
            return outputs
        wrong = outputs[0].clone()
        wrong[1, 0] += 2.0**-12
        return (wrong,)


class DoubtingTrainer(Doubting, TrainerRole):
    """Doubts what is true."""


def of_sums(done) -> list[str]:
    names = actions(done)
    return names[names.index("assert") :]


def is_refuted(training) -> bool:
    found = dispute(training)
    caught = found.lo // found.node_count == AT and found.node == long_sum(training.job)
    return caught and found.outcome is Outcome.CHALLENGER_WON and found.claim.status is Status.REFUTED


def test_the_lanes_are_posted_and_prove_the_sum_wrong(training):
    training.request()
    auditor = training.auditor()
    done = training.world.play(training.trainer(Shifted), auditor)
    posts = [each for each in done if each.action == "post"]
    assert len(posts) == 4 and actions(done)[-1] == "prove" and is_refuted(training)
    assert sum(each.details["lanes"] for each in posts) == LANES
    for each in posts:
        assert each.sent.gas_used <= each.details["gas_estimate"] <= 2.5 * each.sent.gas_used
        assert len(training.world.w3.eth.get_transaction(each.sent.transaction)["input"]) < 128 * 1024
    assert credit(auditor) == earned(auditor)


def test_a_cheat_that_accepts_the_true_sums_is_refuted_by_them(training, asserting):
    """Also by an auditor that is restarted after it asserted them."""
    training.request()
    trainer, auditor, done = training.trainer(Shifted), training.auditor(), []
    while "assert" not in actions(done):
        done += trainer.tick() + auditor.tick()
        mine(training.world.w3)
    done += training.world.play(trainer, training.auditor())
    assert of_sums(done) == ["assert", "accept", "prove"] and is_refuted(training)


def test_a_cheat_that_doubts_the_true_sums_loses_by_one_piece_of_them(training, asserting):
    """Also an auditor that is restarted after every doubt."""
    training.request()
    trainer = DoubtingTrainer(training.trainer().context, training.job.bundle, make=Shifted)
    auditor, done = training.auditor(), []
    while "settle" not in actions(done):
        auditor = training.auditor() if "doubt" in actions(done) else auditor
        done += trainer.tick() + auditor.tick()
        mine(training.world.w3)
    names = of_sums(done)
    assert names[0] == "assert" and names[-2:] == ["post", "settle"] and is_refuted(training)
    assert set(names[1:-2]) == {"doubt", "split"} and names.count("split") == names.count("doubt") - 1


def test_a_range_whose_pieces_no_node_takes_is_split_further(training, asserting, monkeypatch):
    post = sums.postings

    def refused(leaf, missing):
        if sum(piece.lanes for piece in missing) > 1_000:
            raise TooLarge("the node refuses so much gas")
        return post(leaf, missing)

    monkeypatch.setattr(sums, "postings", refused)
    training.request()
    trainer = DoubtingTrainer(training.trainer().context, training.job.bundle, make=Shifted)
    done = training.world.play(trainer, training.auditor())
    assert "refuses so much gas" in training.world.log()
    assert actions(done)[-1] == "settle" and is_refuted(training)
    assert done[-1].details["to"] - done[-1].details["from"] <= 1_000


class Liar(AuditJudge):
    """Finds an element of an honest sum wrong."""

    def __init__(self, bundle, store, node: int) -> None:
        super().__init__(bundle, store, 0)
        self.node = node

    def suspicious(self, claim, now):
        return True

    def deviation(self, found, child):
        return 2.0 if found.cuts[child] <= self.node < found.cuts[child + 1] else 0.0

    def examine(self, found, given_up=()):
        if Refutable in given_up:
            return Measured(0.0)
        after = of_outputs(self.bundle.graph, found.node, found.states[found.hi])
        outputs = [self.store.get_tensor(commitment) for commitment in after]
        plan = proofs.rounded_plan(self.bundle, found.node, self.operands(found), outputs, 1)
        self.plans[ends(found, found.lo, found.hi)] = (1, plan)
        return Refutable(1)

    def difference(self, claim):
        return "nothing"


def test_true_sums_do_not_refute_an_honest_trainer(training, asserting):
    training.request()
    trainer, auditor = training.trainer(), training.auditor()
    trainer.tick()
    node = AT * len(training.job.bundle.graph) + long_sum(training.job)
    auditor.judge = Liar(training.job.bundle, auditor.context.store, node)
    done = training.world.play(trainer, auditor, each_round=lambda: let_pass(training.world.w3, 40))
    assert "accept" in of_sums(done) and "prove was refused: not refuted" in training.world.log()
    assert dispute(training).outcome is Outcome.PROVER_WON and credit(auditor) == 0
