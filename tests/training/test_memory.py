"""Memory of tensors that are gone is lent again, and that of others never."""

from __future__ import annotations

import gc
import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tao.training import memory

CPU = torch.device("cpu")
LARGE = (600, 1000)


@pytest.fixture(autouse=True)
def nothing_idle() -> Iterator[None]:
    gc.collect()
    memory.release()
    yield
    memory.release()


def floats(*shape: int) -> Tensor:
    return memory.empty(shape, torch.float32, CPU)


def test_the_memory_of_a_tensor_that_is_gone_is_lent_again() -> None:
    first = floats(*LARGE)
    address = first.data_ptr()
    del first
    assert floats(*LARGE).data_ptr() == address
    half = floats(LARGE[0] * 6 // 10, LARGE[1])
    assert half.data_ptr() == address and half.is_contiguous() and half.shape == (360, 1000)


def test_whatever_shares_the_memory_keeps_it() -> None:
    for alias in (lambda x: x[5:7].T, lambda x: x.view(torch.int32), lambda x: x.numpy()[:1], Tensor.detach):
        first = floats(*LARGE)
        kept = alias(first)
        first.zero_()
        del first
        floats(*LARGE).fill_(1.0)
        assert not kept.any()
        del kept


def test_a_block_is_not_wasted_on_a_much_smaller_tensor() -> None:
    address = floats(10 * LARGE[0], LARGE[1]).data_ptr()
    assert floats(*LARGE).data_ptr() != address


def test_small_tensors_are_the_allocators() -> None:
    del [floats(10)][0]
    assert not any(memory._idle.values())


def test_what_is_released_is_not_lent_again_nor_what_was_lent_then() -> None:
    floats(*LARGE)
    kept = floats(*LARGE[::-1])
    other = floats(2 * LARGE[0], LARGE[1])
    del kept
    assert sum(map(len, memory._idle.values())) == 1
    memory.release()
    del other
    assert not any(memory._idle.values())


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def test_released_memory_is_the_systems() -> None:
    tensors = [floats(*LARGE).fill_(1.0) for _ in range(50)]
    full = resident()
    del tensors
    assert resident() > full - 10**7
    memory.release()
    assert resident() < full - 10**8


def test_no_more_lies_idle_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_KEPT", 20 * 2**20)
    for size in range(1 << 20, 6 << 20, 1 << 17):
        memory.empty((size,), torch.uint8, CPU)
        floats(*LARGE)
    assert sum(size * len(blocks) for size, blocks in memory._idle.items()) < 30 * 2**20


def test_without_memory_there_is_an_error_and_no_verdict() -> None:
    with pytest.raises(MemoryError, match="bytes left"):
        memory.empty((1 << 60,), torch.uint8, CPU)


def test_memory_is_the_processors_whatever_device_is_the_default() -> None:
    with torch.device("meta"):
        assert floats(*LARGE).device == CPU


@pytest.mark.parametrize("size", (30, 1200))
def test_a_wide_tensor_has_the_values_and_the_layout_of_the_narrow_one(size: int) -> None:
    x = torch.randn(size, 300)
    for view in (x, x.T, x[None].transpose(0, 2), x[::2], x[:, 3:9], x[:0], x[:1].expand(4, 300)):
        wide = memory.wide(view)
        assert torch.equal(wide, view.double()) and wide.stride() == view.double().stride()


def test_memory_that_lies_idle_is_given_back_where_the_system_has_none_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    floats(*LARGE)
    asked, mapped = [], mmap.mmap

    def scarce(*args: int) -> mmap.mmap:
        asked.append(any(memory._idle.values()))
        if asked[-1]:
            raise OSError(12, "Cannot allocate memory")
        return mapped(*args)

    monkeypatch.setattr(memory.mmap, "mmap", scarce)
    assert floats(10 * LARGE[0], LARGE[1]).shape == (6000, 1000)
    assert asked == [True, False]
