"""Optimizers as functions of tensors, written in single operations so that no update needs a log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from tao.errors import ModelError
from tao.training.schedules import Schedule

CLIP_EPSILON = 1e-6
"""As in torch.nn.utils.clip_grad_norm_."""
LANES = 1024


class Rule(Protocol):
    """How one group is updated.

    moments: names of its moments, as in the torch optimizer's state, each shaped like the parameters. decays:
    of the moments whose start at zero is corrected for, each with one number of state.
    """

    @property
    def lr(self) -> float: ...

    @property
    def moments(self) -> tuple[str, ...]: ...

    @property
    def decays(self) -> tuple[float, ...]: ...

    def update(
        self, p: Tensor, g: Tensor, moments: list[Tensor], weights: list[Tensor], rate: Tensor | float
    ) -> tuple[Tensor, list[Tensor]]:
        """New parameters and moments. weights: float32[1] for each of `decays`, what the moment's terms weigh
        together: 1 - decay^t after t steps. rate: the learning rate."""
        ...


@dataclass(frozen=True)
class Sgd:
    """torch.optim.SGD without dampening and Nesterov's momentum."""

    lr: float
    momentum: float
    weight_decay: float

    @property
    def moments(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()

    @property
    def decays(self) -> tuple[float, ...]:
        return ()

    def update(
        self, p: Tensor, g: Tensor, moments: list[Tensor], weights: list[Tensor], rate: Tensor | float
    ) -> tuple[Tensor, list[Tensor]]:
        if self.weight_decay:
            g = g + p * self.weight_decay
        if self.momentum:
            moments = [moments[0] * self.momentum + g]
        return p - (moments[0] if moments else g) * rate, moments


@dataclass(frozen=True)
class AdamW:
    """torch.optim.AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", algorithm 2)."""

    lr: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float

    @property
    def moments(self) -> tuple[str, ...]:
        return "exp_avg", "exp_avg_sq"

    @property
    def decays(self) -> tuple[float, ...]:
        return self.beta1, self.beta2

    def update(
        self, p: Tensor, g: Tensor, moments: list[Tensor], weights: list[Tensor], rate: Tensor | float
    ) -> tuple[Tensor, list[Tensor]]:
        m, v = moments
        if self.weight_decay:
            p = p * (1 - rate * self.weight_decay)
        m = m * self.beta1 + g * (1 - self.beta1)
        v = v * self.beta2 + g * g * (1 - self.beta2)
        root = v.sqrt() / weights[1].sqrt() + self.eps
        return p - m / root * (rate / weights[0]), [m, v]


@dataclass(frozen=True)
class Optimizer:
    """What a step does with gradients. groups: a rule and the parameters that it updates, for each group.
    clip_norm: the 2-norm that all gradients together are scaled down to. schedule: of the learning rates."""

    groups: tuple[tuple[Rule, tuple[Tensor, ...]], ...]
    clip_norm: float | None = None
    schedule: Schedule | None = None

    def clip(self, gradients: list[Tensor]) -> list[Tensor]:
        """The gradients, [rows, width] each, scaled down together where their norm is above `clip_norm`."""
        if self.clip_norm is None:
            return gradients
        squares = torch.cat([(g * g).sum(1) for g in gradients])
        while squares.numel() > LANES:  # so that every sum is short enough to be proven wrong
            squares = functional.pad(squares, (0, -squares.numel() % LANES)).reshape(-1, LANES).sum(1)
        factor = torch.clamp(self.clip_norm / (squares.sum().sqrt() + CLIP_EPSILON), max=1.0)
        return [g * factor for g in gradients]

    def rate(self, rule: Rule, step: Tensor) -> Tensor | float:
        """The learning rate of a group at a step."""
        return rule.lr if self.schedule is None else self.schedule(step) * rule.lr


def describe(
    optimizer: torch.optim.Optimizer, clip_norm: float | None = None, schedule: Schedule | None = None
) -> Optimizer:
    """The description of a torch.optim.SGD or AdamW, as its parameter groups stand: parameters that require no
    gradient are left out, as torch leaves them alone.

    clip_norm: as the max_norm of torch.nn.utils.clip_grad_norm_ over all parameters of the optimizer.
    schedule: of `tao.training.schedules`, where `tabulate` makes one of a function. Raises ModelError for other
    optimizers, for options that have no description and for an attached scheduler or hook.
    """
    rules: dict[type, tuple[Callable[[dict[str, Any]], Rule], tuple[str, ...]]] = {
        torch.optim.SGD: (_sgd, ("dampening", "nesterov", "maximize")),
        torch.optim.AdamW: (_adamw, ("amsgrad", "maximize")),
    }
    if type(optimizer) not in rules:
        raise ModelError(f"{type(optimizer).__name__} cannot be traced; use torch.optim.SGD or AdamW")
    rule, without = rules[type(optimizer)]
    if any("initial_lr" in group for group in optimizer.param_groups):  # torch's schedulers put it there
        raise ModelError(
            "the optimizer has a learning-rate scheduler attached, which a recording does not run; give schedule=, a "
            "function from the step to the factor, and an optimizer without one"
        )
    for group in optimizer.param_groups:
        given = [option for option in without if group[option]]
        if given:
            raise ModelError(f"{type(optimizer).__name__} with {given[0]} cannot be traced; switch it off")
    if clip_norm is not None and not clip_norm > 0:
        raise ModelError(f"gradients cannot be clipped to norm {clip_norm}; it must be positive")
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        raise ModelError("the optimizer has step hooks, which a recording does not run; remove them")
    if schedule is not None and not isinstance(schedule, Schedule):
        raise ModelError("schedule= is not of tao.training.schedules; give tabulate(function, steps) of that")
    groups = []
    for group in optimizer.param_groups:
        trained = tuple(parameter for parameter in group["params"] if parameter.requires_grad)
        if trained:
            groups.append((rule(group), trained))
    return Optimizer(tuple(groups), clip_norm, schedule)


def _sgd(group: dict[str, Any]) -> Sgd:
    return Sgd(float(group["lr"]), group["momentum"], group["weight_decay"])


def _adamw(group: dict[str, Any]) -> AdamW:
    beta1, beta2 = map(float, group["betas"])
    return AdamW(float(group["lr"]), beta1, beta2, group["eps"], group["weight_decay"])
