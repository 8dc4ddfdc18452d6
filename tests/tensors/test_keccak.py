import subprocess
import sys

import numpy as np
import pytest
from eth_hash.auto import keccak as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from tao.tensors import keccak as hashing
from tao.tensors.keccak import hash_blocks, hash_rows, keccak

EMPTY = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


def hashes_of(rows: np.ndarray, chunk: int, element_size: int) -> list[bytes]:
    hashes = np.zeros((1 + rows.size, 32), np.uint8)
    count = hash_rows(rows, chunk, element_size, hashes)
    assert not hashes[count:].any()
    return [h.tobytes() for h in hashes[:count]]


def random_bytes(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=shape, dtype=np.uint8)


def test_keccak_is_the_hash_of_the_evm():
    assert keccak(b"").hex() == EMPTY


# The rate is 136 bytes: 128 is the last size of one permutation, 136 and 272 are whole multiples of it.
@pytest.mark.parametrize("size", [8, 64, 128, 136, 144, 256, 264, 272, 1024])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 17])
def test_every_block_hashes_as_alone(size, count):
    blocks = random_bytes(size * count, count, size)
    assert [h.tobytes() for h in hash_blocks(blocks)] == [reference(b.tobytes()) for b in blocks]


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 700), st.sampled_from([64, 256]))
@settings(deadline=None)
def test_rows_are_cut_and_filled_with_zeros(seed, count, size, chunk):
    rows = random_bytes(seed, count, size)
    chunks = [row.tobytes()[i : i + chunk].ljust(chunk, b"\0") for row in rows for i in range(0, size, chunk)]
    assert hashes_of(rows, chunk, 1) == [reference(c) for c in chunks]


@pytest.mark.parametrize("element_size", [2, 4, 8])
def test_elements_are_hashed_big_endian(element_size):
    rows = random_bytes(element_size, 3, 328)
    swapped = rows.reshape(3, -1, element_size)[..., ::-1].reshape(3, -1)
    assert hashes_of(rows, 256, element_size) == hashes_of(swapped, 256, 1)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_split_the_work_without_a_gap(monkeypatch, threads):
    blocks = random_bytes(threads, 1003, 64)
    alone = hash_blocks(blocks)
    monkeypatch.setattr(hashing, "PARALLEL_FROM", 0)
    monkeypatch.setattr(hashing, "_cores", lambda: threads)
    assert np.array_equal(hash_blocks(blocks), alone)


def test_small_inputs_start_no_thread(monkeypatch):
    monkeypatch.setattr(hashing, "_cores", lambda: 2)
    monkeypatch.setattr(hashing, "ThreadPoolExecutor", lambda *_: pytest.fail("a thread pool was started"))
    assert len(hash_blocks(np.zeros((hashing.PARALLEL_FROM // 64 - 1, 64), np.uint8)))


def test_strided_and_read_only_blocks_are_accepted():
    blocks = random_bytes(1, 6, 128)
    frozen = np.frombuffer(blocks.tobytes(), np.uint8).reshape(6, 128)
    assert np.array_equal(hash_blocks(frozen), hash_blocks(blocks))
    assert np.array_equal(hash_blocks(blocks[::2, :64]), hash_blocks(blocks[::2, :64].copy()))


@pytest.mark.parametrize(
    "blocks", [np.zeros((2, 7), np.uint8), np.zeros(8, np.uint8), np.zeros((1, 8), np.int8)]
)
def test_blocks_of_another_form_are_refused(blocks):
    with pytest.raises(ValueError, match="blocks must be uint8"):
        hash_blocks(blocks)


def test_importing_the_package_compiles_nothing():
    script = "import sys, tao.tensors; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
