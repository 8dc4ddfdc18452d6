"""Section 1 of docs/protocol.md in the plainest Python, one hash at a time."""

from __future__ import annotations

import itertools
import struct

import torch
from eth_hash.auto import keccak

from tao.tensors import Opening

CODES = {
    torch.bool: 0,
    torch.int8: 1,
    torch.int32: 2,
    torch.int64: 3,
    torch.float16: 4,
    torch.bfloat16: 5,
    torch.float32: 6,
    torch.float64: 7,
    torch.uint8: 8,
    torch.int16: 9,
}
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def element_bytes(element: torch.Tensor) -> bytes:
    size = element.element_size()
    bits = element.detach().clone().view(BITS[size]).item()
    return (bits % 2 ** (8 * size)).to_bytes(size, "big")


def rows_of(tensor: torch.Tensor) -> list[bytes]:
    """Big-endian bytes of each row, element by element."""
    if tensor.dim() == 0:
        return [element_bytes(tensor)]
    indices = itertools.product(*(range(size) for size in tensor.shape[:-1]))
    return [b"".join(element_bytes(element) for element in tensor[index]) for index in indices]


def chunks_of(row: bytes) -> list[bytes]:
    return [row[i : i + 256].ljust(256, b"\0") for i in range(0, len(row), 256)]


def fold(leaves: list[bytes]) -> bytes:
    while len(leaves) & (len(leaves) - 1):
        leaves = [*leaves, bytes(32)]
    while len(leaves) > 1:
        leaves = [keccak(left + right) for left, right in zip(leaves[::2], leaves[1::2], strict=True)]
    return leaves[0]


def packed_type(tensor: torch.Tensor) -> bytes:
    return struct.pack(f">BB{tensor.dim()}I", CODES[tensor.dtype], tensor.dim(), *tensor.shape)


def commitment(tensor: torch.Tensor) -> bytes:
    data_root = fold([fold([keccak(chunk) for chunk in chunks_of(row)]) for row in rows_of(tensor)])
    return keccak(keccak(b"TAO.tensor.v1") + packed_type(tensor) + data_root)


def log2_ceil(count: int) -> int:
    height = 0
    while 2**height < count:
        height += 1
    return height


def accepts(commitment: bytes, packed: bytes, leaf: int, opening: Opening) -> bool:
    """What a verifier that knows commitment and type makes of an opening said to begin at leaf `leaf`."""
    sizes = {0: 1, 1: 1, 2: 4, 3: 8, 4: 2, 5: 2, 6: 4, 7: 8, 8: 1, 9: 2}
    shape = struct.unpack(f">{packed[1]}I", packed[2:]) or (1,)
    chunks = -(-shape[-1] * sizes[packed[0]] // 256)
    rows = 1
    for size in shape[:-1]:
        rows *= size
    row_height, height = log2_ceil(chunks), log2_ceil(chunks) + log2_ceil(rows)
    row, first = divmod(leaf, 2**row_height)
    if row >= rows or first >= chunks or opening.level > row_height or first % 2**opening.level:
        return False
    real = min(first + 2**opening.level, chunks) - first
    if len(opening.data) != 256 * real or len(opening.path) != height - opening.level:
        return False
    leaves = [keccak(opening.data[i : i + 256]) for i in range(0, len(opening.data), 256)]
    node = fold(leaves + [bytes(32)] * (2**opening.level - real))
    index = leaf >> opening.level
    for sibling in opening.path:
        node = keccak(sibling + node if index % 2 else node + sibling)
        index //= 2
    return keccak(keccak(b"TAO.tensor.v1") + packed + node) == commitment
