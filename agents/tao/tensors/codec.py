"""Types of tensors and their canonical bytes (docs/protocol.md, section 1)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch

from tao.errors import InvalidTensor

CHUNK = 256
"""Bytes under one leaf of a tensor's tree."""


class DType(IntEnum):
    """The committed code of an element type."""

    BOOL = 0
    INT8 = 1
    INT32 = 2
    INT64 = 3
    FLOAT16 = 4
    BFLOAT16 = 5
    FLOAT32 = 6
    FLOAT64 = 7
    UINT8 = 8
    INT16 = 9

    @classmethod
    def of(cls, dtype: torch.dtype) -> DType:
        """The code of a torch dtype; InvalidTensor where it has none."""
        if dtype not in _CODES:
            known = ", ".join(code.name.lower() for code in cls)
            raise InvalidTensor(f"dtype {_short(dtype)} cannot be committed; convert it to one of {known}")
        return _CODES[dtype]

    @property
    def torch(self) -> torch.dtype:
        return _TORCH[self]

    @property
    def size(self) -> int:
        """Bytes per element."""
        return _TORCH[self].itemsize


_TORCH = {code: getattr(torch, code.name.lower()) for code in DType}
_CODES = {dtype: code for code, dtype in _TORCH.items()}


@dataclass(frozen=True)
class TensorType:
    """Element type and shape. A row is the last dimension; rank 0 is one row of one element.

    Raises InvalidTensor for an empty shape and for sizes that the packed form cannot hold.
    """

    dtype: DType
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.shape) > 0xFF:
            raise InvalidTensor(f"rank {len(self.shape)} is above 255; merge some dimensions")
        for size in self.shape:
            if size == 0:
                raise InvalidTensor(
                    f"shape {self.shape} is empty and cannot be committed; leave the tensor out"
                )
            if not 0 < size < 2**32:
                raise InvalidTensor(
                    f"size {size} in shape {self.shape} is outside 1..2^32-1; split the tensor"
                )

    @classmethod
    def of(cls, tensor: torch.Tensor) -> TensorType:
        """The type of a dense tensor; InvalidTensor for sparse, nested, empty ones and the like."""
        if not isinstance(tensor, torch.Tensor):
            raise InvalidTensor(
                f"{type(tensor).__name__} is no torch.Tensor; convert it with torch.as_tensor"
            )
        if tensor.layout != torch.strided or tensor.is_nested:
            kind = "nested" if tensor.is_nested else _short(tensor.layout)
            raise InvalidTensor(f"layout {kind} cannot be committed; make the tensor dense first (to_dense)")
        return cls(DType.of(tensor.dtype), tuple(int(size) for size in tensor.shape))

    def pack(self) -> bytes:
        """`uint8 dtype, uint8 rank, uint32[rank] shape`, big-endian."""
        return struct.pack(f">BB{len(self.shape)}I", self.dtype, len(self.shape), *self.shape)

    @classmethod
    def unpack(cls, data: bytes) -> TensorType:
        """Inverse of `pack`; InvalidTensor for anything `pack` does not give."""
        if len(data) < 2 or len(data) != 2 + 4 * data[1]:
            raise InvalidTensor(f"{len(data)} bytes are no packed tensor type; expected 2 + 4 * rank")
        if data[0] not in set(DType):
            raise InvalidTensor(f"{data[0]} is not a dtype code; codes are 0 to {max(DType)}")
        return cls(DType(data[0]), struct.unpack(f">{data[1]}I", data[2:]))

    def __str__(self) -> str:
        """Such as `float32[2, 8]`."""
        return f"{self.dtype.name.lower()}{list(self.shape)}"

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def rows(self) -> int:
        return math.prod(self.shape[:-1])

    @property
    def row_length(self) -> int:
        """Elements per row."""
        return self.shape[-1] if self.shape else 1

    @property
    def row_size(self) -> int:
        """Bytes per row, without the filling of its last chunk."""
        return self.row_length * self.dtype.size

    @property
    def chunks_per_row(self) -> int:
        return -(-self.row_size // CHUNK)

    @property
    def row_height(self) -> int:
        """Levels from a leaf to its row root."""
        return (self.chunks_per_row - 1).bit_length()

    @property
    def height(self) -> int:
        """Levels from a leaf to the data root."""
        return self.row_height + (self.rows - 1).bit_length()


def raw_bytes(tensor: torch.Tensor) -> np.ndarray:
    """Elements as uint8[numel * size] in row-major order and the machine's byte order.

    A view of the tensor's memory where that is dense and on the CPU, else a copy.
    """
    if tensor.is_meta:
        raise InvalidTensor("a tensor on the meta device has no values; materialise it first")
    # A conjugate's imaginary part carries a pending negation, which a view of its bytes would miss.
    dense = tensor.detach().resolve_neg().cpu().contiguous()
    # A dimension of one element may keep any stride in a contiguous tensor, and then refuses the byte view.
    return dense.as_strided((dense.numel(),), (1,)).view(torch.uint8).numpy()


def encode(tensor: torch.Tensor) -> bytes:
    """Big-endian elements in row-major order, whatever the strides; every NaN keeps its bits.

    Raises InvalidTensor for tensors that cannot be committed.
    """
    size = TensorType.of(tensor).dtype.size
    return raw_bytes(tensor).view(f"=i{size}").astype(f">i{size}", copy=False).tobytes()


def decode(data: bytes, tensor_type: TensorType) -> torch.Tensor:
    """Inverse of `encode`: a new contiguous tensor on the CPU.

    Raises InvalidTensor where the bytes are too many or too few, or a bool is neither 0 nor 1.
    """
    size = tensor_type.dtype.size
    if len(data) != tensor_type.numel * size:
        raise InvalidTensor(f"{len(data)} bytes given for {tensor_type}; expected {tensor_type.numel * size}")
    elements = np.frombuffer(data, dtype=f">i{size}").astype(f"=i{size}")
    if tensor_type.dtype is DType.BOOL and not np.isin(elements, (0, 1)).all():
        raise InvalidTensor("a bool is neither 0 nor 1; the bytes do not encode a bool tensor")
    return torch.from_numpy(elements).view(tensor_type.dtype.torch).reshape(tensor_type.shape)


def _short(name: object) -> str:
    return str(name).removeprefix("torch.")
