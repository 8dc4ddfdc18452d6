"""Operators that move elements against torch itself: what torch puts somewhere stands, and is refuted with
a bit changed. Where an element comes from is told by torch too, which moves the numbers of the elements.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from eth_abi import encode

from support.encoding import Map, Operand, Record, Tensor, operator_code

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
SAMPLE = 100 if DEEP else 6
"""Elements of a scenario that are disputed, honest and changed; fewer where the output is smaller."""

PROOF = "(uint256,(bytes,bytes32[],bytes32[])[],(bytes,bytes32[]))"
TYPES = (
    torch.bool,
    torch.int8,
    torch.uint8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.float32,
    torch.float64,
)


@dataclass(frozen=True)
class Scenario:
    """A call of an operator as its record tells it.

    moved: tensors that elements are taken from, with a map each; indices: the index tensors with theirs.
    call: the call on tensors in place of those that are moved.
    """

    operator: str
    moved: tuple[torch.Tensor, ...]
    maps: tuple[Map, ...]
    call: Callable[..., torch.Tensor]
    attributes: tuple[int, ...] = ()
    indices: tuple[torch.Tensor, ...] = ()
    index_maps: tuple[Map, ...] = ()


def values(random: np.random.Generator, dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """Any elements of a type."""
    if dtype == torch.bool:
        return torch.from_numpy(random.integers(0, 2, shape).astype(bool))
    size = dtype.itemsize
    count = int(np.prod(shape))
    raw = torch.from_numpy(np.frombuffer(random.bytes(size * count), f"i{size}").copy())
    return raw.view(dtype).reshape(shape)


def view_map(view: torch.Tensor) -> Map:
    """The map of a view of a contiguous tensor, over its own dimensions."""
    return Map(tuple(view.stride()), 0, view.storage_offset())


def copies(random: np.random.Generator, dtype: torch.dtype) -> Scenario:
    base = values(random, dtype, 4, 6, 5)
    views = (
        lambda x: x.permute(2, 0, 1),
        lambda x: x[1:3, ::2, 1:],
        lambda x: x[:, :1].expand(4, 7, 5),
        lambda x: x.diagonal(0, 0, 1),
    )
    view = views[random.integers(len(views))]
    return Scenario("copy", (base,), (view_map(view(base)),), lambda x: view(x).contiguous())


def concatenation(random: np.random.Generator, dtype: torch.dtype) -> Scenario:
    axis, count = int(random.integers(3)), int(random.integers(1, 6))
    tensors, starts = [], [0]
    for _ in range(count):
        shape = [2, 3, 4]
        shape[axis] = int(random.integers(1, 4))
        tensors.append(values(random, dtype, *shape[::-1]))
        starts.append(starts[-1] + shape[axis])
    maps = tuple(view_map(x.permute(2, 1, 0)) for x in tensors)
    return Scenario(
        "aten.cat.default",
        tuple(tensors),
        maps,
        lambda *x: torch.cat([each.permute(2, 1, 0) for each in x], axis),
        (axis, *starts[1:-1]),
    )


def padding(random: np.random.Generator, dtype: torch.dtype) -> Scenario:
    operator = ("aten.pad.default", "aten.constant_pad_nd.default")[random.integers(2)]
    number = (0.0, -1.5, 0.1, float("-inf"), float("nan"), 1e-40)[random.integers(6)]
    base = values(random, torch.float32, 3, 4, 5)
    pads = random.integers(-1, 4, 4).tolist()
    view = base.transpose(0, 1)  # [4, 3, 5]
    attributes = [int(np.float32(number).view(np.uint32)), 0, 4]
    offset = 0
    # A negative padding leaves elements out: the map begins, or ends, further inside.
    for d, (before, after) in ((1, pads[2:]), (2, pads[:2])):
        attributes += [max(before, 0), view.shape[d] + min(before, 0) + min(after, 0)]
        offset += max(-before, 0) * view.stride(d)
    name = operator.split(".")[1]
    aten = getattr(torch.ops.aten, name).default

    def call(x: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.float32:
            return aten(x.transpose(0, 1), pads, value=-1)
        extra = ("constant",) if name == "pad" else ()
        return aten(x.transpose(0, 1), pads, *extra, number)

    return Scenario(operator, (base,), (Map(tuple(view.stride()), 0, offset),), call, tuple(attributes))


def upsampling(random: np.random.Generator, dtype: torch.dtype) -> Scenario:
    base = values(random, torch.float32, 2, 3, 4, 2)
    view = base.permute(0, 3, 1, 2)
    factors = [int(random.choice([1, 2, 3, 5, 7, 10, 32])) for _ in range(2)]
    given = (1, 1, *factors)
    size = [3 * factors[0], 4 * factors[1]]
    form = ("vec", "default", "sizes")[random.integers(3)]

    def call(x: torch.Tensor) -> torch.Tensor:
        x = x.permute(0, 3, 1, 2).to(torch.float32 if x.dtype == torch.float32 else torch.float64)
        if form == "vec":
            return torch.ops.aten.upsample_nearest2d.vec(x, None, [float(f) for f in factors])
        if form == "sizes":
            return torch.ops.aten.upsample_nearest2d.vec(x, size, None)
        return torch.ops.aten.upsample_nearest2d.default(x, size)

    operator = f"aten.upsample_nearest2d.{'default' if form == 'default' else 'vec'}"
    return Scenario(operator, (base,), (Map(tuple(view.stride())),), call, given)


def embedding(random: np.random.Generator, dtype: torch.dtype) -> Scenario:
    table = values(random, dtype, 9, 70)
    index = torch.from_numpy(random.integers(0, 9, (3, 4)).astype(random.choice(["i4", "i8"])))
    return Scenario(
        "aten.embedding.default",
        (table,),
        (Map((0, 0, 1)),),
        lambda x: torch.ops.aten.embedding.default(x, index),
        (70, 9),
        (index,),
        (Map((4, 1, 0)),),
    )


def gathering(random: np.random.Generator, dtype: torch.dtype) -> Scenario:
    table = values(random, dtype, 4, 5, 6)
    axis = int(random.integers(3))
    shape = [3, 4, 2]
    index = torch.from_numpy(random.integers(0, table.shape[axis], shape))
    strides = list(table.stride())
    attributes = (strides[axis], table.shape[axis])
    strides[axis] = 0
    return Scenario(
        "aten.gather.default",
        (table,),
        (Map(tuple(strides)),),
        lambda x: torch.ops.aten.gather.default(x, axis, index),
        attributes,
        (index,),
        (view_map(index),),
    )


def selection(random: np.random.Generator, dtype: torch.dtype) -> Scenario:
    table = values(random, dtype, 4, 5, 6)
    axis = int(random.integers(3))
    index = torch.from_numpy(random.integers(0, table.shape[axis], 7).astype(random.choice(["i4", "i8"])))
    strides = list(table.stride())
    attributes = (strides[axis], table.shape[axis])
    strides[axis] = 0
    along = tuple(int(d == axis) for d in range(3))
    return Scenario(
        "aten.index_select.default",
        (table,),
        (Map(tuple(strides)),),
        lambda x: torch.ops.aten.index_select.default(x, axis, index),
        attributes,
        (index,),
        (Map(along),),
    )


def indexing(random: np.random.Generator, dtype: torch.dtype) -> Scenario:
    """table[:, i, j] with i [3, 1] and j [4], negative ones among them: [6, 3, 4]."""
    table = values(random, dtype, 6, 5, 7)
    i = torch.from_numpy(random.integers(-5, 5, (3, 1)))
    j = torch.from_numpy(random.integers(-7, 7, 4).astype(random.choice(["i4", "i8"])))
    return Scenario(
        "aten.index.Tensor",
        (table,),
        (Map((35, 0, 0)),),
        lambda x: torch.ops.aten.index.Tensor(x, [None, i, j]),
        (7, 5, 1, 7),
        (i, j),
        (Map((0, 1, 0)), Map((0, 0, 1))),
    )


ANY_TYPE = (copies, concatenation, embedding, gathering, selection, indexing)
FLOAT32 = (padding, upsampling)
CASES = [(kind, dtype) for kind in ANY_TYPE for dtype in TYPES] + [(kind, torch.float32) for kind in FLOAT32]


@pytest.fixture(scope="module")
def adjudicator(deployment):
    """The contract alone."""
    return SimpleNamespace(wire=deployment.wire, contract=deployment.movement)


def sources(scenario: Scenario) -> np.ndarray:
    """For each output element, the number of the element it comes from among all that are moved, or -1."""
    numbers, first = [], 0
    for tensor in scenario.moved:
        numbers.append(torch.arange(first, first + tensor.numel()).reshape(tensor.shape))
        first += tensor.numel()
    return scenario.call(*numbers).to(torch.int64).flatten().numpy()


def read_position(index_map: Map, shape: Sequence[int], element: int) -> int:
    coordinates = np.unravel_index(element, shape)
    return index_map.offset + sum(int(o) * s for o, s in zip(coordinates, index_map.strides, strict=True))


def refutes(
    adjudicator, scenario: Scenario, operands: list[Tensor], output: Tensor, element: int, source: int
):
    """The adjudicator's answer, with openings of what the element reads and empty ones of the rest."""
    maps = (*scenario.maps, *scenario.index_maps)
    described = tuple(
        Operand(False, i, t.type, m) for i, (t, m) in enumerate(zip(operands, maps, strict=True))
    )
    record = Record(
        scenario.operator,
        bytes(32),
        (output.type,),
        described,
        0,
        len(operands),
        (0x8000,),
        scenario.attributes,
    )
    openings: list[tuple[bytes, list[bytes], list[bytes]]] = []
    for i, tensor in enumerate(operands):
        if i < len(scenario.moved):
            position, source = source, source - tensor.array.size
        else:
            position = read_position(maps[i], output.array.shape, element)
        opened = tensor.open(position)[1:] if 0 <= position < tensor.array.size else (b"", [])
        openings.append((*opened, []))
    proof = encode([PROOF], [(element, openings, output.open(element)[1:])])
    leaf = (record.packed, [t.commitment for t in operands], [output.commitment], bytes(32), 0)
    return adjudicator.wire.call(adjudicator.contract, "refutes", leaf, proof)


def changed(random: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """Every element with one bit flipped, or another number where that leaves a zero zero or a NaN a NaN."""
    if array.dtype == bool:
        return ~array
    size = array.itemsize
    raw = array.reshape(-1).view(f"u{size}")
    bits = np.uint64(1) << random.integers(0, 8 * size, raw.shape).astype(np.uint64)
    other = (raw ^ bits.astype(raw.dtype)).view(array.dtype)
    if array.dtype.kind == "f":
        flat = array.reshape(-1)
        alike = (other == flat) | (np.isnan(other) & np.isnan(flat))
        other = np.where(alike, np.where(flat == 1, 2, 1).astype(array.dtype), other)
    return other.reshape(array.shape)


def test_the_contract_lists_the_operators_tested_here(adjudicator):
    random = np.random.default_rng(1)
    names = {kind(random, torch.int32).operator for kind in (*ANY_TYPE, *FLOAT32) for _ in range(20)}
    listed = [bytes(code) for code in adjudicator.wire.call(adjudicator.contract, "operators")]
    assert sorted(listed) == sorted(map(operator_code, names))


@pytest.mark.parametrize("kind, dtype", CASES)
def test_what_torch_moves_there_stands_and_everything_else_is_refuted(adjudicator, kind, dtype):
    random = np.random.default_rng([*kind.__name__.encode(), dtype.itemsize])
    for _ in range(2 if kind in ANY_TYPE else 8):
        scenario = kind(random, dtype)
        honest = scenario.call(*scenario.moved).contiguous().numpy()
        right, wrong = Tensor(honest), Tensor(changed(random, honest))
        operands = [Tensor(x.numpy()) for x in (*scenario.moved, *scenario.indices)]
        origin = sources(scenario)
        for element in random.permutation(honest.size)[:SAMPLE].tolist():
            source = int(origin[element])
            assert not refutes(adjudicator, scenario, operands, right, element, source), (scenario, element)
            assert refutes(adjudicator, scenario, operands, wrong, element, source), (scenario, element)


def test_the_nearest_index_is_exact_for_every_factor_and_extent_that_the_contract_takes():
    coordinates = np.arange(2**20)
    for factor in range(1, 33):
        for scale in (np.float32(1 / factor), np.float32(1) / np.float32(factor)):
            nearest = np.floor(coordinates.astype(np.float32) * scale).astype(int)
            assert (nearest == coordinates // factor).all(), factor
    beyond = np.floor(coordinates.astype(np.float32) * np.float32(1 / 41)).astype(int)
    assert (beyond != coordinates // 41).any()
