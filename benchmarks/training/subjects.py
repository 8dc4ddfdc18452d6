"""The models trained: published sizes for a few steps, small ones for hundreds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

SEED = 3


@dataclass(frozen=True)
class Subject:
    """A model with its data set, optimizer, loss and size of a batch. published: the size of the logs of one step
    by the published method, bytes after packing (its table for this model); 0 where it has none."""

    make: Callable[[], nn.Module]
    draw: Callable[[], tuple[Tensor, ...]]
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    loss: Callable[..., Tensor]
    batch_size: int
    steps: int
    log_capacity: int
    published: int = 0
    clip_norm: float | None = None


def classify(module: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of an image classifier."""
    result = module(images)
    return functional.cross_entropy(result if isinstance(result, Tensor) else result.logits, labels)


def predict(module: nn.Module, tokens: Tensor) -> Tensor:
    """Cross-entropy of the next token."""
    logits = module(tokens[:, :-1], use_cache=False).logits
    return functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def _resnet50() -> nn.Module:
    from transformers import ResNetConfig, ResNetForImageClassification

    return ResNetForImageClassification(ResNetConfig(num_labels=10))


def _gpt2(**settings: Any) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(attn_implementation="eager", bos_token_id=0, eos_token_id=0, **settings)
    return GPT2LMHeadModel(config)


class SmallCnn(nn.Module):
    """Convolutions with batch norm, a strided residual block, max pooling and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.block = nn.Sequential(
            nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)
        )
        self.short = nn.Conv2d(8, 16, 1, 2)
        self.last = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(torch.relu(self.block(x) + self.short(x)).mean((2, 3)))


def _digits() -> tuple[Tensor, ...]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16, torch.tensor(digits.target)


def _pictures() -> tuple[Tensor, ...]:
    return torch.randn(256, 3, 32, 32), torch.randint(0, 10, (256,))


def _texts(vocabulary: int, length: int, count: int) -> Callable[[], tuple[Tensor, ...]]:
    return lambda: (torch.randint(0, vocabulary, (count, length + 1)),)


def _sgd(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)


def _adamw(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(module.parameters(), lr=3e-4, weight_decay=0.01)


SUBJECTS = {
    "resnet50": Subject(
        _resnet50, _pictures, _sgd, classify, batch_size=64, steps=8, log_capacity=1 << 17, published=209_400_000
    ),
    "gpt2": Subject(
        _gpt2, _texts(50257, 64, 64), _adamw, predict, batch_size=8, steps=8, log_capacity=1 << 17,
        published=42_100_000, clip_norm=1.0,
    ),
    "small_cnn": Subject(SmallCnn, _digits, _sgd, classify, batch_size=16, steps=400, log_capacity=1 << 14),
    "small_gpt2": Subject(
        lambda: _gpt2(vocab_size=96, n_embd=32, n_layer=2, n_head=2, n_positions=16),
        _texts(96, 16, 256), _adamw, predict, batch_size=4, steps=400, log_capacity=1 << 14, clip_norm=1.0,
    ),
    "tiny": Subject(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.GELU(), nn.Dropout(0.1), nn.Linear(48, 10)),
        _digits, _sgd, classify, batch_size=16, steps=4, log_capacity=1 << 10,
    ),
}  # fmt: skip
"""`published`: forward and backward logs together, as the released code of the published method writes them.
`tiny` is there to try the benchmark out."""


def save(name: str, folder: Path) -> None:
    """Draw weights and data once, into a file: random numbers differ between instruction sets."""
    torch.manual_seed(SEED)
    subject = SUBJECTS[name]
    torch.save({"module": subject.make().state_dict(), "data": subject.draw()}, folder / f"{name}.pt")


def load(name: str, folder: Path) -> tuple[nn.Module, torch.optim.Optimizer, tuple[Tensor, ...]]:
    """A fresh module in training mode with its optimizer, and the data."""
    held = torch.load(folder / f"{name}.pt", weights_only=True)
    module = SUBJECTS[name].make()
    module.load_state_dict(held["module"])
    return module.train(), SUBJECTS[name].optimizer(module), tuple(held["data"])
