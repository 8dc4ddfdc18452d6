"""The snippets of README and guide do what the pages say: their Python runs, their commands have the options and
choices that they give them."""

import importlib
import re
import shlex
from itertools import pairwise

import click
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import tao.training
from examples.models import training
from tao.chain.accounts import KEY_VARIABLE
from tao.chain.build import ROOT
from tao.commands.main import main
from tao.tensors.store import TensorStore
from tao.training.record import Recording

PAGES = {"README.md": 2, "docs/guide.md": 2}
"""Blocks of Python that the tests below run."""
STEPS = 3

CALL = re.compile(
    r"(?:^|\(|; |while )(?:\w+=\S+ )*((?:tao|ape run|python -m demo\S*) [^);\n]+)", re.MULTILINE
)
"""A command of the project, behind what variables are set for it alone."""


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def the_block(page: str, containing: str) -> str:
    (found,) = [block for block in blocks(page, "python") if containing in block]
    return found


def test_the_library_finds_nothing_to_blame_in_an_honest_run() -> None:
    torch.manual_seed(0)
    inputs = (torch.randn(2, 8),)
    module = nn.Sequential(nn.Linear(8, 4), nn.GELU(), nn.Linear(4, 2))
    names = {"module": module, "example_inputs": (torch.zeros(2, 8),), "inputs": inputs}
    exec(the_block("README.md", "model.verify"), names)
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
    code = the_block("README.md", "tao.training.record")
    assert code.count("steps=400") == 2
    exec(code.replace("steps=400", f"steps={STEPS}"), names)
    assert names["report"].is_equal and names["report"].steps == STEPS
    *steps, equal = capsys.readouterr().out.splitlines()
    assert len(steps) == STEPS and equal == "True"


def test_the_client_of_a_training_run_gets_the_trained_module(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = training()
    with tao.training.record(**job, store="runs") as run:
        for _ in run:
            pass
    # As `tao client read --out` writes it.
    save_file({str(i): tensor.contiguous() for i, tensor in enumerate(run.run.state)}, "out.safetensors")
    names: dict = {}
    exec(the_block("docs/guide.md", "unpack"), names)
    trained, untrained = job["module"].state_dict(), training()["module"].state_dict()
    for name, tensor in names["module"].state_dict().items():
        assert torch.equal(tensor, trained[name]) and not torch.equal(tensor, untrained[name])
    moments = [held["momentum_buffer"] for held in names["optimizer"].state.values()]
    recorded = [held["momentum_buffer"] for held in job["optimizer"].state.values()]
    assert moments and all(map(torch.equal, moments, recorded))


def test_the_module_of_the_guide_mirrors_images_by_chance_and_its_run_is_equal(tmp_path) -> None:
    """Of images that are 1 on their right, with a network that reads the right: the loss is the part not mirrored."""
    names: dict = {}
    exec(the_block("docs/guide.md", "Mirrored"), names)
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[0.0, 1.0]]))
    module, images = names["Mirrored"](network), torch.tensor([0.0, 1.0]).expand(64, 1, 1, 2)
    assert module.eval()(images).eq(1).all()
    still = torch.optim.SGD(module.train().parameters(), lr=0.0)
    agreed = tao.training.prepare(module, still, images, lambda m, x: m(x).mean(), steps=STEPS, batch_size=64)
    run = Recording(agreed, TensorStore(tmp_path))
    losses = [step.loss for step in run]
    assert len(set(losses)) > 1 and all(0.2 < loss < 0.8 for loss in losses)
    assert tao.training.audit(agreed, tmp_path, run.claim()).is_equal


@pytest.mark.parametrize(("page", "count"), PAGES.items())
def test_no_python_of_the_pages_is_left_untried(page: str, count: int) -> None:
    assert len(blocks(page, "python")) == count


def shell(page: str) -> str:
    """The walk-throughs of a page without their comments."""
    return re.sub(r" *#.*", "", "".join(blocks(page, "sh")))


def calls(page: str) -> list[str]:
    """The project's commands that the walk-throughs of a page call."""
    return CALL.findall(shell(page))


@pytest.mark.parametrize("page", PAGES)
def test_no_command_of_the_walk_throughs_is_left_untried(page: str) -> None:
    assert len(calls(page)) == len(re.findall(r"\b(?:tao|ape run) [a-z]|-m demo", shell(page))) > 0


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that is called, and what it is given."""
    if words[0] == "tao":
        command, given = main, words[1:]
    elif words[0] == "ape":
        command, given = importlib.import_module(f"scripts.{words[2]}").cli, words[3:]
    else:
        command, given = importlib.import_module(f"{words[2]}.__main__").main, words[3:]
    while isinstance(command, click.Group):
        command, given = command.commands[given[0]], given[1:]
    return command, given


@pytest.mark.parametrize("words", [words for page in PAGES for words in calls(page)])
def test_the_walk_throughs_call_commands_that_there_are(words: str) -> None:
    command, given = command_of(shlex.split(words))
    known = {option: parameter for parameter in command.params for option in parameter.opts}
    for name, value in pairwise([*given, ""]):
        if name.startswith("--"):
            assert name in known
            assert not isinstance(kind := known[name].type, click.Choice) or value in kind.choices


@pytest.mark.parametrize("page", PAGES)
def test_the_walk_throughs_set_variables_that_are_read(page: str) -> None:
    given = set(re.findall(r"\b(TAO_\w+)=", shell(page)))
    read = {parameter.envvar for each in main.commands.values() for parameter in each.params}
    assert KEY_VARIABLE in given and given <= read | {KEY_VARIABLE}
