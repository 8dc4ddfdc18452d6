"""ATen's composite functions and gradients in exact, single and logged operators (tao.graph.rounding)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions

from tao.training.decompositions import arithmetic, lookups, normalisation, reductions, windows
from tao.training.decompositions.register import Table, register

MASK_STREAM = 0x80000000
"""The stream of the step's first dropout mask; the next ones count on."""


def table(step: Tensor, seed: Tensor) -> Table:
    """The decompositions of one traced step. step, seed: that dropout masks are drawn from."""
    dropout = _Dropout(step, seed)
    return {
        **core_aten_decompositions(),
        **arithmetic.TABLE,
        **reductions.TABLE,
        **normalisation.TABLE,
        **windows.TABLE,
        **lookups.TABLE,
        **dropout.table(),
        **_in_place(),
    }


class _Dropout:
    """Dropout by masks that step and seed decide, the same ones in the backward pass."""

    def __init__(self, step: Tensor, seed: Tensor) -> None:
        self.step, self.seed, self.calls = step, seed, 0

    def table(self) -> Table:
        made: Table = {}
        register(made, "native_dropout")(self.forward)
        register(made, "native_dropout_backward")(self.backward)
        return made

    def forward(self, x: Tensor, rate: float, train: bool | None) -> tuple[Tensor, Tensor]:
        threshold = round(rate * 2**32)
        if not 0 <= threshold < 2**32:
            return NotImplemented
        stream = MASK_STREAM + self.calls
        self.calls += 1
        mask = torch.ops.tao.keep(self.step, self.seed, list(x.shape), stream, threshold)
        return self.backward(x, mask, 1 / (1 - rate)), mask

    @staticmethod
    def backward(g: Tensor, mask: Tensor, scale: float) -> Tensor:
        return torch.where(mask, g * scale, 0.0)


def _in_place() -> Table:
    """Every writing call as its functional form and one `copy_`."""
    made: Table = {}
    for name in dir(torch.ops.aten):
        if not name.endswith("_") or name.startswith("_") or not hasattr(torch.ops.aten, name[:-1]):
            continue
        packet, functional = getattr(torch.ops.aten, name), getattr(torch.ops.aten, name[:-1])
        for overload in packet.overloads():
            if name != "copy_" and overload in functional.overloads():
                made[getattr(packet, overload)] = _written(getattr(functional, overload))
    return made


def _written(function):
    def write(x: Tensor, *args, **kwargs) -> Tensor:
        return x.copy_(function(x, *args, **kwargs))

    return write
