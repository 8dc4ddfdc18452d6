"""Learning-rate schedules on tensors: the factor at a step, as torch.optim.lr_scheduler.LambdaLR has it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tao.training.optimizers import Schedule


def linear(warmup: int, total: int) -> Schedule:
    """From 0 to 1 over `warmup` steps, then to 0 at step `total`."""

    def factor(step: Tensor) -> Tensor:
        t = step.to(torch.float32)
        falling = torch.clamp((total - t) / max(1, total - warmup), min=0.0)
        return torch.where(step < warmup, t / max(1, warmup), falling)

    return factor


def cosine(warmup: int, total: int, floor: float = 0.0) -> Schedule:
    """From 0 to 1 over `warmup` steps, then along half a cosine to `floor` at step `total` and after it."""

    def factor(step: Tensor) -> Tensor:
        t = step.to(torch.float32)
        progress = torch.clamp((t - warmup) / max(1, total - warmup), max=1.0)
        falling = (torch.cos(progress * math.pi) + 1) * (0.5 * (1 - floor)) + floor
        return torch.where(step < warmup, t / max(1, warmup), falling)

    return factor


def table(factors: Sequence[float]) -> Schedule:
    """Any schedule, by step; the last factor holds from there on."""
    held = torch.tensor(factors, dtype=torch.float32)

    def factor(step: Tensor) -> Tensor:
        return torch.index_select(held, 0, torch.clamp(step, max=len(factors) - 1))

    return factor
