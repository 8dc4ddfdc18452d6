"""A classifier and a training job, as `tao calibrate` and `tao register` take them: FILE.py:FUNCTION."""

import torch
from torch import Tensor, nn
from torch.nn import functional

BATCH = 8


def classifier() -> tuple[nn.Module, list[tuple[Tensor, ...]]]:
    """A module and inputs to calibrate on; the first ones fix the shapes, float32[8, 64] to float32[8, 10]."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 10), nn.Softmax(-1))
    return module, [(torch.rand(BATCH, 64),) for _ in range(4)]


def training() -> dict:
    """The arguments of `tao.training.prepare`: eight steps of a small network on scikit-learn's digits."""
    from sklearn.datasets import load_digits

    held = load_digits()
    images = torch.tensor(held.data, dtype=torch.float32) / 16
    labels = torch.tensor(held.target, dtype=torch.int64)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 10))
    return {
        "module": module,
        "optimizer": torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9),
        "data": (images, labels),
        "loss": lambda network, x, y: functional.cross_entropy(network(x), y),
        "steps": 8,
        "batch_size": 16,
        "log_capacity": 1024,
    }
