"""keccak-256 of one message, and of many equal blocks on all cores."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from eth_hash.auto import keccak as _keccak

PARALLEL_FROM = 1 << 20
"""Bytes from which on starting threads pays."""


def keccak(data: bytes) -> bytes:
    """keccak-256 of any message, 32 bytes."""
    return _keccak(data)


def hash_blocks(blocks: np.ndarray) -> np.ndarray:
    """keccak-256 of each row: uint8[n, size] to uint8[n, 32], for `size` a multiple of 8."""
    if blocks.ndim != 2 or blocks.dtype != np.uint8 or blocks.shape[1] == 0 or blocks.shape[1] % 8:
        raise ValueError(f"blocks must be uint8[n, multiple of 8], got {blocks.dtype}{list(blocks.shape)}")
    hashes = np.empty((len(blocks), 32), np.uint8)
    hash_rows(blocks, blocks.shape[1], 1, hashes)
    return hashes


def hash_rows(rows: np.ndarray, chunk_size: int, element_size: int, hashes: np.ndarray) -> int:
    """keccak-256 of the chunks of rows of elements, each chunk hashed in big-endian order.

    rows: uint8[n, row size] of elements of `element_size` bytes in the machine's order. Each row is cut into
    chunks of `chunk_size` bytes, the last one filled with zeros. The hashes of all chunks, row by row, become
    the first rows of `hashes`, uint8[at least that many, 32]; returns how many there are.
    """
    # Imported late: it compiles on import, and most commands hash nothing in bulk.
    from tao.tensors import lanes

    rows = np.ascontiguousarray(rows)
    count = len(rows) * -(-rows.shape[1] // chunk_size)
    words = hashes[:count].view(np.uint64)

    def run(start: int, stop: int) -> None:
        lanes.hash_chunks(rows, chunk_size, element_size, words, start, stop)

    threads = _cores() if count * chunk_size >= PARALLEL_FROM else 1
    if threads == 1:
        run(0, count)
    else:
        share = -(-count // (threads * lanes.LANES)) * lanes.LANES
        starts = range(0, count, share)
        with ThreadPoolExecutor(len(starts)) as pool:
            list(pool.map(run, starts, (min(start + share, count) for start in starts)))
    return count


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux only; the other count includes cores lent to nobody
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
