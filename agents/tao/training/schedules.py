"""Learning-rate schedules: the factor at a step, as torch.optim.lr_scheduler.LambdaLR has it, in tensor operations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tao.errors import ModelError


@dataclass(frozen=True)
class Schedule:
    """A schedule that steps compute. factor: step int64[1] -> what learning rates are multiplied by, float32[1]."""

    factor: Callable[[Tensor], Tensor]

    def __call__(self, step: Tensor) -> Tensor:
        return self.factor(step)


def linear(warmup: int, total: int) -> Schedule:
    """From 0 to 1 over `warmup` steps, then to 0 at step `total`."""

    def factor(step: Tensor) -> Tensor:
        t = step.to(torch.float32)
        falling = torch.clamp((total - t) / max(1, total - warmup), min=0.0)
        return torch.where(step < warmup, t / max(1, warmup), falling)

    return Schedule(factor)


def cosine(warmup: int, total: int, floor: float = 0.0) -> Schedule:
    """From 0 to 1 over `warmup` steps, then along half a cosine to `floor` at step `total` and after it."""

    def factor(step: Tensor) -> Tensor:
        t = step.to(torch.float32)
        progress = torch.clamp((t - warmup) / max(1, total - warmup), max=1.0)
        falling = (torch.cos(progress * math.pi) + 1) * (0.5 * (1 - floor)) + floor
        return torch.where(step < warmup, t / max(1, warmup), falling)

    return Schedule(factor)


def table(factors: Sequence[float]) -> Schedule:
    """Any schedule, by step; the last factor holds from there on. Raises ModelError where one is not finite as a
    float32 number."""
    held = torch.tensor(factors, dtype=torch.float32)
    if not bool(held.isfinite().all()):
        step = int((~held.isfinite()).nonzero()[0])
        raise ModelError(f"schedule= gives {factors[step]} at step {step}; give finite factors in float32")

    def factor(step: Tensor) -> Tensor:
        return torch.index_select(held, 0, torch.clamp(step, max=len(factors) - 1))

    return Schedule(factor)


def tabulate(function: Callable[[int], float], steps: int) -> Schedule:
    """The table of a function from the step to the factor, as LambdaLR takes it, over `steps` steps: 4 bytes of the
    model for each. Raises ModelError where the function fails or gives anything but finite numbers."""
    factors = []
    for step in range(steps):
        try:
            factors.append(float(function(step)))
        except Exception as error:  # it is the user's, and may raise whatever it likes
            reason = str(error).split("\n")[0]
            raise ModelError(
                f"schedule= fails at step {step} ({reason}); give a function from the step, an int, to the factor of "
                "the learning rate, a number"
            ) from error
    return table(factors)
