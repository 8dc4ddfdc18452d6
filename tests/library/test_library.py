"""The package as a library, without any chain."""

import ast
import subprocess
import sys
import tomllib
from collections import UserDict
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import tao
from benchmarks.small import Cheat, Rewriter, Tiny, inputs, node, tiny_bundle
from tao.chain.build import ROOT
from tao.errors import InvalidTensor, ModelError, StoreError, TaoError
from tao.receipt import Receipt, run
from tao.tensors import TensorType, commit


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


class Named(nn.Module):
    def forward(self, ids, mask, scale=1.0):
        return {"sum": ids + mask * scale, "difference": ids - mask * scale}


def tokens(seed=0):
    """As tokenizers give them: no dict, and in an order of their own."""
    torch.manual_seed(seed)
    return UserDict({"mask": torch.randn(2, 3), "ids": torch.randn(2, 3)})


def test_inputs_by_name_give_what_the_module_gives_in_whatever_order_they_stand():
    model, given = tao.trace(Named(), (), tokens()), tokens(1)
    expected = Named()(**given)
    receipt = model.run((), given)
    assert all(map(torch.equal, receipt.values, expected.values()))
    assert model.run((), {"ids": given["ids"], "mask": given["mask"]}) == receipt
    assert model.run((given["mask"], given["ids"])) == receipt
    assert model.run([given["mask"]], {"ids": given["ids"]}) == receipt
    report = model.verify(receipt, (), given, model.capture((), given))
    assert report.plausible and len(report.operators) == len(model.graph)


def test_inputs_by_position_can_be_given_by_name_too():
    given = tokens()
    model = tao.trace(Named(), (given["ids"], given["mask"]))
    assert model.run((), given) == model.run((given["ids"], given["mask"]))


def test_inputs_within_others_are_named_by_their_place():
    class Cached(nn.Module):
        def forward(self, x, *rest, cache):
            return x + rest[0] + cache[0] + cache[1]["key"]

    x = torch.ones(2)
    model = tao.trace(Cached(), (x, x), {"cache": [x, {"key": x}]})
    assert model.input_names == ("x", "rest[0]", "cache[0]", "cache[1]['key']")


def test_inputs_of_other_names_or_kinds_are_refused_in_one_sentence():
    named, given = tao.trace(Named(), (), {**tokens(), "scale": 2.0}), tokens()
    one = given["ids"]
    for args, kwargs, words in (
        (given, None, "a tuple of tensors, not a UserDict; give inputs by name as a mapping, after it"),
        (None, None, "a tuple of tensors, not a NoneType"),
        ((), [one], "inputs by name are not a list"),
        ((), {"ids": one}, "inputs by name: ids; the model has mask, ids there"),
        ((one,), given, "inputs by name: mask, ids; the model has ids there"),
        ((), {**given, "scale": 3.0}, "mask, ids, scale; the model has mask, ids there"),
        ((one, one), {"ids": one}, "inputs by name: ids; the model has none there"),
        ((one,), None, "the model takes 2 inputs, and 1 are given"),
        ((one, one, one), None, "the model takes 2 inputs, and 3 are given"),
    ):
        for call in (named.run, named.capture, partial(named.verify, None)):
            with pytest.raises(ModelError, match=words) as refusal:
                call(args, kwargs)
            assert "\n" not in str(refusal.value)
    unnamed = replace(named, input_names=None)
    with pytest.raises(
        ModelError, match="only a traced model knows its inputs by name; give them as a tuple"
    ):
        unnamed.run((), given)
    assert unnamed.model_id == named.model_id


def test_states_let_the_report_name_the_operator_to_blame(model):
    guilty = node(model, "contraction")
    cheat, given = Cheat(model, guilty), inputs()
    states = cheat.capture(given, range(len(model.graph) + 1))
    report = model.verify(claimed(model, cheat, given), given, states=states)
    assert not report.plausible
    assert report.culprit.node == guilty and report.culprit.refutable is not None
    assert [verdict.accepted for verdict in report.operators].count(False) == 1


def test_an_operator_without_a_proof_is_blamed_by_its_statistics(model):
    guilty = node(model, "mish")
    cheat, given = Cheat(model, guilty), inputs()
    states = cheat.capture(given, range(len(model.graph) + 1))
    report = model.verify(claimed(model, cheat, given), given, states=states)
    assert report.culprit.node == guilty
    assert report.culprit.refutable is None and report.culprit.exceedance > 1


def test_honest_states_are_all_accepted(model):
    given = inputs()
    report = model.verify(model.run(given), given, states=model.capture(given))
    assert report.plausible and report.culprit is None and len(report.operators) == len(model.graph)


def test_who_changes_a_value_that_passes_by_an_operator_is_blamed_there(model):
    passed = node(model, "mish")
    cheat, given = Rewriter(model, passed), inputs()
    states = cheat.capture(given, range(len(model.graph) + 1))
    receipt = run(lambda *_: states[len(model.graph)], given)
    report = model.verify(receipt, given, states=states)
    assert not report.plausible
    assert report.culprit.node == passed and not report.culprit.consistent
    assert [verdict.accepted for verdict in report.operators].count(False) == 1


def test_an_output_that_the_states_do_not_end_with_is_blamed_on_the_last_operator(model):
    given = inputs()
    receipt = run(lambda x: (model.run((x,)).values[0] + 1e-3,), given)
    last = len(model.graph) - 1
    states = model.capture(given)
    assert model.verify(receipt, given, states=states).culprit.node == last
    assert model.verify(receipt, given, states={last: states[last]}).culprit.node == last


@pytest.mark.parametrize("is_honest", [True, False])
def test_states_of_another_run_are_no_defence_and_no_accusation(model, is_honest):
    given, other = inputs(0), model.capture(inputs(1))
    receipt = model.run(given) if is_honest else claimed(model, Cheat(model, node(model, "mish")), given)
    with pytest.raises(ModelError, match="begin with other inputs than the receipt"):
        model.verify(receipt, given, states=other)
    del other[0]
    report = model.verify(receipt, given, states=other)
    assert not report.plausible and report.culprit.node == 0


def test_without_tolerances_an_operator_without_a_proof_is_blamed_by_its_drift():
    given = inputs()
    bare = tao.trace(Tiny(), given)
    guilty = node(bare, "mish")
    cheat = Cheat(bare, guilty)
    states = cheat.capture(given, range(len(bare.graph) + 1))
    report = bare.verify(claimed(bare, cheat, given), given, states=states)
    assert report.culprit.node == guilty and report.culprit.refutable is None
    honest = bare.verify(bare.run(given), given, states=bare.capture(given))
    assert honest.plausible and honest.culprit is None


def test_malformed_states_are_refused_in_one_sentence(model):
    given, end = inputs(), len(model.graph)
    receipt, (first, *rest) = model.run(given), model.capture(given, cuts=[1])[1]
    for states, words in (
        ({1: ()}, "state at cut 1"),
        ({1: (first.double(), *rest)}, "state at cut 1"),
        ({1: (first[0], *rest)}, "state at cut 1"),
        ({end + 1: (first,)}, f"cut {end + 1}, which is not within 0 to {end}"),
        ({-1: (first,)}, f"cut -1, which is not within 0 to {end}"),
        ({"1": (first,)}, f"cut 1, which is not within 0 to {end}"),
        ({1: first}, "a mapping of cuts to tuples of tensors"),
        ([(first,)], "a mapping of cuts to tuples of tensors"),
    ):
        with pytest.raises(ModelError, match=words) as refusal:
            model.verify(receipt, given, states=states)
        assert "\n" not in str(refusal.value)
    for values in ((), (receipt.values[0][0],), (receipt.values[0].double(),)):
        with pytest.raises(ModelError, match="the receipt's values"):
            model.verify(run(lambda *_, given=values: given, given), given)


def test_a_receipt_of_other_inputs_or_values_is_refused(model):
    receipt = model.run(inputs(0))
    with pytest.raises(ModelError, match="other inputs"):
        model.verify(receipt, inputs(1))
    forged = Receipt((receipt.values[0] + 1,), receipt.inputs, receipt.outputs)
    with pytest.raises(ModelError, match="not those it commits to"):
        model.verify(forged, inputs(0))


def test_what_is_no_receipt_is_refused_in_one_sentence(model):
    for other, kind in ((None, "NoneType"), (inputs()[0], "Tensor")):
        with pytest.raises(ModelError, match=f"a {kind} is no receipt; give what `run` returned"):
            model.verify(other, inputs())


def test_states_are_captured_at_the_cuts_that_are_asked_for(model):
    given, end = inputs(), len(model.graph)
    states = model.capture(given)
    assert list(states) == list(range(end + 1))
    assert all(map(torch.equal, states[end], model.run(given).values))
    (chosen,) = model.capture(given, cuts=[end - 1]).items()
    assert chosen[0] == end - 1 and all(map(torch.equal, chosen[1], states[end - 1]))


def test_an_honest_run_to_nan_is_plausible_and_any_other_output_is_not():
    given = (torch.tensor([-1.0, -2.0]),)
    model = tao.trace(Root(), given)
    assert model.verify(model.run(given), given).plausible
    assert not model.verify(run(lambda x: x, given), given).plausible


class Root(nn.Module):
    def forward(self, x):
        return x.sqrt()


def test_models_receipts_and_reports_show_themselves_in_a_line(model):
    bare, given = tao.trace(Tiny(), inputs()), inputs()
    start = f"ModelBundle(0x{bare.model_id.hex()[:8]}…, {len(bare.graph)} operators"
    assert repr(bare) == f"{start}, not calibrated)"
    assert repr(replace(bare, steps=1)) == repr(bare) and repr(model).endswith("operators, calibrated)")
    receipt = bare.run(given)
    (value,), (root,) = receipt.values, receipt.outputs
    assert repr(receipt) == f"Receipt({TensorType.of(value)} 0x{root.hex()[:8]}…)"
    report = model.verify(model.run(given), given)
    assert repr(report) == f"Report(plausible=True, drift_ratio={report.drift_ratio:.3g})"
    cheat = Cheat(model, node(model, "mish"))
    states = cheat.capture(given, range(len(model.graph) + 1))
    blaming = model.verify(claimed(model, cheat, given), given, states=states)
    assert f"culprit=OperatorVerdict(node={cheat.node}, " in repr(blaming) and "plausible=False" in repr(
        blaming
    )


def test_receipts_of_the_same_commitments_are_equal(model):
    receipt, same, other = (model.run(inputs(seed)) for seed in (0, 0, 1))
    assert receipt == same and hash(receipt) == hash(same) and receipt != other


def test_a_receipt_is_read_as_it_was_saved(tmp_path):
    module, given = Twice(), (torch.randn(2, 3),)
    model = tao.trace(module, given)
    receipt = run(module, given)
    receipt.save(tmp_path / "receipt.safetensors")
    loaded = Receipt.load(tmp_path / "receipt.safetensors")
    assert loaded == receipt and all(map(torch.equal, loaded.values, receipt.values))
    assert model.verify(loaded, given).plausible


class Twice(nn.Module):
    """Returns tensors that share memory."""

    def forward(self, x):
        y = x * 2
        return y, y.t()


def test_a_file_that_is_no_receipt_or_has_other_values_is_refused_in_one_sentence(tmp_path, model):
    receipt, path = model.run(inputs()), tmp_path / "receipt.safetensors"
    receipt.save(path)
    with safe_open(path, "pt") as file:
        metadata, values = file.metadata(), {name: file.get_tensor(name).clone() for name in file.keys()}
    forged = {name: value + 1 for name, value in values.items()}
    cases = [
        (forged, metadata, "are not those that it commits to"),
        (values, metadata | {"outputs": metadata["inputs"]}, "are not those that it commits to"),
        (values, metadata | {"inputs": "zz"}, "is no receipt"),
        (values, metadata | {"format": "another"}, "is no receipt"),
        (values, None, "is no receipt"),
        ({"x": values["0"]}, metadata, "is no receipt"),
        ({"0": values["0"].to(torch.complex64)}, metadata, "complex64 cannot be committed"),
    ]
    for tensors, written, words in cases:
        save_file(tensors, path, written)
        with pytest.raises(TaoError, match=words) as refusal:
            Receipt.load(path)
        assert "\n" not in str(refusal.value)
    path.write_bytes(b"junk")
    for place in (path, tmp_path, tmp_path / "none"):
        with pytest.raises(StoreError, match="is no receipt"):
            Receipt.load(place)
    with pytest.raises(StoreError, match="cannot be saved"):
        receipt.save(tmp_path / "none" / "receipt.safetensors")


def test_an_empty_batch_is_refused_in_one_sentence(model):
    with pytest.raises((ModelError, InvalidTensor)) as refusal:
        model.run((torch.zeros(0, 12),))
    assert "\n" not in str(refusal.value)


def test_type_checkers_see_what_is_loaded_on_first_use():
    package = Path(tao.__file__)
    imports = [each for each in ast.walk(ast.parse(package.read_text())) if isinstance(each, ast.ImportFrom)]
    seen = {
        name.name: each.module for each in imports for name in each.names if each.module.startswith("tao.")
    }
    assert seen == tao._EXPORTS and sorted(seen) == tao.__all__
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    (marker,) = settings["package-data"]["tao"]
    assert package.with_name(marker).name == "py.typed" and package.with_name(marker).exists()


def test_importing_the_package_does_not_import_torch():
    """Kernel variants must be chosen before torch is loaded."""
    script = "import sys, tao, tao.numerics.variants; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
