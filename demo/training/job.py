"""The job that is trained: a small network on scikit-learn's handwritten digits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao.training import TrainingJob, prepare

STEPS = 8
BATCH = 16
RATE = 0.1
LOG_CAPACITY = 1024


def digits() -> tuple[Tensor, Tensor]:
    """1797 images, float32[64] in 0 to 1, and their labels."""
    from sklearn.datasets import load_digits

    held = load_digits()
    return torch.tensor(held.data, dtype=torch.float32) / 16, torch.tensor(held.target, dtype=torch.int64)


def loss(module: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy."""
    return functional.cross_entropy(module(images), labels)


def build(steps: int = STEPS) -> TrainingJob:
    """The job: dropout, GELU and layer norm, SGD with momentum and weight decay."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Dropout(0.1), nn.LayerNorm(32), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE, momentum=0.9, weight_decay=1e-4)
    return prepare(
        module.train(), optimizer, digits(), loss, steps=steps, batch_size=BATCH, log_capacity=LOG_CAPACITY
    )
