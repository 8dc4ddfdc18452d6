"""Training runs claimed, audited and disputed by the real roles, on a local chain."""

import re

import pytest
import torch
from torch import nn

from chain.training import (
    SECOND_TRAINER,
    STEPS,
    TrainingWorld,
    actions,
    credit,
    dispute,
    earned,
    expected,
    run_of,
)
from chain.world import CLIENT
from demo.training.cheats import AT, CHEATS, Cheat, PoisonedBatch
from demo.training.job import loss
from tao.chain.local import let_pass, mine
from tao.display import size
from tao.errors import StoreError
from tao.graph.log_format import ELEMENT_BITS, END, empty
from tao.protocol.views import Outcome, Phase, Status
from tao.roles import client
from tao.roles.role import short
from tao.tensors.store import TensorStore
from tao.training import prepare
from tao.training.checkpoints import Trail
from tao.training.kernels import is_logged
from tao.training.record import Recording
from training.runs import files


def test_an_honest_run_becomes_final_and_no_auditor_disputes_it(training):
    request = training.request()
    trainer, auditor = training.trainer(), training.auditor()
    assert actions(trainer.tick()) == ["claim"]
    assert auditor.tick() == [] and f"{STEPS} steps equal" in training.world.log()
    let_pass(training.world.w3, 601)
    assert auditor.tick() == []
    assert actions(trainer.tick()) == ["finalise"]
    context = training.world.actor(CLIENT)
    claim = client.read(context, request).claim
    assert claim.status is Status.FINALISED and int(client.output(context, claim, 0)) == STEPS


def test_trainer_and_auditor_show_loss_time_and_bytes_and_tell_them_at_the_end(training):
    """As in a log: one line of progress, as the run is short, and one at its end."""
    request = short(training.request())
    folder = training.world.folder
    before = sum(map(len, files(folder / "store").values()))
    trainer, auditor = training.trainer(), training.auditor()
    (claimed,) = trainer.tick()
    assert auditor.tick() == []
    shown = (folder / "console.txt").read_text()

    trail = Trail(trainer.context.store, *run_of(training))
    losses = [f"{trail.read(step + 1).loss:.4g}" for step in range(STEPS)]
    logs = sum(len(trail.store.get_blob(trail.read(step + 1).log)) for step in range(STEPS))
    total = sum(map(len, files(folder / "store").values())) - before
    assert claimed.details["bytes_stored"] == total
    time, course, moved = r"[\d.e-]+ s", f"loss {losses[0]} -> {losses[-1]}", r"[\d.]+ (?:kB|bytes)"
    told = rf"1 of {STEPS}, loss {losses[0]}, {time} a step, {moved}"
    written = f"{size(total - logs)} of checkpoints and {size(logs)} of logs in {folder / 'store'}"
    for line in (
        rf"recording the run of request {request}: {told} stored, {time} left",
        rf"recorded {STEPS} steps in {time}, {course}, {written}",
        rf"replaying the run of claim 0x\w+: {told} read, {time} left",
        rf"replayed in {time}, {course}, {moved} read: {STEPS} steps equal; 0 roundings settled",
    ):
        assert len(re.findall(line, shown)) == 1, shown


@pytest.mark.parametrize("name", CHEATS)
def test_every_cheat_is_refuted_at_its_step_and_operator(training, name):
    training.request()
    auditor = training.auditor()
    done = training.world.play(training.trainer(CHEATS[name]), auditor)
    assert actions(done)[-1] == "prove" and "escalate" not in actions(done)
    found = dispute(training)
    assert found.outcome is Outcome.CHALLENGER_WON and found.claim.status is Status.REFUTED
    step, nodes = expected(training.job, name)
    assert found.lo // found.node_count == step and found.node in nodes
    assert credit(auditor) == earned(auditor)


def test_an_accuser_without_a_case_loses_its_bond_by_the_clock(training):
    training.request()
    trainer = training.trainer()
    trainer.tick()
    accuser = training.accuser(2 * len(training.job.bundle.graph) + 30)
    done = training.world.play(trainer, accuser, each_round=lambda: let_pass(training.world.w3, 60))
    assert "timeout" in actions(done) and "prove" not in actions(done)
    assert dispute(training).outcome is Outcome.PROVER_WON
    let_pass(training.world.w3, 601)
    assert actions(trainer.tick()) == ["finalise"]
    assert credit(accuser) == 0


def test_roles_restarted_before_every_move_play_on(training):
    training.request()
    for _ in range(40):
        for role in (training.trainer(CHEATS["always-up"]), training.auditor()):
            role.tick()
        mine(training.world.w3)
        disputes = training.world.reader.view().disputes
        if disputes and disputes[0].phase is Phase.CLOSED:
            break
    step, nodes = expected(training.job, "always-up")
    found = dispute(training)
    assert found.outcome is Outcome.CHALLENGER_WON
    assert found.lo // found.node_count == step and found.node in nodes


def test_a_trainer_killed_while_it_records_goes_on_to_the_same_claim(training, tmp_path):
    class Killed(BaseException):
        pass

    class Mortal(Recording):
        def compute(self, state, step):
            if step == STEPS - 1:
                raise Killed
            return super().compute(state, step)

    training.request()
    with pytest.raises(Killed):
        training.trainer(Mortal).tick()
    trail = Trail(TensorStore(tmp_path / "store"), *run_of(training))
    assert trail.head == STEPS - 1
    trainer, auditor = training.trainer(), training.auditor()
    assert actions(trainer.tick()) == ["claim"]
    assert auditor.tick() == [] and f"{STEPS} steps equal" in training.world.log()
    alone = Recording(training.job, TensorStore(tmp_path / "other"), owner=trainer.address)
    assert [step.index for step in alone] == list(range(STEPS))
    (claim,) = trainer.view().claims
    assert claim.checkpoint_root == alone.claim().checkpoint_root


def test_two_trainers_of_one_job_in_one_store_do_not_disturb_each_other(training):
    training.request()
    cheat, honest, auditor = training.trainer(PoisonedBatch), training.trainer(index=SECOND_TRAINER), None
    assert actions(cheat.tick()) == ["claim"]
    training.request()
    assert actions(honest.tick()) == ["claim"]
    auditor = training.auditor()
    training.world.play(cheat, honest, auditor)
    status = {claim.prover: claim.status for claim in auditor.view().claims}
    assert status == {cheat.address: Status.REFUTED, honest.address: Status.PENDING}
    assert len(auditor.view().disputes) == 1


def test_a_dispute_that_cannot_be_pursued_holds_up_no_other(training):
    training.request()
    first = training.trainer(PoisonedBatch)
    first.tick()
    training.request()
    second, auditor = training.trainer(PoisonedBatch, index=SECOND_TRAINER), training.auditor()
    second.tick()
    deviation = auditor.judge.deviation

    def blind(dispute, child):
        if dispute.claim.prover == first.address:
            raise StoreError("the first state is gone")
        return deviation(dispute, child)

    auditor.judge.deviation = blind
    for _ in range(15):
        for role in (first, second, auditor):
            role.tick()
        mine(training.world.w3)
    outcomes = {d.claim.prover: d.outcome for d in auditor.view().disputes}
    assert outcomes == {first.address: Outcome.OPEN, second.address: Outcome.CHALLENGER_WON}
    assert "the first state is gone" in (training.world.folder / "log.jsonl").read_text()


class Decorated(Recording):
    """Honest, but for entries of elements that have none."""

    def compute(self, state, step):
        outputs, log = super().compute(state, step)
        node = next(i for i, n in enumerate(self.job.bundle.graph.nodes) if i and not is_logged(n))
        entries = {k: v for k, v in zip(*log.tolist(), strict=True) if k != END} | {
            node << ELEMENT_BITS: 7,
            1 << 62: 7,
        }
        log = empty(log.shape[1])
        log[:, : len(entries)] = torch.tensor(sorted(entries.items())).T
        return (*outputs[:-1], log), log


def test_entries_that_mean_nothing_are_no_trap_for_an_auditor(training):
    training.request()
    assert actions(training.trainer(Decorated).tick()) == ["claim"]
    assert training.auditor().tick() == [] and f"{STEPS} steps equal" in training.world.log()


@pytest.mark.parametrize("name", ["learning-rate", "always-up"])
def test_what_cannot_be_proven_is_rejected_by_the_committee_for_its_bits(training, monkeypatch, name):
    """As sums too long for a transaction, or values too near to where rounding changes."""
    monkeypatch.setattr("tao.roles.audit_judge.find_proof", lambda *_: None)
    training.request()
    done = training.world.play(
        training.trainer(CHEATS[name]),
        training.auditor(),
        *training.world.members(),
        each_round=lambda: let_pass(training.world.w3, 5),
        rounds=60,
    )
    assert "escalate" in actions(done) and "prove" not in actions(done)
    assert dispute(training).outcome is Outcome.CHALLENGER_WON


class NegativeZeros(Cheat):
    """Turns the sign of zeros in a moment, which no contract refutes."""

    def change(self, step, node, operands, outputs, state):
        moment = self.graph.outputs[4]
        if step != AT or self.graph.nodes[node].outputs[0] != moment:
            return outputs
        assert (outputs[0] == 0).any()
        return (torch.where(outputs[0] == 0, -0.0, outputs[0]),)


def test_a_zero_of_the_wrong_sign_is_rejected_by_the_committee(world):
    training = TrainingWorld(world, small_job())
    training.request()
    auditor = training.auditor()
    done = world.play(
        training.trainer(NegativeZeros),
        auditor,
        *world.members(),
        each_round=lambda: let_pass(world.w3, 5),
    )
    assert "escalate" in actions(done) and "prove" not in actions(done)
    found = dispute(training)
    assert found.outcome is Outcome.CHALLENGER_WON and found.lo // found.node_count == AT
    assert found.claim.status is Status.REFUTED and credit(auditor) > auditor.context.reader.challenger_bond


def small_job():
    """A linear layer on inputs whose first column is zero, as is the moment of its weights."""
    torch.manual_seed(1)
    module = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    data = torch.cat([torch.zeros(8, 1), torch.randn(8, 3)], 1), torch.randint(3, (8,))
    return prepare(module, optimizer, data, loss, steps=STEPS, batch_size=4, log_capacity=64)


@pytest.mark.parametrize(("which", "length"), [("logged", 1), ("loss", 1), ("logged", 7)])
def test_members_accept_an_honest_operator_by_its_bits_and_the_accuser_pays(training, which, length):
    """Of a rounded operator, of the loss, which no state holds, and of a segment of several operators."""
    training.request()
    trainer, members = training.trainer(), training.world.members()
    trainer.tick()
    size = len(training.job.bundle.graph)
    nodes = enumerate(training.job.bundle.graph.nodes)
    loss = training.job.loss
    node = next(i for i, node in nodes if (is_logged(node) if which == "logged" else loss in node.outputs))
    accuser = training.accuser(2 * size + node, at_leaf=2.0, from_length=length)
    done = training.world.play(trainer, accuser, *members, each_round=lambda: let_pass(training.world.w3, 5))
    votes = [each.details for each in done if each.action == "reveal-vote"]
    assert len(votes) >= 2 and {vote["vote"] for vote in votes} == {"accept"}
    assert all('"exceedance":0.0' in vote["statistics"] for vote in votes)
    found = dispute(training)
    assert found.outcome is Outcome.PROVER_WON and (found.hi - found.lo > 1) == (length > 1)
    assert credit(accuser) == 0


def test_members_reject_a_dishonest_operator_by_its_bits(training):
    training.request()
    step, nodes = expected(training.job, "poisoned-batch")
    accuser = training.accuser(step * len(training.job.bundle.graph) + min(nodes), at_leaf=2.0)
    done = training.world.play(
        training.trainer(PoisonedBatch),
        accuser,
        *training.world.members(),
        each_round=lambda: let_pass(training.world.w3, 5),
    )
    votes = [each.details for each in done if each.action == "reveal-vote"]
    assert len(votes) >= 2 and {vote["vote"] for vote in votes} == {"reject"}
    assert all('"exceedance":"inf"' in vote["statistics"] for vote in votes)
    assert dispute(training).outcome is Outcome.CHALLENGER_WON
