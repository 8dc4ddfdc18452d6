"""A small run to record and audit."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from tao.tensors.store import TensorStore
from tao.training import TrainingJob, prepare
from tao.training.checkpoints import Trail
from tao.training.record import Recording
from training.cases import Case, classified, mlp

STEPS = 7
OPTIONS = dict(steps=STEPS, batch_size=4, log_capacity=64)


def parts(case: Case) -> tuple[nn.Module, torch.optim.Optimizer, tuple[Tensor, ...], object]:
    """What `prepare` and `record` begin with."""
    return case.module, case.optimizer, case.dataset, case.loss


@cache
def job(seed: int = 0) -> TrainingJob:
    """Seven steps of a perceptron with tanh and layer norm; another seed is another first state and data."""
    return prepare(*parts(mlp(seed)), **OPTIONS)


def dropout_case() -> Case:
    """A network with dropout and batch normalisation, trained by AdamW."""
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Dropout(0.2), nn.Linear(8, 3))
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
    return Case(module, optimizer, classified, (torch.randn(10, 6), torch.randint(3, (10,))))


def recorded(store: TensorStore, keep_every: int = 3, seed: int = 0) -> Recording:
    """A finished recording."""
    recording = Recording(job(seed), store, keep_every)
    for _ in recording:
        pass
    return recording


def trail(store: TensorStore, seed: int = 0) -> Trail:
    return Trail(store, job(seed).bundle.model_id, job(seed).first)


def files(folder: Path) -> dict[str, bytes]:
    """What a store holds."""

    def found() -> Iterator[tuple[str, bytes]]:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield str(path.relative_to(folder)), path.read_bytes()

    return dict(found())
