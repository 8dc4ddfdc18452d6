"""ATen's composite functions and gradients in exact, single and logged operators, and sums
(tao.graph.rounding)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from tao.errors import ModelError
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
        if torch._C._current_autograd_node() is not None:
            raise ModelError(
                "dropout is computed once more during the backward pass, with another mask than before; switch "
                "activation checkpointing off, or checkpoint parts without dropout"
            )
        stream = MASK_STREAM + self.calls
        self.calls += 1
        mask = torch.ops.tao.keep(self.step, self.seed, list(x.shape), stream, threshold)
        return self.backward(x, mask, 1 / (1 - rate)), mask

    @staticmethod
    def backward(g: Tensor, mask: Tensor, scale: float) -> Tensor:
        return torch.where(mask, g * scale, 0.0)


class Composites(TorchFunctionMode):
    """Replaces a function whose C++ form lays its result out in place, which no functional graph can say."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        pools = function in (functional.adaptive_avg_pool2d, torch._C._nn.adaptive_avg_pool2d)
        if pools and len(args) == 2 and args[1] in (1, (1, 1), [1, 1]):
            return args[0].mean((-2, -1), keepdim=True)
        return function(*args, **(kwargs or {}))


def _in_place() -> Table:
    """Every writing call as its functional form and one `copy_`."""
    made: Table = {}
    for name in dir(torch.ops.aten):
        if not name.endswith("_") or name.startswith("_") or not hasattr(torch.ops.aten, name[:-1]):
            continue
        packet, plain = getattr(torch.ops.aten, name), getattr(torch.ops.aten, name[:-1])
        for overload in packet.overloads():
            if name != "copy_" and overload in plain.overloads():
                function = getattr(plain, overload)
                if not function.is_view:
                    made[getattr(packet, overload)] = _written(function)
    return made


def _written(function):
    def write(x: Tensor, *args, **kwargs) -> Tensor:
        return x.copy_(function(x, *args, **kwargs))

    return write
