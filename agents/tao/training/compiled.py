"""Compiled loops."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from numba import njit


def compiled(loop: Callable[..., None], *signature: Any, parallel: bool) -> Callable[..., None]:
    """A loop compiled, and kept on disk. parallel: whether its `prange` runs on all threads.

    What is kept is told apart by the function's name and not by that, so a parallel loop gets another name.
    """
    named = FunctionType(loop.__code__, loop.__globals__, loop.__name__)
    named.__qualname__ = loop.__qualname__ + ("_parallel" if parallel else "")
    return njit(*signature, parallel=parallel, cache=True)(named)
