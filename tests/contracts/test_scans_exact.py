"""Running sums, minima and positions of extrema over rows along any dimension, decided by the deployed contract:
running sums against rationals, minima and positions against torch and against the first of the best lanes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
import torch
from eth_abi import encode

from contracts.test_convolution_exact import claims
from support.encoding import Map, Operand, Record, Tensor, Type, merkle_root
from support.images import gamma
from support.oracle import SMALLEST_NORMAL
from support.proofs import OPERAND, OUTPUT
from support.raises import refused
from support.wire import Reverted

GAS = 100_000_000
FLOATS, INTEGERS = (np.float32, np.float64, np.float16), (np.int64, np.int32, np.int8, np.uint8)
WEIGHTS = [b"\1" * 32]


def leaf(
    operator: str, x: Tensor, y: Tensor, index_map: Map, lanes: int, attributes: tuple[int, ...]
) -> tuple:
    operand = Operand(False, 1, Type.of(x.array), index_map)
    record = Record(operator, bytes(32), (Type.of(y.array),), (operand,), lanes, 2, (0x8000,), attributes)
    return record.packed, [b"\2" * 32, x.commitment], [y.commitment], merkle_root(WEIGHTS), 1


def proof(x: Tensor, y: Tensor, element: int, hint: int, runs: list[tuple[int, int]]) -> bytes:
    opened = [(*x.open(first, length)[1:], []) for first, length in runs]
    _, *output = y.open(element)
    return encode([f"(uint256,uint256,{OPERAND}[],{OUTPUT})"], [(element, hint, opened, tuple(output))])


@pytest.fixture
def ask(deployment):
    def call(leaf: tuple, proof: bytes) -> bool:
        return deployment.wire.call(deployment.reduction, "refutes", leaf, proof, gas=GAS)

    return call


# ---- running sums


def rows(random: np.random.Generator, n: int) -> Iterator[np.ndarray]:
    """[2, 3, n] of ordinary and of adversarial numbers."""
    normal = random.normal(0, 1, (2, 3, n))
    yield normal
    yield normal * 2.0 ** random.integers(-60, 60, normal.shape)
    yield normal * 2.0**-130
    yield np.concatenate([normal[..., : n // 2] * 1e6, -normal[..., n // 2 :] * 1e6], -1)
    yield np.where(random.random(normal.shape) < 0.3, 1e30, normal)


def running_sums(x: np.ndarray) -> Iterator[np.ndarray]:
    """By torch, along this dimension and another one, and by adding one number after the other."""
    given = torch.from_numpy(x)
    yield given.cumsum(-1).numpy()
    yield given.movedim(-1, 0).contiguous().cumsum(0).movedim(0, -1).contiguous().numpy()
    yield np.add.accumulate(x, -1, dtype=np.float32)
    torch.set_flush_denormal(True)
    try:
        yield given.cumsum(-1).numpy()
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_running_sums_are_refuted_outside_the_bound_and_never_inside(ask, n):
    random, seen = np.random.default_rng(n), Counter()

    def refuted(x: Tensor, y: np.ndarray, element: int, hint: int) -> bool:
        output, (row, lane) = Tensor(y), divmod(element, n)
        given = leaf("aten.cumsum.default", x, output, Map((3 * n, n, 0), 1), n, (2,))
        return ask(given, proof(x, output, element, hint, [(row * n, lane + 1)]))

    for values in rows(random, n):
        x = values.astype(np.float32)
        committed = Tensor(x)
        results = [np.ascontiguousarray(y) for y in running_sums(x)]
        for element in {0, x.size - 1, *(int(e) for e in random.integers(0, x.size, 4))}:
            row, lane = divmod(element, n)
            added = x.reshape(-1, n)[row, : lane + 1]
            window = max(1, int((added.view(np.uint32) >> 23 & 0xFF).max()) - 63)
            terms = [Fraction(float(v)) for v in added]
            exact, total, count = sum(terms), sum(map(abs, terms)), lane + 1
            small = sum(abs(t) for t in terms if abs(t) < SMALLEST_NORMAL)
            tolerance = gamma(count - 1) * total + count * SMALLEST_NORMAL + small

            for y in results:
                assert not refuted(committed, y, element, window)
                seen["honest"] += 1
            y = results[0].copy()
            for claim in claims(exact, tolerance):
                y.ravel()[element] = claim
                excess = abs(Fraction(float(claim)) - exact) / tolerance
                assert excess <= 1 or excess > 1 + Fraction(1, 2**15)
                assert refuted(committed, y, element, window) == (excess > 1), float(excess)
                seen[excess > 1] += 1
            for hint in (1, window + 1, window + 20, window + 63):
                try:
                    assert not refuted(committed, results[0], element, hint)
                except Reverted as reverted:
                    assert reverted.error in ("WindowTooLow", "WindowOutOfRange")
    assert min(seen.values()) > 40, seen


def test_a_running_sum_along_another_dimension_reads_its_own_row(ask):
    """x is committed with the summed dimension last; the output is [3, 4, 2], summed along dimension 1."""
    x, y = Tensor(np.arange(24, dtype=np.float32).reshape(3, 2, 4)), np.zeros((3, 4, 2), np.float32)
    y[:] = x.array.cumsum(-1).transpose(0, 2, 1)
    for element in range(24):
        a, b, c = (int(i) for i in np.unravel_index(element, y.shape))
        for change in (0, 1):
            claimed = y.copy()
            claimed[a, b, c] += change
            output = Tensor(claimed)
            given = leaf("aten.cumsum.default", x, output, Map((8, 0, 4), 1), 4, (1,))
            assert ask(given, proof(x, output, element, 70, [(8 * a + 4 * c, b + 1)])) == bool(change)


def test_records_that_are_no_running_sums_are_refused(ask):
    x, output = Tensor(np.ones((2, 4), np.float32)), Tensor(np.ones((2, 4), np.float32))
    opened = proof(x, output, 0, 70, [(0, 1)])
    for index_map, lanes, attributes in (
        (Map((4, 0), 1), 4, (2,)),  # no such dimension
        (Map((4, 0), 1), 3, (1,)),  # of another length
        (Map((4, 1), 1), 4, (1,)),  # sums that begin elsewhere
    ):
        with refused("NotARunningSum", attributes[0]):
            ask(leaf("aten.cumsum.default", x, output, index_map, lanes, attributes), opened)
    with refused("WrongAttributeCount", 0, 1):
        ask(leaf("aten.cumsum.default", x, output, Map((4, 0), 1), 4, ()), opened)


# ---- minima


@pytest.mark.parametrize("operator", ["aten.amin.default", "aten.min.default", "aten.max.default"])
def test_extrema_are_exact_up_to_subnormals(ask, operator):
    random, function, seen = np.random.default_rng(5), np.max if "max" in operator else np.min, Counter()
    for _ in range(60):
        row = (random.normal(0, 1, 5) * 2.0 ** random.choice([-140, 0, 80])).astype(np.float32)
        row[random.random(5) < 0.2] = random.choice(np.array([0.0, -0.0, np.inf, -np.inf], np.float32))
        x, true = Tensor(row), function(row)
        for claim in (true, np.nextafter(true, np.float32(9)), -true, row[0], np.float32(np.nan)):
            output = Tensor(np.array(claim, np.float32))
            small = max(abs(claim), abs(true)) < np.float32(2.0**-126)
            found = ask(leaf(operator, x, output, Map((), 1), 5, ()), proof(x, output, 0, 0, [(0, 5)]))
            assert found == (claim != true and not small), (row, claim)
            seen[found] += 1
    assert min(seen.values()) > 50


def test_a_row_with_a_nan_has_no_minimum_that_is_refuted(ask):
    for bits in (0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF):
        x = Tensor(np.array([1, 2, bits, 3], np.uint32).view(np.float32))
        for claim in (0.0, np.nan, -np.inf):
            output = Tensor(np.array(claim, np.float32))
            given = leaf("aten.amin.default", x, output, Map((), 1), 4, ())
            assert not ask(given, proof(x, output, 0, 0, [(0, 4)]))


# ---- positions


def first_best(row: np.ndarray, least: bool) -> int:
    """The first of the best lanes, any NaN being the best."""
    if row.dtype.kind == "f" and np.isnan(row).any():
        return int(np.isnan(row).argmax())
    return int(row.argmin() if least else row.argmax())


def flush(row: np.ndarray) -> np.ndarray:
    if row.dtype.kind != "f" or row.dtype == np.float16:
        return row
    return np.where(np.abs(row) < np.finfo(row.dtype).tiny, 0, row).astype(row.dtype)


def drawn_row(random: np.random.Generator, dtype: type, n: int) -> np.ndarray:
    """Few different numbers, so that there are ties; of floats also infinities, NaNs, zeros and subnormals."""
    if dtype in INTEGERS:
        limits = np.iinfo(dtype)
        pool = np.array([limits.min, limits.max, 0, 1, limits.max - 1], dtype)
        return pool[random.integers(0, len(pool), n)]
    tiny = np.finfo(dtype).tiny
    pool = np.array([0.0, -0.0, tiny / 2, tiny / 4, -tiny / 2, tiny, -tiny, 1, 1.5, -2], dtype)
    row = pool[random.integers(0, int(random.integers(1, len(pool) + 1)), n)]
    if random.integers(3) == 0:
        row[random.integers(n)] = random.choice([np.inf, -np.inf, np.nan])
    return row


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
@pytest.mark.parametrize("least", [False, True])
def test_a_position_is_refuted_iff_another_lane_is_better_or_first(ask, dtype, least):
    random, seen = np.random.default_rng([least, np.dtype(dtype).num]), Counter()
    operator, function = (
        f"aten.arg{'min' if least else 'max'}.default",
        torch.argmin if least else torch.argmax,
    )
    for _ in range(12):
        n = int(random.integers(1, 9))
        row = drawn_row(random, dtype, n)
        x, best = Tensor(row[None]), first_best(row, least)
        assert int(function(torch.from_numpy(row))) == best
        kernels = {best, first_best(flush(row), least)}
        for claim in (*range(n), -1, n, 2**63 - 1, -(2**63)):
            output = Tensor(np.array([claim], np.int64))
            given = leaf(operator, x, output, Map((n,), 1), n, ())
            inside = 0 <= claim < n
            found = [
                ask(given, proof(x, output, 0, j, [(claim, 1), (j, 1)] if inside else [])) for j in range(n)
            ]
            assert not (claim in kernels and any(found)), (row, claim, found)
            # Zeros and numbers that kernels take for zero decide nothing among themselves.
            zero = inside and row.dtype.kind == "f" and flush(row)[claim] == 0 == flush(row)[best]
            if claim not in kernels and not zero:
                assert any(found), (row, claim)
            seen[any(found)] += 1
    assert min(seen.values()) >= 12, seen


def test_a_position_among_zeros_is_left_to_the_committee(ask):
    x, output = Tensor(np.zeros((1, 4), np.float32)), Tensor(np.array([2], np.int64))
    given = leaf("aten.argmax.default", x, output, Map((4,), 1), 4, ())
    assert not ask(given, proof(x, output, 0, 0, [(2, 1), (0, 1)]))


def test_proofs_about_positions_open_two_lanes_of_the_row(ask):
    x, output = Tensor(np.arange(8, dtype=np.float32).reshape(2, 4)), Tensor(np.array([1, 0], np.int64))
    given = leaf("aten.argmax.default", x, output, Map((4,), 1), 4, ())
    assert ask(given, proof(x, output, 0, 3, [(1, 1), (3, 1)]))
    with refused("WrongLane", 4, 4):  # the next row's first lane is larger
        ask(given, proof(x, output, 0, 4, [(1, 1), (4, 1)]))
    with refused("WrongOpeningCount", 1, 2):
        ask(given, proof(x, output, 0, 3, [(1, 1)]))
    floats = Tensor(np.array([1, 0], np.float32))
    with refused("WrongOutputType", 6):
        ask(
            leaf("aten.argmax.default", x, floats, Map((4,), 1), 4, ()),
            proof(x, floats, 0, 3, [(1, 1), (3, 1)]),
        )
