"""Compiled loops, on one thread or on as many as torch has."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba
import torch
from numba import njit


class Loop:
    """A function with a `prange`, compiled for one thread and for several, each when first wanted.

    Both are kept on disk, where a function's name is all that tells them apart: the parallel one gets another.
    """

    def __init__(self, function: Callable[..., None], *signature: Any) -> None:
        self._function, self._signature = function, signature
        self._compiled: dict[bool, Callable[..., None]] = {}

    def over(self, is_much: bool) -> Callable[..., None]:
        """The compiled function. is_much: whether the work is worth a second thread."""
        threads = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
        parallel = is_much and threads > 1
        if parallel:
            numba.set_num_threads(threads)
        if parallel not in self._compiled:
            self._compiled[parallel] = self._compile(parallel)
        return self._compiled[parallel]

    def _compile(self, parallel: bool) -> Callable[..., None]:
        function = self._function
        named = FunctionType(function.__code__, function.__globals__, function.__name__)
        named.__qualname__ = function.__qualname__ + ("_parallel" if parallel else "")
        return njit(*self._signature, parallel=parallel, cache=True)(named)
