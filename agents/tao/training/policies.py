"""What is done with the float64 results of sums and logged nodes. The former are rounded correctly; the latter
are recorded, or rounded as another device did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from tao import errors
from tao.errors import TaoError
from tao.numerics.float32 import INFINITY, NEGATIVE_ZERO
from tao.training import sums
from tao.training.kernels import Piece
from tao.training.log import Entries, Writer
from tao.training.rounding import nearest, round_to_grid

RECORDED = 2.0
"""A value is logged where a midpoint lies within this many tau of it: two devices differ by no more."""
OBEYED = 4.0
"""An entry is obeyed where a point within this many tau of one's own result rounds to it."""


class ReplayError(TaoError):
    """A step cannot be recorded, or a log is not one that an honest trainer writes for it. node: to blame."""

    def __init__(self, message: str, node: int = 0) -> None:
        super().__init__(message)
        self.node = node


class NoResult(ReplayError, errors.NoResult):
    """A step in which an operator has no result. No honest run has one."""


class NotFinite(ReplayError):
    """A run that breaks down: an operator's result, or the loss, is not finite. No honest run goes on from there,
    and the contracts refute one that does."""

    def __init__(self, step: int, node: int, name: str, what: str = "a NaN or infinite value") -> None:
        """name: of the node. what: it has."""
        super().__init__(
            f"step {step} has {what} in node {node} ({name}), and no honest run goes on from there; the steps "
            "before it stay recorded, and a lower learning rate, clipped gradients or smaller data may keep a "
            "new run in range",
            node,
        )


class Correction(NamedTuple):
    """An element that a log rounds elsewhere than one's own device. own, logged: the values."""

    node: int
    element: int
    own: float
    logged: float


class Policy(Protocol):
    """What is done with the float64 results of sums and logged nodes."""

    def settle(self, index: int, piece: Piece, out: Tensor) -> bool:
        """Round results of node `index` into `out`, contiguous float32; whether all of them are finite."""


class Recorder:
    """Rounds to nearest, and writes down what of logged nodes may be rounded apart."""

    def __init__(self, writer: Writer, bits: int) -> None:
        self._writer, self._bits = writer, bits

    def settle(self, index: int, piece: Piece, out: Tensor) -> bool:
        if piece.terms is not None:
            return sums.settle(piece, self._bits, out)
        values, candidates, finite = round_to_grid(piece.f, piece.zone().scaled(RECORDED), self._bits, out)
        if len(candidates):
            self._writer.add(index, piece.elements(candidates), values.view(-1)[candidates])
        return finite


class Follower:
    """Rounds to nearest but where the log says otherwise, if it may. refuse_implausible: raises where it may not,
    rather than do as if there were no such entry."""

    def __init__(
        self,
        entries: Entries,
        bits: int,
        step: int,
        names: Sequence[str],
        refuse_implausible: bool = True,
    ) -> None:
        self._entries, self._bits, self._step, self._names = entries, bits, step, names
        self._refuse_implausible = refuse_implausible
        self.corrections: list[Correction] = []

    def settle(self, index: int, piece: Piece, out: Tensor) -> bool:
        if piece.terms is not None:
            return sums.settle(piece, self._bits, out)
        values, _, finite = round_to_grid(piece.f, None, self._bits, out)
        elements, words = self._entries.of(index)
        if len(elements):
            places = piece.places(torch.from_numpy(elements).to(out.device))
            if len(places):
                words = words[np.searchsorted(elements, piece.elements(places).cpu().numpy())]
                self._correct(index, piece, places, torch.from_numpy(words).to(out.device), values.view(-1))
        return finite or bool(values.isfinite().all())

    def _correct(self, index: int, piece: Piece, places: Tensor, words: Tensor, values: Tensor) -> None:
        differs = (values[places].view(torch.int32).long() & 0xFFFFFFFF) != words
        if not bool(differs.any()):
            return
        places, words = places[differs], words[differs]
        logged = words.to(torch.int32).view(torch.float32)
        f = piece.f.view(-1)[places]
        reach = piece.zone().scaled(OBEYED).widened().at(places, f)
        allowed = (nearest(f - reach, self._bits) <= logged) & (logged <= nearest(f + reach, self._bits))
        allowed &= nearest(logged.double(), self._bits) == logged
        allowed &= reach.isfinite() | (
            logged.abs() <= 1
        )  # of sines and cosines, no zone being known of others
        allowed &= (words != NEGATIVE_ZERO) & (words & INFINITY != INFINITY)
        own, elements = values[places], piece.elements(places)
        if self._refuse_implausible and not bool(allowed.all()):
            at = int((~allowed).nonzero()[0])
            raise ReplayError(
                f"the log of step {self._step} has {float(logged[at])!r} for node {index} "
                f"({self._names[index]}), element {int(elements[at])}, where {float(f[at])!r} was computed "
                f"and no point within {float(reach[at]):.3g} of it rounds to that",
                index,
            )
        places, elements, own, logged = (x[allowed] for x in (places, elements, own, logged))
        values[places] = logged
        columns = (elements.tolist(), own.tolist(), logged.tolist())
        self.corrections += [Correction(index, *row) for row in zip(*columns, strict=True)]
