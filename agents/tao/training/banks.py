"""Banks: tensors of equal last dimension packed as rows of one, so that a state is a few large tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

CAT_LIMIT = 128
"""Tensors joined by one call: a node takes at most 255 operands."""


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: rows [start, stop) of its bank. Convolution weights lie with channels last."""

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int
    channels_last: bool

    def read(self, bank: Tensor) -> Tensor:
        """The tensor in the bank: a view of `shape`."""
        rows = bank[self.start : self.stop]
        if not self.channels_last:
            return rows.reshape(self.shape)
        out, channels, *window = self.shape
        return rows.reshape(out, *window, channels).movedim(-1, 1)

    def rows(self, tensor: Tensor) -> Tensor:
        """A tensor of `shape` as rows of the bank."""
        if self.channels_last:
            tensor = tensor.movedim(1, -1)
        return tensor.reshape(self.stop - self.start, -1)


@dataclass(frozen=True)
class Bank:
    """Tensors that are rows of one float32 tensor of `shape`, [rows, width]."""

    width: int
    places: tuple[Place, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return self.places[-1].stop, self.width

    def split(self, bank: Tensor) -> dict[str, Tensor]:
        """The tensors in the bank, by name, as views of it."""
        return {place.name: place.read(bank) for place in self.places}

    def join(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The bank that holds the tensors of these names."""
        return _join([place.rows(tensors[place.name]) for place in self.places])


def allocate(tensors: Mapping[str, Tensor], channels_last: frozenset[str] = frozenset()) -> tuple[Bank, ...]:
    """Banks that hold the tensors, one for each width, in the order in which widths and tensors come.

    The width is the last dimension, and the channels of one place for the names in `channels_last`, whose
    tensors are convolution weights [out, channels, ...].
    """
    places: dict[int, list[Place]] = {}
    for name, tensor in tensors.items():
        shape, last = tuple(tensor.shape), name in channels_last
        width = shape[1] if last else (shape[-1] if shape else 1)
        bank = places.setdefault(width, [])
        start = bank[-1].stop if bank else 0
        bank.append(Place(name, shape, start, start + math.prod(shape) // width, last))
    return tuple(Bank(width, tuple(bank)) for width, bank in places.items())


def _join(parts: list[Tensor]) -> Tensor:
    while len(parts) > 1:
        groups = [parts[i : i + CAT_LIMIT] for i in range(0, len(parts), CAT_LIMIT)]
        parts = [torch.cat(group) if len(group) > 1 else group[0] for group in groups]
    return parts[0]
