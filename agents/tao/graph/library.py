"""Operators of a training step: its rounding log, its batch, its dropout masks and gradients of lookups.

What is drawn depends on a seed and a counter alone (docs/protocol.md, section 2), through Philox4x32-10
(Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). All run on any device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tao.graph.log_format import empty

WORD = 0xFFFFFFFF
FEISTEL_ROUNDS = 4
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_PHILOX_ROUNDS = 10

_library = torch.library.Library("tao", "DEF")
_library.define("log(int capacity) -> Tensor")
_library.define("sample(Tensor step, Tensor seed, int size, int count) -> Tensor")
_library.define("keep(Tensor step, Tensor seed, int[] shape, int stream, int threshold) -> Tensor")
_library.define("embedding_gradient(Tensor grad, Tensor indices, int rows) -> Tensor")


def philox(counter: Sequence[Tensor], key: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox4x32-10: four words. counter: four, key: two int64 tensors of 32-bit words that broadcast."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_PHILOX_ROUNDS):
        high0, low0 = _product(_MULTIPLIERS[0], c0)
        high1, low1 = _product(_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _WEYL[0]) & WORD, (k1 + _WEYL[1]) & WORD
    return c0, c1, c2, c3


def permute(positions: Tensor, epochs: Tensor, seed: Tensor, size: int) -> Tensor:
    """Where a keyed permutation of 0..size-1, one an epoch, sends positions: a balanced Feistel network whose
    round function is Philox, walked along its cycle until it is back below size.

    positions, epochs: int64, of equal shape. seed: int64[2] of 32-bit words.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    key = (seed[0] & WORD, seed[1] & WORD)
    result = _feistel(positions, epochs, key, half, mask)
    while bool((outside := result >= size).any()):
        result = torch.where(outside, _feistel(result, epochs, key, half, mask), result)
    return result


def _feistel(x: Tensor, epochs: Tensor, key: tuple[Tensor, Tensor], half: int, mask: int) -> Tensor:
    left, right = x >> half, x & mask
    for number in range(FEISTEL_ROUNDS):
        counter = (torch.full_like(right, number), right, epochs & WORD, (epochs >> 32) & WORD)
        left, right = right, left ^ (philox(counter, key)[0] & mask)
    return left << half | right


def _product(multiplier: int, word: Tensor) -> tuple[Tensor, Tensor]:
    """High and low word of a 64-bit product; int64 wraps around, which leaves its bits as they are."""
    product = word * multiplier
    return (product >> 32) & WORD, product & WORD


@torch.library.impl(_library, "log", "CompositeExplicitAutograd")
def log(capacity: int) -> Tensor:
    """An empty rounding log, int64[2, capacity] (tao.graph.log_format).

    The executor of a training step provides the log that it has instead.
    """
    return empty(capacity)


@torch.library.impl(_library, "sample", "CompositeExplicitAutograd")
def sample(step: Tensor, seed: Tensor, size: int, count: int) -> Tensor:
    """The indices of a step's batch, int64[count]: positions step * count + i of a permutation of 0..size-1
    that every epoch of `size` positions draws anew. step: int64[1]. seed: int64[2] of 32-bit words."""
    positions = step * count + torch.arange(count, device=step.device)
    return permute(positions % size, positions // size, seed, size)


@torch.library.impl(_library, "keep", "CompositeExplicitAutograd")
def keep(step: Tensor, seed: Tensor, shape: Sequence[int], stream: int, threshold: int) -> Tensor:
    """A dropout mask, bool of `shape`: True where word e % 4 of the counter (e // 4 low word, e // 4 high
    word, step low word, stream) is at least the threshold; the key is the seed's words."""
    numel = torch.Size(shape).numel()
    block = torch.arange((numel + 3) // 4, device=step.device)
    counter = (block & WORD, block >> 32, step[0] & WORD, torch.full_like(block, stream & WORD))
    words = torch.stack(philox(counter, (seed[0] & WORD, seed[1] & WORD)), -1)
    return words.flatten()[:numel].reshape(tuple(shape)) >= threshold


@torch.library.impl(_library, "embedding_gradient", "CompositeExplicitAutograd")
def embedding_gradient(grad: Tensor, indices: Tensor, rows: int) -> Tensor:
    """The gradient of a table of `rows` rows: element (v, d) sums grad[t, d] over the t with indices[t] = v.

    grad: float [T, D]. indices: int64 [T]. Raises IndexError for indices outside the table.
    """
    if bool(((indices < 0) | (indices >= rows)).any()):
        raise IndexError(f"an index is outside a table of {rows} rows")
    return grad.new_zeros(rows, grad.shape[1]).index_add(0, indices, grad)


@torch.library.register_fake("tao::log", lib=_library)
def _(capacity: int) -> Tensor:
    return torch.empty(2, capacity, dtype=torch.int64)


@torch.library.register_fake("tao::sample", lib=_library)
def _(step: Tensor, seed: Tensor, size: int, count: int) -> Tensor:
    return step.new_empty(count)


@torch.library.register_fake("tao::keep", lib=_library)
def _(step: Tensor, seed: Tensor, shape: Sequence[int], stream: int, threshold: int) -> Tensor:
    return step.new_empty(shape, dtype=torch.bool)


@torch.library.register_fake("tao::embedding_gradient", lib=_library)
def _(grad: Tensor, indices: Tensor, rows: int) -> Tensor:
    return grad.new_empty(rows, grad.shape[1])
