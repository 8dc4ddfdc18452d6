"""A table of decompositions: for an ATen overload, the same function in fewer kinds of operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._ops import OpOverload

Table = dict[OpOverload, Callable[..., Any]]


def register(table: Table, *names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put a function into a table under overloads such as `add.Tensor`, or `exp`, which means `exp.default`.

    The function may return NotImplemented to leave a call as it is.
    """

    def put(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            packet, _, overload = name.partition(".")
            table[getattr(getattr(torch.ops.aten, packet), overload or "default")] = function
        return function

    return put
