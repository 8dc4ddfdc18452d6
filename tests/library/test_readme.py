"""The README's snippets do what it says: its Python runs, its commands have the options that it gives them."""

import re
import shlex

import click
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tao.chain.build import ROOT
from tao.commands.main import main

README = (ROOT / "README.md").read_text("utf-8")
STEPS = 3


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def the_block(language: str, containing: str) -> str:
    (found,) = [block for block in blocks(language) if containing in block]
    return found


def test_the_library_finds_nothing_to_blame_in_an_honest_run() -> None:
    torch.manual_seed(0)
    inputs = (torch.randn(2, 8),)
    module = nn.Sequential(nn.Linear(8, 4), nn.GELU(), nn.Linear(4, 2))
    names = {"module": module, "example_inputs": (torch.zeros(2, 8),), "inputs": inputs}
    exec(the_block("python", "model.verify"), names)
    report, model = names["report"], names["model"]
    assert report.plausible and report.culprit is None and len(report.operators) == len(model.graph)


def test_a_recorded_run_is_audited_by_who_agreed_to_it(
    tmp_path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(12, 6), torch.randint(0, 3, (12,)))
    names = {
        "module": nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)),
        "loader": DataLoader(data, batch_size=4),
    }
    code = the_block("python", "tao.training.record")
    assert code.count("steps=400") == 2
    exec(code.replace("steps=400", f"steps={STEPS}"), names)
    assert names["report"].is_equal and names["report"].steps == STEPS
    assert len(capsys.readouterr().out.splitlines()) == STEPS


def test_no_python_of_the_readme_is_left_untried() -> None:
    assert len(blocks("python")) == 2


def commands() -> list[str]:
    """What is called of `tao` in the walk-throughs, options included."""
    return re.findall(r"(?:^|\()(tao [^#)\n]+)", "".join(blocks("sh")), re.MULTILINE)


@pytest.mark.parametrize("words", commands())
def test_the_walk_throughs_call_commands_that_there_are(words: str) -> None:
    command: click.Command = main
    _, *left = shlex.split(words)
    while isinstance(command, click.Group):
        command = command.commands[left.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in left if word.startswith("--")} <= known
