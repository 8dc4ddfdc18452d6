"""Commitments of tensors and states, and openings of tensors (docs/protocol.md, section 1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from tao.errors import InvalidTensor
from tao.tensors.codec import CHUNK, TensorType, encode, raw_bytes
from tao.tensors.keccak import hash_rows, keccak
from tao.tensors.merkle import levels, roots, siblings

PIECE = 1 << 24
"""Bytes made dense at a time when a tensor is not a dense block of CPU memory."""

TAGS: dict[str, bytes] = {
    name: keccak(f"TAO.{name}.v1".encode())
    for name in (
        "tensor state node tolerance model request claim dispute vote draw sums partials recorded seed".split()
    )
}


def tag(name: str) -> bytes:
    """The domain tag `keccak256("TAO.<name>.v1")` of one of the protocol's hashes."""
    return TAGS[name]


@dataclass(frozen=True)
class Opening:
    """An aligned subtree of 2^level leaves.

    data: its real chunks, each of 256 bytes (a row's last one filled with zeros).
    path: siblings from the subtree's root up to the data root.
    """

    level: int
    data: bytes
    path: tuple[bytes, ...]


class TensorTree:
    """The Merkle tree of one tensor, hashed on first use.

    Keeps the leaves (32 bytes per chunk of 256) and the levels above the row roots; the levels inside a row
    are folded again for each opening. The tensor is referenced, not copied: it must not change.
    """

    def __init__(self, tensor: torch.Tensor) -> None:
        """Raises InvalidTensor for tensors that cannot be committed."""
        self.type = TensorType.of(tensor)
        self._tensor = tensor.detach()

    @cached_property
    def data_root(self) -> bytes:
        """Root over the row roots."""
        return self._row_levels[-1][0].tobytes()

    @cached_property
    def commitment(self) -> bytes:
        """keccak256(TAG_tensor || type || data root)."""
        return keccak(tag("tensor") + self.type.pack() + self.data_root)

    def open(self, element: int, length: int = 1) -> Opening:
        """Open the smallest aligned subtree over elements [element, element + length) of the row-major order.

        Raises InvalidTensor where the run is empty, leaves the tensor or crosses the end of a row.
        """
        last = element + length - 1
        if length < 1:
            raise InvalidTensor(f"a run of {length} elements cannot be opened; ask for at least 1")
        if element < 0 or last >= self.type.numel:
            raise InvalidTensor(f"elements {element} to {last} are outside the tensor of {self.type.numel}")
        row, begin = divmod(element, self.type.row_length)
        if last // self.type.row_length != row:
            raise InvalidTensor(
                f"elements {element} to {last} cross the end of a row of {self.type.row_length};"
                " open each row's part"
            )
        elements_per_chunk = CHUNK // self.type.dtype.size
        first_chunk = begin // elements_per_chunk
        last_chunk = (begin + length - 1) // elements_per_chunk
        return self._open(row, first_chunk, (first_chunk ^ last_chunk).bit_length())

    def open_chunk(self, leaf_index: int) -> Opening:
        """Open one leaf of the whole tree, of index `row * 2^h + chunk`.

        Raises InvalidTensor where no chunk of the tensor is under that leaf.
        """
        row, chunk = leaf_index >> self.type.row_height, leaf_index % 2**self.type.row_height
        if not 0 <= row < self.type.rows or chunk >= self.type.chunks_per_row:
            raise InvalidTensor(
                f"leaf {leaf_index} holds no chunk: the tensor has {self.type.rows} rows"
                f" of {self.type.chunks_per_row} chunks, {2**self.type.row_height} leaves apart"
            )
        return self._open(row, chunk, 0)

    def _open(self, row: int, chunk: int, level: int) -> Opening:
        node = chunk >> level
        begin, end = node << level, min((node + 1) << level, self.type.chunks_per_row)
        per_chunk = CHUNK // self.type.dtype.size
        elements = self._row(row)[begin * per_chunk : end * per_chunk]
        data = encode(elements).ljust((end - begin) * CHUNK, b"\0")
        inside = [nodes[0] for nodes in levels(self._leaves[row : row + 1])]
        path = siblings(inside, node, level) + siblings(self._row_levels, row)
        return Opening(level, data, tuple(path))

    def _row(self, row: int) -> torch.Tensor:
        if not self.type.shape:
            return self._tensor.reshape(1)
        return self._tensor[tuple(int(i) for i in np.unravel_index(row, self.type.shape[:-1]))]

    @cached_property
    def _leaves(self) -> np.ndarray:
        """uint8[rows, chunks per row, 32]."""
        leaves = np.empty((self.type.rows * self.type.chunks_per_row, 32), np.uint8)
        unhashed = leaves
        for piece in _pieces(self._tensor):
            size = min(self.type.row_size, piece.numel() * self.type.dtype.size)
            rows = raw_bytes(piece).reshape(-1, size)
            unhashed = unhashed[hash_rows(rows, CHUNK, self.type.dtype.size, unhashed) :]
        return leaves.reshape(self.type.rows, self.type.chunks_per_row, 32)

    @cached_property
    def _row_levels(self) -> list[np.ndarray]:
        """uint8[nodes, 32] for each level from the row roots to the data root."""
        return [nodes[0] for nodes in levels(roots(self._leaves)[None])]


def commit(tensor: torch.Tensor) -> bytes:
    """The commitment of a tensor, 32 bytes; raises InvalidTensor where it has none."""
    return TensorTree(tensor).commitment


def state_hash(commitments: Sequence[bytes]) -> bytes:
    """keccak256(TAG_state || commitment_0 || ...) over the values live at a cut, at least one."""
    if not commitments or any(len(commitment) != 32 for commitment in commitments):
        raise InvalidTensor("a state is one or more tensor commitments of 32 bytes each")
    return keccak(tag("state") + b"".join(commitments))


def _pieces(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Cut a tensor, in row-major order, into whole rows or runs of whole chunks of one row.

    Dense CPU memory stays in one piece; anything else comes in pieces of about PIECE bytes, so that what is
    made dense at a time stays small.
    """
    if tensor.dim() == 0 or (tensor.is_contiguous() and tensor.device.type == "cpu"):
        yield tensor
        return
    size = tensor[0].numel() * tensor.element_size()
    if size > PIECE:
        for part in tensor:
            yield from _pieces(part)
    else:
        # A clone keeps the order of the strides: torch then transposes a whole matrix, faster than a slice.
        yield from (piece.clone() for piece in tensor.split(PIECE // size))
