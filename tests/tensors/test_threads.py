"""Ranges are worked on once each, by several threads that compute as the first one does."""

import threading

import numpy as np
import pytest
import torch

from tao.tensors import threads
from tao.tensors.threads import over_ranges


@pytest.mark.parametrize("count", [0, 1, 2, 9, 1000])
@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_ranges_have_every_place_once(number, count):
    times = np.zeros(count, int)

    def run(start, stop):
        assert 0 <= start <= stop <= count
        times[start:stop] += 1

    over_ranges(run, count, number)
    assert (times == 1).all()


def test_threads_work_at_the_same_time():
    both = threading.Barrier(2, timeout=60)
    over_ranges(lambda *_: both.wait(), 2, 2)


def test_one_thread_is_the_callers(monkeypatch):
    monkeypatch.setattr(threads, "_POOL", None)
    seen = []
    over_ranges(lambda *_: seen.append(threading.current_thread()), 5, 1)
    assert seen == [threading.current_thread()]


@pytest.mark.parametrize("failing", ["caller", "other"])
def test_what_a_thread_raises_is_raised(failing):
    both, caller = threading.Barrier(2, timeout=60), threading.current_thread()

    def run(*_):
        both.wait()
        if (threading.current_thread() is caller) == (failing == "caller"):
            raise ArithmeticError(failing)

    with pytest.raises(ArithmeticError, match=failing):
        over_ranges(run, 2, 2)


def test_threads_keep_subnormal_numbers_whoever_starts_them(monkeypatch):
    monkeypatch.setattr(threads, "_POOL", threads._pool())
    both, kept = threading.Barrier(2, timeout=60), {}

    def run(*_):
        both.wait()
        kept[threading.current_thread()] = bool(np.full(8, 1e-310) @ np.ones(8))

    torch.set_flush_denormal(True)
    try:
        over_ranges(run, 2, 2)
    finally:
        torch.set_flush_denormal(False)
    assert kept.pop(threading.current_thread()) is False
    assert list(kept.values()) == [True]
