"""The rounding log of a step: what a trainer rounded to where devices may round apart.

A value of the step's graph has the form of `tao.graph.log_format`, a file that of `encode`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import zstandard
from torch import Tensor

from tao.errors import TaoError
from tao.graph.log_format import ELEMENT_BITS, END, empty

_MAGIC = b"TAOLOG1\n"
_HEADER = struct.Struct(">8sQ32sQQ")  # magic, step, graph root, capacity, entries
_NO_ROOT = bytes(32)
_LEVEL = 19
_WORST = 10 + 5  # bytes an entry takes before compression


class LogError(TaoError):
    """A rounding log is malformed, too small or of another run."""


@dataclass(frozen=True)
class Entries:
    """A log read: int64 arrays of nodes, elements and float32 encodings, in the order of the keys."""

    nodes: np.ndarray
    elements: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.nodes)

    def of(self, node: int) -> tuple[np.ndarray, np.ndarray]:
        """Elements and encodings of one node."""
        start, stop = np.searchsorted(self.nodes, (node, node + 1))
        return self.elements[start:stop], self.values[start:stop]


def read(log: Tensor, step: int = 0) -> Entries:
    """The entries of a log that anybody may have written. Raises LogError where it is not int64[2, capacity],
    not in order, or holds what no entry is."""
    if log.dtype != torch.int64 or log.dim() != 2 or log.shape[0] != 2:
        raise LogError(f"the log of step {step} is {log.dtype}{list(log.shape)}, not int64[2, capacity]")
    keys, values = log.detach().cpu().contiguous().numpy()
    ends = np.flatnonzero(keys == END)
    count = int(ends[0]) if len(ends) else len(keys)
    if (keys[count:] != END).any() or values[count:].any():
        raise LogError(f"the log of step {step} goes on after its end, at entry {count}")
    keys, values = keys[:count].copy(), values[:count].copy()
    falls = np.flatnonzero(keys[1:] <= keys[:-1])
    if len(falls):
        at = int(falls[0]) + 1
        raise LogError(f"the log of step {step} is not in ascending order at entry {at}, {_place(keys[at])}")
    # Keys beyond all nodes are allowed: the contract minds them as little as those of other nodes.
    if count and keys[0] < 0:
        raise LogError(f"the log of step {step} has the key {keys[0]}, which names no node")
    wrong = np.flatnonzero((values < 0) | (values >= 2**32))
    if len(wrong):
        at = int(wrong[0])
        raise LogError(f"the log of step {step} has no float32 encoding for {_place(keys[at])}: {values[at]}")
    return Entries(keys >> ELEMENT_BITS, keys & ((1 << ELEMENT_BITS) - 1), values)


class Writer:
    """The log of one step in the making. Nodes may come in any order, elements of a node in ascending
    order."""

    def __init__(self, capacity: int, step: int = 0, names: Iterable[str] = ()) -> None:
        """names: of the graph's nodes, for messages."""
        self.capacity, self.step, self._names = capacity, step, list(names)
        self._parts: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def add(self, node: int, elements: Tensor, values: Tensor) -> None:
        """elements: int64. values: float32, on any device."""
        self._parts.setdefault(node, []).append((elements.cpu(), values.cpu()))

    @property
    def counts(self) -> dict[int, int]:
        """Entries by node."""
        return {node: sum(len(e) for e, _ in parts) for node, parts in self._parts.items()}

    def finish(self, into: Tensor | None = None) -> Tensor:
        """The log, int64[2, capacity]; written to `into` where that is given.

        Raises LogError where there are more entries than the capacity.
        """
        counts = self.counts
        total = sum(counts.values())
        if total > self.capacity:
            node = max(counts, key=counts.__getitem__)
            name = f" ({self._names[node]})" if node < len(self._names) else ""
            raise LogError(
                f"step {self.step} has {total} values near a rounding boundary, but the log holds "
                f"{self.capacity}; most, {counts[node]}, are of node {node}{name}. Trace the step again with "
                f"a log of at least {1 << total.bit_length()} entries, or keep that node's values in range"
            )
        log = empty(self.capacity)
        at = 0
        for node in sorted(self._parts):
            for elements, values in self._parts[node]:
                stop = at + len(elements)
                log[0, at:stop] = elements + (node << ELEMENT_BITS)
                log[1, at:stop] = values.contiguous().view(torch.int32).long() & 0xFFFFFFFF
                at = stop
        return log if into is None else into.copy_(log)


def encode(log: Tensor, step: int = 0, root: bytes = _NO_ROOT) -> bytes:
    """The file form: a header with the step and the graph's root, then the entries, compressed.

    Keys are differences, in groups of seven bits; of the encodings the bytes of equal weight stand together:
    signs and exponents compress, the lower two bytes are noise. Raises LogError for what `read` refuses.
    """
    entries = read(log, step)
    keys = entries.nodes << ELEMENT_BITS | entries.elements
    steps = np.diff(keys, prepend=np.int64(0)).astype(np.uint64)
    planes = entries.values.astype(">u4").view(np.uint8).reshape(-1, 4).T
    body = _varints(steps) + np.ascontiguousarray(planes).tobytes()
    header = _HEADER.pack(_MAGIC, step, root, log.shape[1], len(entries))
    return header + zstandard.ZstdCompressor(level=_LEVEL).compress(body)


def decode(data: bytes, step: int, capacity: int, root: bytes = _NO_ROOT) -> Tensor:
    """The log, int64[2, capacity], of a file that anybody may have written.

    Memory and time are bounded by the capacity. Raises LogError where the file is damaged, or of another
    step, graph or capacity."""
    if len(data) < _HEADER.size:
        raise LogError(f"the log of step {step} ends within its header")
    magic, its_step, its_root, its_capacity, count = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise LogError(f"the log of step {step} is no file of a rounding log")
    if (its_step, its_root, its_capacity) != (step, root, capacity):
        raise LogError(
            f"a log of step {its_step} of graph {its_root.hex()[:16]} with {its_capacity} entries stands for "
            f"step {step} of graph {root.hex()[:16]} with {capacity}"
        )
    if count > capacity:
        raise LogError(f"the log of step {step} has {count} entries; its capacity is {capacity}")
    body = _decompress(data[_HEADER.size :], count * _WORST, step)
    split = len(body) - 4 * count
    if split < 0:
        raise LogError(f"the log of step {step} ends before its {count} entries")
    steps = _read_varints(np.frombuffer(body, np.uint8, split), count, step)
    keys = np.cumsum(steps.astype(np.uint64), dtype=np.uint64)
    if (keys[1:] <= keys[:-1]).any() or (keys >= END).any():
        raise LogError(f"the log of step {step} has keys out of order")
    planes = np.frombuffer(body, np.uint8, 4 * count, split).reshape(4, count)
    log = empty(capacity)
    log[0, :count] = torch.from_numpy(keys.astype(np.int64))
    values = np.ascontiguousarray(planes.T).view(">u4").reshape(-1).astype(np.int64)
    log[1, :count] = torch.from_numpy(values)
    read(log, step)
    return log


def _decompress(data: bytes, most: int, step: int) -> bytes:
    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data, read_across_frames=False)
    try:
        body = reader.read(most + 1)
        trailing = len(body) <= most and reader.read(1)
    except zstandard.ZstdError as error:
        raise LogError(f"the log of step {step} cannot be decompressed: {error}") from error
    if len(body) > most or trailing:
        raise LogError(f"the log of step {step} is longer than its entries")
    return body


def _varints(numbers: np.ndarray) -> bytes:
    """Groups of seven bits, lowest first, the highest bit set on all but the last (LEB128)."""
    lengths = np.ones(len(numbers), np.int64)
    for group in range(1, 10):
        lengths += numbers >= np.uint64(1 << 7 * group)
    starts = np.cumsum(lengths) - lengths
    result = np.zeros(int(lengths.sum()), np.uint8)
    for group in range(int(lengths.max(initial=0))):
        has = lengths > group
        bits = (numbers[has] >> np.uint64(7 * group)) & np.uint64(0x7F)
        result[starts[has] + group] = bits | np.where(lengths[has] > group + 1, 0x80, 0).astype(np.uint64)
    return result.tobytes()


def _read_varints(data: np.ndarray, count: int, step: int) -> np.ndarray:
    last = np.flatnonzero(data < 0x80)
    if len(last) != count or (len(data) and data[-1] >= 0x80):
        raise LogError(f"the log of step {step} does not have the {count} keys it announces")
    starts = np.concatenate([[0], last[:-1] + 1]) if count else last
    lengths = last - starts + 1
    if (lengths > 9).any():
        raise LogError(f"the log of step {step} has a key of more than 63 bits")
    numbers = np.zeros(count, np.uint64)
    for group in range(int(lengths.max(initial=0))):
        has = lengths > group
        bits = data[starts[has] + group].astype(np.uint64) & np.uint64(0x7F)
        numbers[has] |= bits << np.uint64(7 * group)
    return numbers


def _place(key: int) -> str:
    return f"node {int(key) >> ELEMENT_BITS}, element {int(key) & (1 << ELEMENT_BITS) - 1}"
