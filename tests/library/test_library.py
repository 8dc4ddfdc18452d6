"""The package as a library, without any chain."""

import subprocess
import sys

import pytest
import torch
from torch import nn

import tao
from benchmarks.small import Cheat, inputs, node, tiny_bundle
from tao.errors import InvalidTensor, ModelError
from tao.execution import capture
from tao.receipt import Receipt, run
from tao.tensors import commit


@pytest.fixture(scope="module")
def model():
    return tiny_bundle()


def claimed(model, behaviour, given) -> Receipt:
    return run(lambda *tensors: behaviour.run(tensors), given)


def test_an_honest_run_is_plausible_and_bit_equal_to_the_module():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    given = (torch.randn(3, 8),)
    model = tao.trace(module, given)
    receipt = model.run(given)
    with torch.no_grad():
        assert torch.equal(receipt.values[0], module(*given))
    assert receipt.outputs == (commit(receipt.values[0]),)
    assert model.verify(receipt, given).plausible


def test_states_let_the_report_name_the_operator_to_blame(model):
    guilty = node(model, "contraction")
    cheat, given = Cheat(model, guilty), inputs()
    states = cheat.capture(given, range(len(model.graph) + 1))
    report = model.verify(claimed(model, cheat, given), given, states)
    assert not report.plausible
    assert report.culprit.node == guilty and report.culprit.refutable is not None
    assert [verdict.accepted for verdict in report.operators].count(False) == 1


def test_an_operator_without_a_proof_is_blamed_by_its_statistics(model):
    guilty = node(model, "mish")
    cheat, given = Cheat(model, guilty), inputs()
    report = model.verify(
        claimed(model, cheat, given), given, cheat.capture(given, range(len(model.graph) + 1))
    )
    assert report.culprit.node == guilty
    assert report.culprit.refutable is None and report.culprit.exceedance > 1


def test_honest_states_are_all_accepted(model):
    given = inputs()
    states = capture(model.graph, model.parameters, given, range(len(model.graph) + 1))
    report = model.verify(model.run(given), given, states)
    assert report.plausible and report.culprit is None and len(report.operators) == len(model.graph)


def test_a_receipt_of_other_inputs_or_values_is_refused(model):
    receipt = model.run(inputs(0))
    with pytest.raises(ModelError, match="other inputs"):
        model.verify(receipt, inputs(1))
    forged = Receipt((receipt.values[0] + 1,), receipt.inputs, receipt.outputs)
    with pytest.raises(ModelError, match="not those it commits to"):
        model.verify(forged, inputs(0))


def test_an_empty_batch_is_refused_in_one_sentence(model):
    with pytest.raises((ModelError, InvalidTensor)) as refusal:
        model.run((torch.zeros(0, 12),))
    assert "\n" not in str(refusal.value)


def test_importing_the_package_does_not_import_torch():
    """Kernel variants must be chosen before torch is loaded."""
    script = "import sys, tao, tao.numerics.variants; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
