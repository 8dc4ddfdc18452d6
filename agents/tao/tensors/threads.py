"""Compiled functions that let go of the interpreter, on several threads.

The threads wait without spinning, unlike those of an OpenMP beside torch's, with which they would take turns.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch

_RANGES = 4
"""For each thread, so that one which other processes hold up leaves its share to others."""


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux only; the other count includes cores lent to nobody
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _pool() -> ThreadPoolExecutor:
    # A thread begins with the floating-point mode of the one that starts it.
    return ThreadPoolExecutor(cores(), "tao", initializer=partial(torch.set_flush_denormal, False))


_POOL = _pool()


def over_ranges(run: Callable[[int, int], None], count: int, threads: int) -> None:
    """Call run(start, stop) on ranges that together are 0 to count, on that many threads: this one and others.

    Raises what a call raises.
    """
    if threads == 1:
        run(0, count)
        return
    size = max(-(-count // (threads * _RANGES)), 1)
    starts = iter(range(0, count, size))

    def take() -> None:
        for start in starts:
            run(start, min(start + size, count))

    others = [_POOL.submit(take) for _ in range(threads - 1)]
    take()
    for other in others:
        if not other.cancel():  # one that has not begun has nothing left to do
            other.result()
