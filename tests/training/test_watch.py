"""What is told where something that a recording was made from changes in its loop."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from tao.errors import ModelError
from tao.training import prepare, record
from tao.training.watch import Watch

HEAT = 1.0


def setting() -> SimpleNamespace:
    """A small job with a frozen layer, and a loss that reads a teacher, a tensor, a number and data of numpy's."""
    torch.manual_seed(0)
    array = np.ones((8, 4), np.float32)
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    module[0].requires_grad_(False)
    teacher, beta, weight = nn.Linear(4, 1), torch.tensor(0.0), 0.5

    def loss(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return ((module(x) - teacher(x)) * HEAT).sum() * weight + beta * module(x).sum()

    def reweigh(value: float) -> None:
        nonlocal weight
        weight = value

    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    parts = dict(module=module, optimizer=optimizer, data=(torch.from_numpy(array),), loss=loss)
    return SimpleNamespace(**parts, parts=parts, array=array, teacher=teacher, beta=beta, reweigh=reweigh)


def set_rate(s: SimpleNamespace) -> None:
    s.optimizer.param_groups[0]["lr"] = 0.01


def attach_scheduler(s: SimpleNamespace) -> None:
    torch.optim.lr_scheduler.StepLR(s.optimizer, 1)


def add_group(s: SimpleNamespace) -> None:
    s.optimizer.add_param_group(dict(params=s.teacher.parameters()))


def freeze_all(s: SimpleNamespace) -> None:
    s.module.requires_grad_(False)


def evaluate(s: SimpleNamespace) -> None:
    s.module.eval()


def heat_up(s: SimpleNamespace) -> None:
    global HEAT
    HEAT = 2.0


def write_to_teacher(s: SimpleNamespace) -> None:
    with torch.no_grad():
        s.teacher.weight.mul_(0.9)


TOLD = {
    set_rate: r"^group 0 of the optimizer, Sgd\(lr=0\.1, .*was changed .* give schedule= for learning rates",
    attach_scheduler: "scheduler attached, which a recording does not run",
    add_group: "^group 1 of the optimizer, which is new, was changed outside the recording",
    freeze_all: "^group 0 of the optimizer",
    evaluate: r"^attribute training was True and is False: it was changed outside the recording",
    heat_up: r"^variable HEAT of the loss was 1\.0 and is 2\.0",
    lambda s: s.reweigh(0.25): r"^variable weight of the loss was 0\.5 and is 0\.25",
    write_to_teacher: r"^teacher\.weight was changed outside the recording",
    lambda s: s.beta.fill_(1.0): "^beta was changed outside the recording",
}


@pytest.mark.parametrize("change", TOLD)
def test_what_changes_between_steps_is_told_by_its_name(change, monkeypatch) -> None:
    monkeypatch.setattr(f"{__name__}.HEAT", 1.0)
    s = setting()
    watch = Watch(s.module, s.optimizer, s.loss, prepare(**s.parts, steps=2, batch_size=4, log_capacity=64))
    watch.check()
    watch.check_values()
    change(s)
    with pytest.raises(ModelError, match=TOLD[change]) as caught:
        watch.check()
    assert "\n" not in str(caught.value)


def change_data(s: SimpleNamespace) -> None:
    s.array[3] = 0.0


def change_frozen_layer(s: SimpleNamespace) -> None:
    s.module[0].weight.data.mul_(0.5)


@pytest.mark.parametrize(
    ("change", "name"), [(change_data, "tensor 0 of the data set"), (change_frozen_layer, r"0\.weight")]
)
def test_what_changes_without_a_trace_is_told_when_the_recording_ends(change, name, tmp_path) -> None:
    s = setting()
    with pytest.raises(ModelError, match=f"^{name} was changed behind torch's back.*in another store$"):
        with record(**s.parts, store=tmp_path, steps=2, batch_size=4, log_capacity=64) as run:
            for step in run:
                if step.index == 0:
                    change(s)
