"""The log's file form is short, gives the log back, and no bytes that anybody writes do more than raise."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch
import zstandard
from torch import Tensor

from tao.graph.log_format import ELEMENT_BITS, END, empty
from tao.training.log import LogError, Writer, decode, encode, read

CAPACITY = 1 << 14
ROOT = bytes(range(32))


def typical(entries: int = 10_000, seed: int = 0) -> Tensor:
    """Entries a few thousand elements apart in 40 nodes, with values as weights and activations have."""
    generator = torch.Generator().manual_seed(seed)
    writer = Writer(CAPACITY)
    for node in range(3, 43):
        gaps = torch.empty(entries // 40).exponential_(1 / 6000, generator=generator)
        elements = (gaps + 1).long().cumsum(0)
        writer.add(node, elements, torch.randn(entries // 40, generator=generator))
    return writer.finish()


def log_of(*entries: tuple[int, int], capacity: int = 8) -> Tensor:
    log = empty(capacity)
    log[:, : len(entries)] = torch.tensor(entries, dtype=torch.int64).view(-1, 2).T
    return log


@pytest.mark.parametrize("entries", (0, 40, 10_000))
def test_a_log_comes_back_from_its_file(entries: int) -> None:
    log = typical(entries)
    data = encode(log, 7, ROOT)
    assert torch.equal(decode(data, 7, CAPACITY, ROOT), log)


def test_the_largest_keys_and_values_come_back() -> None:
    log = log_of((0, 0), (1, 2**32 - 1), (2**61, 5), ((1 << 62) - 1, 2**31))
    assert torch.equal(decode(encode(log), 0, 8), log)


def test_an_entry_takes_less_than_six_bytes() -> None:
    data = encode(typical())
    assert len(data) / 10_000 < 5.7  # of 16 in memory
    assert len(encode(typical(0))) < 100


def test_a_writer_sorts_nodes() -> None:
    writer = Writer(4)
    writer.add(5, torch.tensor([1, 9]), torch.tensor([1.0, -2.0]))
    writer.add(2, torch.tensor([3]), torch.tensor([0.5]))
    entries = read(writer.finish())
    assert entries.nodes.tolist() == [2, 5, 5] and entries.elements.tolist() == [3, 1, 9]
    assert entries.values.tolist() == [0x3F000000, 0x3F800000, 0xC0000000]
    assert entries.of(5)[0].tolist() == [1, 9] and entries.of(4)[0].tolist() == []


def test_a_full_log_is_written_and_one_more_entry_is_not() -> None:
    writer = Writer(3, step=8, names=["log", "block:aten.mm.default"])
    writer.add(1, torch.arange(2), torch.ones(2))
    writer.add(0, torch.arange(1), torch.ones(1))
    assert len(read(writer.finish())) == 3
    writer.add(1, torch.tensor([7]), torch.ones(1))
    match = r"step 8 has 4 values .* holds 3; most, 3, are of node 1 \(block:aten.mm.default\).* least 8 "
    with pytest.raises(LogError, match=match):
        writer.finish()


@pytest.mark.parametrize(
    ("log", "match"),
    [
        (log_of((5, 1), (5, 1)), "not in ascending order at entry 1, node 0, element 5"),
        (log_of((6, 1), (5, 1)), "not in ascending order"),
        (log_of((-1, 1)), "names no node"),
        (log_of((1, 2**32)), r"no float32 encoding for node 0, element 1"),
        (log_of((1, -1)), "no float32 encoding"),
        (log_of((END, 0), (5, 1)), "goes on after its end, at entry 0"),
        (log_of((1, 1), (END, 3)), "goes on after its end, at entry 1"),
        (torch.zeros(2, 4), "is torch.float32"),
        (torch.zeros(3, 4, dtype=torch.int64), r"\[3, 4\], not int64"),
    ],
)
def test_what_is_no_log_is_refused(log: Tensor, match: str) -> None:
    with pytest.raises(LogError, match=match):
        read(log, 3)
    with pytest.raises(LogError, match="step 3"):
        encode(log, 3)


def test_a_key_beyond_every_node_is_an_entry_of_none() -> None:
    """The contract lets it stand; a log must not become unreadable by it."""
    entries = read(log_of((5, 0x3F800000), (1 << 62, 1)))
    assert entries.of(0)[0].tolist() == [5] and entries.nodes.tolist() == [0, 1 << 22]


def file(body: bytes, count: int, capacity: int = 8, step: int = 0) -> bytes:
    header = struct.pack(">8sQ32sQQ", b"TAOLOG1\n", step, bytes(32), capacity, count)
    return header + zstandard.ZstdCompressor().compress(body)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "ends within its header"),
        (bytes(200), "no file of a rounding log"),
        (file(b"", 9), "has 9 entries; its capacity is 8"),
        (file(b"", 2**63), "its capacity is 8"),
        (file(b"", 0, capacity=9), "stands for"),
        (file(b"", 0, step=1), "stands for"),
        (file(b"\x01" + bytes(4), 2), "ends before its 2 entries"),
        (file(b"\x01\x02" + bytes(4), 1), "does not have the 1 keys"),
        (file(b"\x81" + bytes(4), 1), "does not have the 1 keys"),
        (file(b"\x81" * 9 + b"\x01" + bytes(4), 1), "more than 63 bits"),
        (file(b"\xff" * 8 + b"\x7f" + bytes(4), 1), "out of order"),
        (file(b"\x05\x00" + bytes(8), 2), "out of order"),
        (file(bytes(10**7), 1), "longer than its entries"),
        (file(b"", 0) + b"more", "longer|cannot be decompressed"),
        (file(b"\x01" + bytes(4), 1)[:-3], "cannot be decompressed|ends"),
    ],
)
def test_hostile_files_are_refused(data: bytes, match: str) -> None:
    with pytest.raises(LogError, match=match):
        decode(data, 0, 8)


def test_a_log_of_another_step_or_graph_is_refused() -> None:
    data = encode(typical(), 3, ROOT)
    for step, root, capacity in ((4, ROOT, CAPACITY), (3, bytes(32), CAPACITY), (3, ROOT, CAPACITY * 2)):
        with pytest.raises(LogError, match="a log of step 3 of graph 00010203"):
            decode(data, step, capacity, root)


def test_no_changed_or_shortened_byte_does_more_than_raise() -> None:
    log = typical(400)
    data = encode(log)
    generator = np.random.default_rng(1)
    refused = 0
    for _ in range(1500):
        broken = bytearray(data)
        if generator.random() < 0.3:
            del broken[generator.integers(len(data)) :]
        else:
            broken[generator.integers(len(data))] ^= 1 << int(generator.integers(8))
        try:
            read(decode(bytes(broken), 0, CAPACITY))
        except LogError:
            refused += 1
    assert refused > 500


def test_a_bomb_is_not_unpacked() -> None:
    import resource

    bomb = file(bytes(1 << 28), 8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(LogError, match="longer than its entries"):
        decode(bomb, 0, 8)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB


def test_keys_name_node_and_element() -> None:
    writer = Writer(1)
    writer.add(3, torch.tensor([9]), torch.ones(1))
    assert writer.finish()[0, 0].item() == 3 << ELEMENT_BITS | 9
