"""Hashes, trees and records as docs/protocol.md defines them, written without a look at the product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from eth_abi import encode
from eth_hash.auto import keccak

CHUNK = 256
OUTPUT_FLAG = 0x8000
NO_MAP = 0xFF
ZERO = bytes(32)
DTYPES = {
    "bool": 0,
    "int8": 1,
    "int32": 2,
    "int64": 3,
    "float16": 4,
    "float32": 6,
    "float64": 7,
    "uint8": 8,
    "int16": 9,
}


def tag(name: str) -> bytes:
    return keccak(f"TAO.{name}.v1".encode())


def operator_code(name: str) -> bytes:
    return keccak(name.encode())[:4]


def height(count: int) -> int:
    """Levels above the leaves of a tree of `count` leaves."""
    return (count - 1).bit_length()


def layers(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """All levels of the padded tree, leaves first, root last."""
    level = [*leaves, *[ZERO] * ((1 << height(len(leaves))) - len(leaves))]
    levels = [level]
    while len(level) > 1:
        level = [keccak(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
        levels.append(level)
    return levels


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    return layers(leaves)[-1][0]


def merkle_path(leaves: Sequence[bytes], index: int, level: int = 0) -> list[bytes]:
    """Siblings from node `index` of level `level` up to the root."""
    return [nodes[(index >> i) ^ 1] for i, nodes in enumerate(layers(leaves)[level:-1])]


@dataclass(frozen=True)
class Type:
    dtype: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, array: np.ndarray) -> Type:
        return cls(DTYPES[array.dtype.name], array.shape)

    @property
    def packed(self) -> bytes:
        return bytes([self.dtype, len(self.shape)]) + b"".join(n.to_bytes(4, "big") for n in self.shape)


class Tensor:
    """A committed array: its padded chunks, its tree and its commitment."""

    def __init__(self, array: np.ndarray):
        self.array = array
        self.type = Type.of(array)
        row_length = array.shape[-1] if array.ndim else 1
        self.rows = prod(array.shape[:-1])
        data = array.astype(array.dtype.newbyteorder(">")).tobytes()
        row_bytes = row_length * array.itemsize
        self.chunks_per_row = -(-row_bytes // CHUNK)
        self.row_height = height(self.chunks_per_row)
        self.height = self.row_height + height(self.rows)
        self.row_bytes = row_bytes
        self._row_chunks = []
        leaves: list[bytes] = []
        for start in range(0, len(data), row_bytes):
            row = data[start : start + row_bytes].ljust(self.chunks_per_row * CHUNK, b"\0")
            chunks = [row[i : i + CHUNK] for i in range(0, len(row), CHUNK)]
            self._row_chunks.append(chunks)
            # Row padding hashes in full, so that the whole is one tree of height h + ceil(log2(rows)).
            leaves += layers([keccak(chunk) for chunk in chunks])[0]
        # Missing rows are zero *row roots*: pad above the rows, not below them.
        row_roots = [
            merkle_root(leaves[i : i + (1 << self.row_height)])
            for i in range(0, len(leaves), 1 << self.row_height)
        ]
        self._leaves = leaves
        self._row_roots = row_roots
        self.data_root = merkle_root(row_roots)
        self.commitment = keccak(tag("tensor") + self.type.packed + self.data_root)

    def chunk(self, leaf: int) -> bytes:
        """The bytes of leaf (row, chunk), for a chunk inside the row."""
        return self._row_chunks[leaf >> self.row_height][leaf & ((1 << self.row_height) - 1)]

    def exists(self, leaf: int) -> bool:
        row, chunk = leaf >> self.row_height, leaf & ((1 << self.row_height) - 1)
        return row < self.rows and chunk < self.chunks_per_row

    def path(self, leaf: int, level: int = 0) -> list[bytes]:
        """Siblings from the aligned subtree of 2^level leaves that starts at `leaf` up to the data root."""
        row, inside = leaf >> self.row_height, leaf & ((1 << self.row_height) - 1)
        width = 1 << self.row_height
        row_leaves = self._leaves[row * width : (row + 1) * width]
        return merkle_path(row_leaves, inside >> level, level) + merkle_path(self._row_roots, row)

    def open(self, element: int, length: int = 1) -> tuple[int, bytes, list[bytes]]:
        """(level, data, path) of the smallest aligned subtree covering a run inside one row."""
        item = self.array.itemsize
        row_length = self.row_bytes // item
        row, column = divmod(element, row_length)
        assert column + length <= row_length, "a run lies inside one row"
        first, last = column * item // CHUNK, ((column + length) * item - 1) // CHUNK
        level = (first ^ last).bit_length()
        start = first >> level << level
        real = range(start, min(start + (1 << level), self.chunks_per_row))
        data = b"".join(self._row_chunks[row][chunk] for chunk in real)
        return level, data, self.path((row << self.row_height) + start, level)


def state_hash(commitments: Sequence[bytes]) -> bytes:
    return keccak(tag("state") + b"".join(commitments))


def boundaries_hash(hashes: Sequence[bytes]) -> bytes:
    return keccak(b"".join(hashes))


@dataclass(frozen=True)
class Map:
    """Where output element o reads: offset + sum o_d * strides_d + lane * lane_stride."""

    strides: tuple[int, ...]
    lane_stride: int = 0
    offset: int = 0


@dataclass(frozen=True)
class Operand:
    """`position` is into the state before, or a parameter's number; `type` is that of the committed value."""

    is_parameter: bool
    position: int
    type: Type
    map: Map | None

    @property
    def packed(self) -> bytes:
        head = bytes([self.is_parameter]) + self.position.to_bytes(2, "big") + self.type.packed
        if self.map is None:
            return head + bytes([NO_MAP])
        words = (*self.map.strides, self.map.lane_stride, self.map.offset)
        return head + bytes([len(self.map.strides)]) + b"".join(word.to_bytes(4, "big") for word in words)


@dataclass(frozen=True)
class Record:
    operator: str
    call: bytes
    outputs: tuple[Type, ...]
    operands: tuple[Operand, ...]
    reduction: int
    live_before: int
    after: tuple[int, ...]
    attributes: tuple[int, ...] = ()

    @property
    def packed(self) -> bytes:
        return b"".join(
            [
                operator_code(self.operator),
                self.call,
                bytes([len(self.outputs)]),
                *[output.packed for output in self.outputs],
                bytes([len(self.operands)]),
                *[operand.packed for operand in self.operands],
                self.reduction.to_bytes(4, "big"),
                bytes([len(self.attributes)]),
                *[word.to_bytes(4, "big") for word in self.attributes],
                self.live_before.to_bytes(2, "big"),
                len(self.after).to_bytes(2, "big"),
                *[entry.to_bytes(2, "big") for entry in self.after],
            ]
        )

    @property
    def leaf(self) -> bytes:
        return keccak(tag("node") + self.packed)


def tolerance_leaf(theta: int, other: bytes) -> bytes:
    """Leaf of a node in the tree of tolerances; `theta` in units of 2^-16."""
    return keccak(tag("tolerance") + theta.to_bytes(4, "big") + other)


MODEL_ABI = "(bytes32,bytes32,bytes32,uint32,uint32,uint32,uint32,uint32)"


def model_id(model: tuple) -> bytes:
    return keccak(encode(["bytes32", MODEL_ABI], [tag("model"), model]))


def request_id(
    chain: int, registry: str, model: bytes, inputs: bytes, client: str, fee: int, salt: int
) -> bytes:
    types = ["bytes32", "uint256", "address", "bytes32", "bytes32", "address", "uint256", "uint256"]
    return keccak(encode(types, [tag("request"), chain, registry, model, inputs, client, fee, salt]))


def claim_id(
    chain: int,
    registry: str,
    model: bytes,
    request: bytes,
    inputs: bytes,
    outputs: bytes,
    checkpoints: bytes,
    prover: str,
) -> bytes:
    types = ["bytes32", "uint256", "address", *["bytes32"] * 5, "address"]
    values = [tag("claim"), chain, registry, model, request, inputs, outputs, checkpoints, prover]
    return keccak(encode(types, values))


def dispute_id(chain: int, game: str, claim: bytes, challenger: str) -> bytes:
    types = ["bytes32", "uint256", "address", "bytes32", "address"]
    return keccak(encode(types, [tag("dispute"), chain, game, claim, challenger]))


def vote_hash(
    chain: int, committee: str, case: bytes, member: str, vote: int, statistics: bytes, salt: bytes
) -> bytes:
    types = ["bytes32", "uint256", "address", "bytes32", "address", "uint8", "bytes32", "bytes32"]
    values = [tag("vote"), chain, committee, case, member, vote, keccak(statistics), salt]
    return keccak(encode(types, values))
