"""Kernels as graphs call them. Graphs and values come from anybody: what would end the process is refused first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tao.graph.operators import overloads, resolve

_REFUSALS = (
    "out of range",
    "out of bounds",
    "ZeroDivisionError",
    "Class values must be",
    "Integers to negative integer powers",
)


def kernel(name: str) -> Callable[..., Any]:
    """What computes a supported operator; raises UnsupportedOperator for any other."""
    target, check = resolve(name), _CHECKS.get(name)
    if check is None:
        return target

    def checked(*args: Any, **kwargs: Any) -> Any:
        check(*args, **kwargs)
        return target(*args, **kwargs)

    return checked


def refuses_values(error: Exception) -> bool:
    """Whether an error is about the values that a kernel was given, and not about the machine it ran on.

    Of the operators that can be committed, look-ups refuse places outside their table, and integer arithmetic
    what has no result.
    """
    return isinstance(error, (IndexError, ArithmeticError)) or any(words in str(error) for words in _REFUSALS)


def require_within(indices: Tensor, count: int) -> None:
    """Raises IndexError where an index is no place of `count`."""
    if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < count:
        raise IndexError(f"indices {int(indices.min())} to {int(indices.max())} are out of range of {count}")


def _pooled(gradient: Tensor, x: Tensor, *rest: Any) -> None:
    """The kernel adds wherever the indices say."""
    require_within(rest[-1], x.shape[-2] * x.shape[-1])


def _embedded(gradient: Tensor, indices: Tensor, rows: int, *rest: Any) -> None:
    """The kernel counts wherever the indices say."""
    require_within(indices, rows)


def _divided(a: Tensor, b: Tensor | float, **rest: Any) -> None:
    """Processors trap integer divisions without a result."""
    divisor = torch.as_tensor(b)
    if a.is_floating_point() or divisor.is_floating_point():
        return
    if bool((divisor == 0).any()):
        raise ZeroDivisionError("an integer is divided by zero")
    if a.dtype != torch.bool and bool(((a == torch.iinfo(a.dtype).min) & (divisor == -1)).any()):
        raise OverflowError(f"the least {str(a.dtype).removeprefix('torch.')} is divided by -1")


_CHECKS: dict[str, Callable[..., None]] = {
    "aten.max_pool2d_with_indices_backward.default": _pooled,
    "aten.embedding_dense_backward.default": _embedded,
    **dict.fromkeys(
        overloads(
            "div.Tensor_mode div.Scalar_mode fmod.Tensor fmod.Scalar remainder.Tensor remainder.Scalar"
        ),
        _divided,
    ),
}
