"""Philox4x32-10 and what a training step draws with it, from the paper and docs/protocol.md, section 7."""

from __future__ import annotations

WORD = 0xFFFFFFFF


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    x, (k0, k1) = counter, key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * x[0], 2**32)
        high1, low1 = divmod(0xCD9E8D57 * x[2], 2**32)
        x = (high1 ^ x[1] ^ k0, low1, high0 ^ x[3] ^ k1, low0)
        k0, k1 = (k0 + 0x9E3779B9) & WORD, (k1 + 0xBB67AE85) & WORD
    return x


def permuted(value: int, half: int, epoch: int, key: tuple[int, int]) -> int:
    left, right = divmod(value, 1 << half)
    for turn in range(4):
        drawn = philox((turn, right, epoch & WORD, epoch >> 32 & WORD), key)[0]
        left, right = right, left ^ (drawn & (1 << half) - 1)
    return left << half | right


def sample(step: int, index: int, size: int, count: int, key: tuple[int, int]) -> int:
    """The index of place `index` of a step's batch of `count` out of `size`."""
    epoch, value = divmod(step * count + index, size)
    half = max(1, -(-(size - 1).bit_length() // 2))
    while True:
        value = permuted(value, half, epoch, key)
        if value < size:
            return value


def is_kept(element: int, step: int, stream: int, threshold: int, key: tuple[int, int]) -> bool:
    number, word = divmod(element, 4)
    return philox((number & WORD, number >> 32 & WORD, step & WORD, stream), key)[word] >= threshold
