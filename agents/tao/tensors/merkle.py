"""Merkle trees of docs/protocol.md: zero leaves pad to a power of two, and sides follow the index."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from tao.tensors.keccak import hash_blocks, keccak

ZERO = bytes(32)


def tree_height(count: int) -> int:
    """Levels above the leaves of a tree of `count` leaves, ceil(log2(count)); 0 for no leaves."""
    return max(count - 1, 0).bit_length()


def levels(leaves: np.ndarray) -> list[np.ndarray]:
    """Fold many trees of one size at once, from the leaves to the roots.

    leaves: uint8[trees, count, 32]. Level l is uint8[trees, ceil(count / 2^l), 32]: nodes over padding alone
    are all equal within a level, so they are left out and stand in `padding(l)`.
    """
    result = [leaves]
    for level in range(tree_height(leaves.shape[1])):
        result.append(_parents(result[-1], level))
    return result


def roots(leaves: np.ndarray) -> np.ndarray:
    """The roots of many trees of one size: uint8[trees, count, 32] to uint8[trees, 32]."""
    nodes = leaves
    for level in range(tree_height(leaves.shape[1])):
        nodes = _parents(nodes, level)
    return nodes[:, 0]


def siblings(tree: Sequence[np.ndarray], index: int, start: int = 0) -> list[bytes]:
    """Siblings of node `index` of level `start`, from there upwards. tree: uint8[nodes, 32] per level."""
    path = []
    for level in range(start, len(tree) - 1):
        sibling = index ^ 1
        path.append(tree[level][sibling].tobytes() if sibling < len(tree[level]) else padding(level))
        index >>= 1
    return path


@cache
def padding(level: int) -> bytes:
    """The node at `level` over zero leaves alone: zero at the leaves, keccak(zero || zero) above them, ..."""
    return keccak(padding(level - 1) * 2) if level else ZERO


def root(leaves: Sequence[bytes]) -> bytes:
    """Root over leaves of 32 bytes; the tree of no leaves is one zero leaf."""
    return roots(_stack(leaves))[0].tobytes() if leaves else ZERO


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Siblings of leaf `index`, from the leaf upwards; IndexError outside the tree."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} is outside a tree of {len(leaves)} leaves")
    return siblings([level[0] for level in levels(_stack(leaves))], index)


def climb(leaf: bytes, index: int, count: int, path: Sequence[bytes]) -> bytes | None:
    """The root to which a path leads from leaf `index` of a tree of `count` leaves; None where index or path does not
    fit one."""
    if not 0 <= index < count or len(path) != tree_height(count):
        return None
    for sibling in path:
        leaf = keccak(sibling + leaf if index & 1 else leaf + sibling)
        index >>= 1
    return leaf


def verify(root: bytes, leaf: bytes, index: int, count: int, path: Sequence[bytes]) -> bool:
    """Whether `leaf` is leaf `index` of the tree of `count` leaves under `root`."""
    return climb(leaf, index, count, path) == root


def _stack(leaves: Sequence[bytes]) -> np.ndarray:
    if any(len(leaf) != 32 for leaf in leaves):
        raise ValueError("leaves must be hashes of 32 bytes")
    return np.frombuffer(b"".join(leaves), np.uint8).reshape(1, -1, 32)


def _parents(nodes: np.ndarray, level: int) -> np.ndarray:
    trees, count, _ = nodes.shape
    if count % 2:
        last = np.frombuffer(padding(level), np.uint8)
        nodes = np.concatenate([nodes, np.broadcast_to(last, (trees, 1, 32))], axis=1)
    return hash_blocks(nodes.reshape(-1, 64)).reshape(trees, -1, 32)
