"""Arguments of ATen calls as canonical JSON, exact to the bit."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tao.errors import ModelError, UnsupportedOperator

INT_LIMIT = 2**63


@dataclass(frozen=True)
class Slot:
    """Stands in a call for the tensor of operand `index`."""

    index: int


def encode(value: Any) -> Any:
    """A literal, Slot or list of them as JSON: floats as the hex of their IEEE 754 double, dtypes by name.

    Raises UnsupportedOperator for anything else, such as a complex number.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return {"f64": struct.pack(">d", value).hex()}
    if isinstance(value, Slot):
        return {"operand": value.index}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    raise UnsupportedOperator(f"an argument of type {type(value).__name__} has no canonical form")


def decode(value: Any) -> Any:
    """The inverse of `encode`; raises ModelError for JSON that `encode` does not give."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        if not -INT_LIMIT <= value < INT_LIMIT:
            raise ModelError(f"integer literal {value} does not fit 64 bits")
        return value
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, dict) and len(value) == 1:
        ((kind, content),) = value.items()
        if kind == "operand" and isinstance(content, int) and not isinstance(content, bool) and content >= 0:
            return Slot(content)
        if kind == "f64" and isinstance(content, str):
            try:
                return struct.unpack(">d", bytes.fromhex(content))[0]
            except (ValueError, struct.error) as error:
                raise ModelError(f"{content!r} is not the hex of a double") from error
        if kind == "dtype" and isinstance(content, str):
            dtype = getattr(torch, content, None)
            if isinstance(dtype, torch.dtype) and encode(dtype) == value:
                return dtype
    raise ModelError(f"{json.dumps(value)[:80]} is no literal of a call")


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces; the only form that is ever hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def substitute(value: Any, replace: Callable[[Any], Any]) -> Any:
    """`value` with `replace` applied to every leaf of its lists."""
    if isinstance(value, list | tuple):
        return [substitute(item, replace) for item in value]
    return replace(value)


def fill(
    args: Sequence[Any], kwargs: Mapping[str, Any], tensors: Sequence[Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call with each Slot replaced by its tensor."""

    def tensor(leaf: Any) -> Any:
        return tensors[leaf.index] if isinstance(leaf, Slot) else leaf

    return substitute(args, tensor), {name: substitute(value, tensor) for name, value in kwargs.items()}


def leaves(value: Any) -> list[Any]:
    """The leaves of nested lists, in order."""
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]
