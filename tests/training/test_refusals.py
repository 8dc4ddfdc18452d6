"""What a recording would silently do otherwise than the loop it stands for, and is therefore told in a sentence."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tao.errors import ModelError, UnsupportedOperator
from tao.training import TrainingJob, prepare
from training.cases import classified, mlp
from training.runs import OPTIONS, parts

DATA = (torch.arange(32.0).reshape(8, 4),)


class Step(nn.Module):
    """A linear map and whatever a test lets happen before it."""

    def __init__(self, before) -> None:
        super().__init__()
        self.first, self.last, self.drop = nn.Linear(4, 4), nn.Linear(4, 1), nn.Dropout(0.25)
        self.register_buffer("seen", torch.zeros(4))
        self.before, self.heat, self.last_seen = before, 1.0, torch.ones(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.before(self, self.first(x)))


def total(module: nn.Module, x: Tensor) -> Tensor:
    return module(x).sum()


def prepared(before, loss=total) -> TrainingJob:
    module = Step(before)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    return prepare(module, optimizer, DATA, loss, **OPTIONS)


def test_frozen_parameters_of_the_optimizer_are_held_and_a_group_of_them_vanishes() -> None:
    case = mlp()
    case.module[0].requires_grad_(False)
    frozen, _, trained, _ = case.module
    groups = [dict(params=frozen.parameters()), dict(params=trained.parameters(), lr=2.0)]
    job = prepare(case.module, torch.optim.SGD(groups, lr=0.1), case.dataset, classified, **OPTIONS)
    layout = job.step_graph.layout
    (group,) = layout.groups
    assert group.rule.lr == 2 and {p.name for bank in group.banks for p in bank.places} == {
        "2.weight",
        "2.bias",
    }
    assert {"0.weight", "0.bias"} <= layout.held.keys()
    case.module.requires_grad_(False)
    with pytest.raises(ModelError, match="no parameter that requires a gradient"):
        prepare(*parts(case), **OPTIONS)


def test_dropout_that_checkpointing_computes_twice_is_told_and_checkpointing_without_it_is_traced() -> None:
    def twice(module: Step, x: Tensor) -> Tensor:
        return checkpoint(lambda y: module.drop(torch.tanh(y)), x, use_reentrant=False)

    with pytest.raises(ModelError, match="dropout is computed once more during the backward pass"):
        prepared(twice)
    prepared(lambda module, x: checkpoint(torch.tanh, x, use_reentrant=False))
    with pytest.raises(ModelError, match="give use_reentrant=False"):
        prepared(lambda module, x: checkpoint(torch.tanh, x, use_reentrant=True))


def reassigned(module: Step, x: Tensor) -> Tensor:
    module.seen = 0.9 * module.seen + x.detach().mean(0)
    return x + module.seen


def put_under(module: Step, x: Tensor) -> Tensor:
    module.first.weight.data = module.first.weight.data * 0.9
    return x


def remembered(module: Step, x: Tensor) -> Tensor:
    module.last_seen = module.last_seen + x.detach().mean(0)
    return x + module.last_seen


@pytest.mark.parametrize(
    ("before", "name"),
    [(reassigned, "seen"), (put_under, "first.weight"), (remembered, "last_seen")],
)
def test_a_tensor_that_the_forward_pass_replaces_is_told(before, name) -> None:
    with pytest.raises(ModelError, match=f"^the step gives {name} another tensor"):
        prepared(before)


def hooked(parameter: nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
    parameter.register_hook(lambda g: g * 2)


def hooked_after(parameter: nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
    parameter.register_post_accumulate_grad_hook(lambda p: None)


def hooked_before_steps(parameter: nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
    optimizer.register_step_pre_hook(lambda *arguments: None)


@pytest.mark.parametrize("hook", [hooked, hooked_after, hooked_before_steps])
def test_hooks_that_no_recording_runs_are_told(hook) -> None:
    case = mlp()
    hook(case.module[2].weight, case.optimizer)
    with pytest.raises(ModelError, match=r"^(parameter 2\.weight|the optimizer) has .*hooks"):
        prepare(*parts(case), **OPTIONS)


def drawing(module: Step, x: Tensor) -> Tensor:
    return x * random.random()


def drawing_by_numpy(module: Step, x: Tensor) -> Tensor:
    return x * float(np.random.rand())


def annealing(module: Step, x: Tensor) -> Tensor:
    module.heat *= 0.5
    return x * module.heat


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (drawing, "random numbers of Python or numpy"),
        (drawing_by_numpy, "random numbers of Python or numpy"),
        (annealing, r"^attribute heat was 1\.0 and is 0\.5: the step changes it"),
    ],
)
def test_what_python_draws_or_counts_in_a_step_is_told(before, reason) -> None:
    state = random.getstate()
    with pytest.raises(ModelError, match=reason):
        prepared(before)
    assert random.getstate() == state


@pytest.mark.parametrize(
    ("draw", "operator"),
    [
        (lambda module, x: x * torch.rand(4), "rand"),
        (lambda module, x: x + torch.randn_like(x), "randn_like"),
        (lambda module, x: x + torch.randint(2, (4,)), "randint"),
        (lambda module, x: nn.functional.alpha_dropout(x, 0.5, True), "bernoulli_"),
    ],
)
def test_what_draws_otherwise_than_by_dropout_is_told_how_to_draw(draw, operator) -> None:
    said = rf"^aten\.{operator}\..* draw by torch\.nn\.functional\.dropout, .* or store several versions of the samples"
    with pytest.raises(UnsupportedOperator, match=said):
        prepared(draw)


@pytest.mark.parametrize("steps", [0, -1, 1.5, None])
def test_a_number_of_steps_that_is_none_is_told(steps) -> None:
    with pytest.raises(ModelError, match=f"^steps is {steps}; it must be a whole number, 1 or more$"):
        prepare(*parts(mlp()), **{**OPTIONS, "steps": steps})


@pytest.mark.parametrize("seed", [0, 1, (1,), (1.5, 2), (0, 2**32), "ab"])
def test_a_seed_that_is_none_is_told(seed) -> None:
    with pytest.raises(ModelError, match=r"^the seed is .*; give two whole numbers of 32 bits"):
        prepare(*parts(mlp()), **OPTIONS, seed=seed)
