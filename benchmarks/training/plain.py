"""Training as everybody does it, to compare with."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import torch
from torch import nn

from benchmarks.training.subjects import SUBJECTS, load


class Plain:
    """The same model, data and optimizer in an ordinary loop, in float32 or float64.

    dropout: False to drop nothing, as what torch draws differs between instruction sets by itself.
    """

    def __init__(self, name: str, folder: Path, double: bool, dropout: bool = True) -> None:
        self._subject = SUBJECTS[name]
        module, _, data = load(name, folder)
        self._module = module.double() if double else module
        for part in () if dropout else self._module.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
        self._optimizer = self._subject.optimizer(self._module)
        self._data = [part.double() if double and part.is_floating_point() else part for part in data]
        self._step = 0
        self.losses: list[float] = []

    def step(self) -> float:
        """Seconds of one step on the next samples in order."""
        size = self._subject.batch_size
        first = self._step * size % len(self._data[0])
        batch = [part[first : first + size] for part in self._data]
        start = time.monotonic()
        loss = self._subject.loss(self._module, *batch)
        self._optimizer.zero_grad()
        loss.backward()
        if self._subject.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._module.parameters(), self._subject.clip_norm)
        self._optimizer.step()
        self.losses.append(float(loss.detach()))
        self._step += 1
        return time.monotonic() - start

    def digest(self) -> str:
        """Of all parameters, bit for bit."""
        digest = hashlib.sha256()
        for parameter in self._module.parameters():
            digest.update(parameter.detach().contiguous().numpy())
        return digest.hexdigest()
