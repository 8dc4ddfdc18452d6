"""What Python holds beside tensors. A step is traced once, so that a recording takes all of it as it was then."""

from __future__ import annotations

import dis
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from types import CodeType, FunctionType
from typing import Any

import numpy as np
from torch import nn

from tao.errors import ModelError

_SCALARS = (bool, int, float, str)


def scalars(module: nn.Module, loss: Callable[..., Any]) -> dict[str, str]:
    """The numbers and strings that module and loss may read, as text: attributes of all parts, and variables of
    their functions."""
    found: dict[str, str] = {}
    for whole, of in ((module, ""), (loss, "of the loss")):
        parts = whole.named_modules() if isinstance(whole, nn.Module) else [("", _function(whole))]
        for path, part in parts:
            owner = getattr(part, "__self__", part)
            found |= _named(f"attribute {path}{'.' if path else ''}{{}} {of}", getattr(owner, "__dict__", {}))
            read = variables(part.forward if isinstance(part, nn.Module) else part)
            found |= _named(f"variable {{}} {of or f'of {path}'}", read)
    return found


def variables(function: Callable[..., Any]) -> dict[str, Any]:
    """What a Python function reads of the variables of its file and of the functions around it."""
    function = _function(function)
    function = getattr(function, "__func__", function)
    if not isinstance(function, FunctionType):
        return {}
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    around = {name: cell.cell_contents for name, cell in cells if _has_value(cell)}
    names, file = _globals_of(function.__code__), function.__globals__
    return around | {name: file[name] for name in names if name in file}


def first_change(before: Mapping[str, str], after: Mapping[str, str]) -> str | None:
    """What differs, with both values; None where nothing does."""
    name = next((name for name in before if after.get(name) != before[name]), None)
    return None if name is None else f"{name} was {before[name]} and is {after.get(name, 'gone')}"


@contextmanager
def undisturbed(module: nn.Module, loss: Callable[..., Any]) -> Iterator[None]:
    """Run module and loss once, for all steps. Raises ModelError where they draw Python's or numpy's random numbers,
    or change what they read."""
    before, python, drawn = scalars(module, loss), random.getstate(), np.random.get_state()
    try:
        yield
        if random.getstate() != python or not _is_equal(np.random.get_state(), drawn):
            raise ModelError(
                "the step draws random numbers of Python or numpy, which would be the same ones in every step of a "
                "recording; draw by dropout, or keep the numbers in the data set"
            )
        if change := first_change(before, scalars(module, loss)):
            raise ModelError(
                f"{change}: the step changes it, but a recording runs Python once for all steps; keep it out of "
                "the step"
            )
    finally:
        random.setstate(python)
        np.random.set_state(drawn)


def _named(what: str, values: Mapping[str, Any]) -> dict[str, str]:
    scalars = {name: value for name, value in values.items() if isinstance(value, _SCALARS)}
    return {what.format(name).rstrip(): repr(value) for name, value in scalars.items()}


def _function(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, partial):
        function = function.func
    return function


def _has_value(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # nothing is assigned yet
        return False


@cache
def _globals_of(code: CodeType) -> frozenset[str]:
    return frozenset(i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL")


def _is_equal(first: tuple[Any, ...], second: tuple[Any, ...]) -> bool:
    """Of two states of numpy's generator."""
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
