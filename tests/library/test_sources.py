"""FILE.py:FUNCTION on a command line: what it gives, and every mistake told in one sentence."""

import pytest

from tao.chain.build import ROOT
from tao.commands.sources import load_job, load_samples
from tao.errors import ModelError

EXAMPLES = ROOT / "examples" / "models.py"

BAD = """
import torch
from torch import nn

number = 7

def takes(size): ...
def fails(): raise KeyError("weights")
def tensor(): return torch.zeros(2)
def module_only(): return nn.ReLU()
def bare_tensors(): return nn.ReLU(), [torch.zeros(2)]
def no_samples(): return nn.ReLU(), []
def one_tensor(): return nn.ReLU(), torch.zeros(2)
def unknown(): return {"module": nn.ReLU(), "epochs": 3}
"""


def test_examples_are_a_model_and_a_training_job() -> None:
    module, samples = load_samples(f"{EXAMPLES}:classifier")
    assert module(*samples[0]).shape == (8, 10) and len(samples) > 1
    assert load_job(f"{EXAMPLES}:training").steps == 8


@pytest.mark.parametrize(
    ("load", "name", "sentence"),
    [
        (load_samples, "", "names no function; give FILE.py:FUNCTION"),
        (load_samples, ":nothing", "has no function nothing"),
        (load_samples, ":number", "has no function number"),
        (load_samples, ":takes", r"takes arguments \(missing a required argument: 'size'\)"),
        (load_samples, ":fails", "fails with KeyError in line 8: 'weights'"),
        (
            load_samples,
            ":tensor",
            "returns a Tensor; let it return a torch module and a list of argument tuples",
        ),
        (load_samples, ":module_only", "returns a ReLU; let it return a torch module"),
        (load_samples, ":bare_tensors", r"input 0 of .* is a Tensor; give a tuple such as \(tensor,\)"),
        (load_samples, ":no_samples", "returns no inputs; give at least one tuple"),
        (load_samples, ":one_tensor", "returns a Tensor as inputs; give a list of argument tuples"),
        (load_job, ":module_only", "let it return a dict of tao.training.prepare's arguments"),
        (load_job, ":unknown", "returns what prepare does not take"),
    ],
)
def test_a_mistake_in_the_file_is_told_in_one_sentence(tmp_path, load, name: str, sentence: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(BAD)
    with pytest.raises(ModelError, match=sentence) as caught:
        load(f"{path}{name}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (None, "there is no file"),
        ("import nowhere_at_all", "cannot be imported: ModuleNotFoundError in line 1: No module named"),
    ],
)
def test_a_file_that_is_missing_or_broken_is_told(tmp_path, code: str | None, sentence: str) -> None:
    path = tmp_path / "mine.py"
    if code is not None:
        path.write_text(code)
    with pytest.raises(ModelError, match=sentence):
        load_samples(f"{path}:classifier")


def test_a_file_of_another_kind_is_told(tmp_path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="is no Python file"):
        load_samples(f"{path}:classifier")
