"""Audits: what is equal, what differs, and what cannot be told."""

import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tao.errors import ModelError, StoreError
from tao.graph.log_format import ELEMENT_BITS, empty
from tao.numerics import variants
from tao.tensors.store import TensorStore
from tao.training import AuditReport, TrainingClaim, audit, prepare
from tao.training import log as logs
from tao.training.audit import Audit, Difference
from tao.training.kernels import is_logged
from tao.training.record import Recording
from training.cases import mlp
from training.faults import Inventive
from training.runs import OPTIONS, STEPS, dropout_case, job, parts, recorded, trail

WORKER = Path(__file__).with_name("device.py")


@pytest.fixture
def store(tmp_path):
    recorded(TensorStore(tmp_path))
    return TensorStore(tmp_path)


def test_an_honest_run_is_equal_in_every_bit(store):
    told = []
    report = audit(job(), str(store.url), recorded(store).claim(), progress=told.append)
    assert report.is_equal and report.steps == STEPS == len(told) == len(report.seconds)
    assert report.corrections == [[]] * STEPS


def test_an_audit_computes_the_losses_that_were_recorded_and_may_be_left_in_between(store):
    going, losses = Audit(job(), store), []
    for step in going:
        losses.append(step.loss)
        if step.index == 2:
            break
    assert going.report.steps == len(losses) == 3 and not going.is_over
    losses += [step.loss for step in going]
    assert going.is_over and losses == [trail(store).read(step + 1).loss for step in range(STEPS)]


def test_a_run_with_dropout_and_running_statistics_is_equal(tmp_path):
    agreed = prepare(*parts(dropout_case()), **OPTIONS)
    recording = Recording(agreed, TensorStore(tmp_path))
    assert len(list(recording)) == STEPS
    assert audit(prepare(*parts(dropout_case()), **OPTIONS), tmp_path, recording.claim()).is_equal


@pytest.mark.parametrize(("first", "last"), [(0, 1), (2, 5), (3, 7), (6, None)])
def test_an_interval_is_audited_from_the_recorded_state(first, last, store):
    report = audit(job(), store, first=first, last=last)
    assert report.is_equal and (report.first, report.steps) == (first, (last or STEPS) - first)


@pytest.mark.parametrize(("first", "last"), [(-1, 2), (3, 3), (5, 4), (0, STEPS + 1)])
def test_an_interval_outside_the_run_is_refused(first, last, store):
    with pytest.raises(ModelError, match=f"steps {first} to {last} are not within the job's {STEPS}"):
        audit(job(), store, first=first, last=last)


class Late(Recording):
    """Changes a weight by one unit in the last place in step 4."""

    def compute(self, state, step):
        outputs, log = super().compute(state, step)
        if step == 4:
            weight = outputs[2].clone()
            weight.view(-1)[3] = torch.nextafter(weight.view(-1)[3], torch.tensor(torch.inf))
            outputs = (*outputs[:2], weight, *outputs[3:])
        return outputs, log


def test_one_bit_of_one_weight_is_found_in_its_step(tmp_path):
    recording = Late(job(), TensorStore(tmp_path), 2)
    for _ in recording:
        pass
    report = audit(job(), tmp_path, recording.claim())
    assert report.steps == report.difference.step == 4
    assert report.difference.values == (job().names[2],) and job().names[2] in str(report.difference)
    assert torch.equal(report.difference.before[0], torch.tensor([4]))
    assert audit(job(), tmp_path, first=6).is_equal  # what follows is honest


class Forger(Recording):
    """Writes an entry that no device needs."""

    def compute(self, state, step):
        outputs, log = super().compute(state, step)
        if step == 2:
            node = next(i for i, n in enumerate(self.job.bundle.graph.nodes) if is_logged(n))
            log = empty(self.job.log_capacity)
            log[:, 0] = torch.tensor([node << ELEMENT_BITS, 0x4B000000])
        return (*outputs[:-1], log), log


def test_a_run_that_breaks_down_and_one_with_a_forged_log_are_told_with_the_operator(tmp_path):
    case = mlp()
    for group in case.optimizer.param_groups:
        group["lr"] = 1e20
    agreed = prepare(*parts(case), **OPTIONS)
    recording = Inventive(agreed, TensorStore(tmp_path / "infinite"))
    assert len(list(recording)) == STEPS
    found = audit(agreed, tmp_path / "infinite", recording.claim()).difference
    assert found.node is not None
    assert "NaN or infinite" in str(found) and "no honest run goes on" in str(found)
    assert torch.equal(found.before[0], torch.tensor([found.step]))
    recording = Forger(job(), TensorStore(tmp_path / "forged"))
    assert len(list(recording)) == STEPS
    found = audit(job(), tmp_path / "forged", recording.claim()).difference
    assert found.step == 2 and "the log of step 2 has" in str(found)


def test_a_claim_is_held_against_the_store_and_the_job(store, tmp_path):
    claim = recorded(store).claim()
    other = Late(job(), TensorStore(tmp_path / "other"))
    for _ in other:
        pass
    for root in ({"checkpoint_root": bytes(32)}, {"outputs": claim.inputs}):
        with pytest.raises(StoreError, match="are not those claimed"):
            audit(job(), store, replace(claim, **root))
    with pytest.raises(StoreError, match="are not those claimed"):
        audit(job(), store, other.claim())
    for field in ({"model_id": bytes(32)}, {"inputs": claim.outputs}):
        with pytest.raises(ModelError, match="the claim is about another job"):
            audit(job(), store, replace(claim, **field))
    for absent in ((job(1), store), (job(), tmp_path / "empty"), (job(), tmp_path / "empty", claim)):
        with pytest.raises(StoreError, match="^no run of this job is in the store"):
            audit(*absent)
    with pytest.raises(StoreError, match="^no run of this job is in the store"):
        audit(job(), store, claim, owner="somebody else")
    with pytest.raises(ModelError, match="^the claim is 'abc'; give a TrainingClaim"):
        audit(job(), store, "abc")


def test_a_claim_that_was_written_to_a_file_is_the_claim(store):
    claim = recorded(store).claim()
    assert TrainingClaim.from_json(claim.to_json()) == claim


NO_CLAIM = {
    "nothing": b"",
    "a list": b"[]",
    "another record": b'{"format": "tao.model.v1"}',
    "no state": dict(inputs=[]),
    "a number": dict(model=5),
    "no hash": dict(checkpoints="0g"),
    "a short hash": dict(outputs=["00"]),
}


@pytest.mark.parametrize("what", NO_CLAIM)
def test_a_file_that_is_no_claim_is_told_in_a_sentence(what, store):
    data = NO_CLAIM[what]
    if isinstance(data, dict):
        data = json.dumps(json.loads(recorded(store).claim().to_json()) | data).encode()
    with pytest.raises(ModelError, match="^the claim is malformed: ") as caught:
        TrainingClaim.from_json(data)
    assert "\n" not in str(caught.value)


def test_claims_and_reports_are_shown_in_a_line(store):
    claim = recorded(store).claim()
    ids = claim.model_id[:4].hex(), len(claim.outputs), claim.checkpoint_root[:4].hex()
    assert repr(claim) == "TrainingClaim(model 0x{}…, {} values, checkpoints 0x{}…)".format(*ids)
    assert repr(audit(job(), store, claim)) == f"AuditReport(equal, {STEPS} steps)"
    found = AuditReport(0, 4, Difference(4, (), ("group0.parameters.8",)))
    assert repr(found) == f"AuditReport({found.difference}, 4 steps)"


@pytest.mark.parametrize("first", [0, 4])
def test_checkpoints_that_are_overwritten_once_the_claim_was_read_are_told(first, tmp_path):
    """The trainer claims a cheating run and shows an honest one."""
    cheating, honest = Late(job(), TensorStore(tmp_path), 2), recorded(TensorStore(tmp_path / "honest"), 2)
    list(cheating)
    going = Audit(job(), tmp_path, cheating.claim(), first=first)
    for step in range(5, STEPS + 1):
        trail(cheating.store).append(honest.trail.read(step))
    with pytest.raises(StoreError, match="are not those claimed; ask the trainer to publish those"):
        list(going)
    assert going.report.steps == 4 - first


def test_a_log_file_of_another_kind_is_told_in_a_sentence(store):
    run = trail(store)
    log = empty(job().log_capacity)
    root = job().bundle.graph_root
    wrong = {
        "ends within its header": b"",
        "is no file of a rounding log": bytes(64),
        "a log of step 1 of graph": store.get_blob(run.read(2).log),
        "of graph 0000": logs.encode(log, 2),
        "with 5 entries stands": logs.encode(empty(5), 2, root),
    }
    for reason, data in wrong.items():
        run.append(replace(run.read(3), log=store.put_blob(data)))
        with pytest.raises(StoreError, match=reason) as caught:
            audit(job(), store)
        assert "\n" not in str(caught.value)
    entry = log.clone()
    entry[:, 0] = torch.tensor([7 << ELEMENT_BITS, 0x3F800000])
    run.append(replace(run.read(3), log=store.put_blob(logs.encode(entry, 2, root))))
    with pytest.raises(
        StoreError, match="the log of step 2 in the store .* is not the one that its checkpoint"
    ):
        audit(job(), store)


def device(variant, role, folder, model_id, first):
    arguments = [variant, role, str(folder), model_id.hex(), *(value.hex() for value in first)]
    done = subprocess.run(
        [sys.executable, str(WORKER), *arguments],
        capture_output=True,
        text=True,
        env=variants.environment(variant),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def squared(module, x, y):
    return ((module(x) - y) ** 2).mean()


def test_another_device_replays_four_hundred_steps_without_a_false_difference(tmp_path):
    steps, store = 400, TensorStore(tmp_path)
    torch.manual_seed(5)
    module = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    data = (torch.randn(10, 6), torch.randn(10, 1))
    agreed = prepare(module, optimizer, data, squared, **{**OPTIONS, "steps": steps})
    agreed.bundle.save(store)
    first = [store.put_tensor(tensor) for tensor in agreed.initial]
    recorder = device("one-thread", "record", tmp_path, agreed.bundle.model_id, first)
    auditor = device("sequential-16", "audit", tmp_path, agreed.bundle.model_id, first)
    assert recorder["steps"] == auditor["steps"] == steps
    assert auditor["difference"] is None
    assert recorder["digest"] != auditor["digest"]  # of a sum in float64: these are two devices


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_what_is_recorded_on_an_accelerator_is_audited_on_a_processor(tmp_path):
    torch.manual_seed(5)
    module, data = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1)), torch.randn(10, 6)
    agreed, offset = copy.deepcopy(module), torch.full((10, 1), 0.5)
    options = dict(steps=3, batch_size=4, log_capacity=1024)

    def parts(module):
        return (
            module,
            torch.optim.SGD(module.parameters(), lr=0.05),
            (data, data.sum(1, True) + offset),
            squared,
        )

    recording = Recording(prepare(*parts(module.cuda()), **options), TensorStore(tmp_path))
    assert len(list(recording)) == 3 and recording.state[2].is_cuda
    assert audit(prepare(*parts(agreed), **options), tmp_path, recording.claim(), first=1).is_equal


def test_training_needs_nothing_of_the_chain():
    code = "import sys, tao.training; sys.exit(any(m.startswith(('web3', 'tao.chain')) for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
