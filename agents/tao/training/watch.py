"""Notices what a recording was made from being changed while it goes on."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn

from tao.errors import ModelError
from tao.tensors import TensorType, commit
from tao.training.job import TrainingJob
from tao.training.optimizers import describe
from tao.training.surroundings import first_change, scalars, variables
from tao.training.trace import Loss, memory_of


class Watch:
    """Notices module, optimizer, data set and whatever else a step reads being changed while a recording holds them."""

    def __init__(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, loss: Loss, job: TrainingJob
    ) -> None:
        """job: prepared from the others, as they stand."""
        self._module, self._optimizer, self._loss = module, optimizer, loss
        self._rules, self._scalars = _rules(optimizer), scalars(module, loss)
        self._trained = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        first = job.step_graph.layout.unpack(job.initial)
        self._first = {**first.parameters(), **first.buffers()}
        self._read = self._committed(job)
        watched = [*self._trained.items(), *((name, tensor) for name, tensor, _ in self._read)]
        self._versions = [(name, tensor, tensor._version) for name, tensor in watched]

    def check(self) -> None:
        """Raises ModelError, naming it, where a tensor was written to or the optimizer, or a number or a string that
        module or loss read, is another one."""
        for name, tensor, version in self._versions:
            if tensor._version != version:
                raise self._changed(name)
        rules = _rules(self._optimizer)
        for place, (described, now) in enumerate(zip_longest(self._rules, rules)):
            if now != described:
                what = "which is new" if described is None else f"{described[0]}"
                raise ModelError(
                    f"group {place} of the optimizer, {what}, was changed outside the recording, which goes on "
                    "without that; leave it alone until the recording ends, and give schedule= for learning rates"
                )
        if change := first_change(self._scalars, scalars(self._module, self._loss)):
            raise ModelError(
                f"{change}: it was changed outside the recording, which goes on without that; leave it alone until the "
                "recording ends, or make it a tensor that follows from the state"
            )

    def check_values(self) -> None:
        """The same of tensors by their values, which `tensor.data` and numpy change without a trace."""
        for name, tensor in self._first.items():
            if not torch.equal(self._trained[name].detach(), tensor):
                raise self._changed(name)
        for name, tensor, commitment in self._read:
            if commit(tensor) != commitment:
                raise ModelError(
                    f"{name} was changed behind torch's back while the recording went on, whose later steps therefore "
                    "cannot be replayed; record them once more, in another store"
                )

    def _committed(self, job: TrainingJob) -> list[tuple[str, Tensor, bytes]]:
        """What a step reads and does not change: what it is called, the tensor, and its commitment."""
        bundle, names = job.bundle, {memory_of(tensor): name for name, tensor in self._trained.items()}
        for name, value in variables(self._loss).items():
            parts = value.state_dict(keep_vars=True) if isinstance(value, nn.Module) else {}
            named = {f"{name}.{part}": tensor for part, tensor in parts.items()} or {name: value}
            names |= {memory_of(tensor): part for part, tensor in named.items() if isinstance(tensor, Tensor)}
        committed = dict(zip(bundle.parameters, bundle.parameter_commitments, strict=True))
        committed |= {
            tensor: commit(tensor) for tensor in job.step_graph.constants if tensor not in committed
        }
        read = []
        for place, (tensor, commitment) in enumerate(committed.items()):
            name = names.get(memory_of(tensor), f"constant {TensorType.of(tensor)} of the step")
            if place < len(job.step_graph.layout.batch):
                name = f"tensor {place} of the data set"
            read.append((name, tensor, commitment))
        return read

    def _changed(self, name: str) -> ModelError:
        return ModelError(
            f"{name} was changed outside the recording, which therefore cannot be replayed; leave module, data and all "
            "that the loss reads alone until the recording ends: what is recorded stays, and goes on from there"
        )


def _rules(optimizer: torch.optim.Optimizer) -> list[tuple[Any, ...]]:
    return [(rule, *map(id, parameters)) for rule, parameters in describe(optimizer).groups]
