"""Node records read back by hand from docs/protocol.md, independently of the code that packs them."""

from __future__ import annotations

import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class OperandField:
    source: int
    index: int
    type: tuple[int, tuple[int, ...]]
    strides: tuple[int, ...] | None
    lane_stride: int
    offset: int


@dataclass(frozen=True)
class Record:
    operator: bytes
    call: bytes
    outputs: tuple[tuple[int, tuple[int, ...]], ...]
    operands: tuple[OperandField, ...]
    reduction: int
    attributes: tuple[int, ...]
    live_before: int
    after: tuple[int, ...]


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        taken, self.data = self.data[:count], self.data[count:]
        assert len(taken) == count
        return taken

    def number(self, code: str) -> int:
        return struct.unpack(">" + code, self.take(struct.calcsize(">" + code)))[0]

    def type(self) -> tuple[int, tuple[int, ...]]:
        dtype, rank = self.number("B"), self.number("B")
        return dtype, tuple(self.number("I") for _ in range(rank))

    def operand(self) -> OperandField:
        source, index, kind, rank = self.number("B"), self.number("H"), self.type(), self.number("B")
        if rank == 0xFF:
            return OperandField(source, index, kind, None, 0, 0)
        strides = tuple(self.number("I") for _ in range(rank))
        return OperandField(source, index, kind, strides, self.number("I"), self.number("I"))


def parse(data: bytes) -> Record:
    reader = _Reader(data)
    record = Record(
        operator=reader.take(4),
        call=reader.take(32),
        outputs=tuple(reader.type() for _ in range(reader.number("B"))),
        operands=tuple(reader.operand() for _ in range(reader.number("B"))),
        reduction=reader.number("I"),
        attributes=tuple(reader.number("I") for _ in range(reader.number("B"))),
        live_before=reader.number("H"),
        after=tuple(reader.number("H") for _ in range(reader.number("H"))),
    )
    assert not reader.data
    return record
