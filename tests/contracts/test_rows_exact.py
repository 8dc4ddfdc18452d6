"""The rules of softmax, log_softmax, sum, mean, 2-norm and amax against Arb: nothing within tolerance is
refuted, not with a hostile hint either, and everything beyond it by more than a hair's breadth is.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from flint import arb

from support import exact_rows as reference
from support.exact_elementwise import Bound, is_finite
from support.exact_rows import Row
from support.floats import around, bits_of, floats_of
from support.harness import harness

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
ROUNDS = 6 if DEEP else 1
"""How often rows of every length and kind are drawn."""
GAS = 10_000_000_000
HAIR = 1 + arb(2) ** -16
"""Out of tolerance by this factor, refutation is required."""

INFINITY, NAN, NEGATIVE_NAN, NEGATIVE_INFINITY, SIGN = (
    0x7F800000,
    0x7FC00000,
    0xFFC00000,
    0xFF800000,
    0x80000000,
)
LOWEST = float(np.finfo(np.float32).min)
SOFT, SUMS = ("softmax", "log_softmax"), ("sum", "mean", "norm")
STANDS, REFUTED, REVERTED = range(3)


@pytest.fixture(scope="module")
def batch(wire, people):
    """The harness over the libraries."""
    return harness(wire, people, "RowBatch")


def encode(row: Row) -> bytes:
    return np.asarray(row.bits, ">u4").tobytes()


def verdicts(batch, name: str, row: Row, cases: Sequence[tuple[int, int, int]]) -> bytes:
    """STANDS, REFUTED or REVERTED for each case of lane, hint and y."""
    return batch.wire.call(
        batch.contract, "refutes", name, [encode(row)], [(0, *case) for case in cases], gas=GAS
    )


# ---- rows


def special_rows(n: int) -> Iterator[list[int]]:
    """Equal lanes, zeros, extremes."""
    for x in (0.0, -0.0, 1.0, -3.5, LOWEST, -LOWEST, 2.0**-126, -(2.0**-127), 2.0**-149, 1e19, 1e-23):
        yield bits_of(np.full(n, x))


def rows(random: np.random.Generator, n: int) -> Iterator[Row]:
    """Rows of ordinary numbers and adversarial ones."""
    normal = random.normal(0, 1, n)
    for scale in (1e-3, 1.0, 20.0, 3000.0, 1e30):
        yield Row(bits_of(normal * scale))
    yield Row(bits_of(normal - 1e4))
    yield Row(bits_of(np.abs(normal) + 100))
    outlier, lane = normal.copy(), int(random.integers(n))
    for x in (90.0, 1e4, 3e38, -3e38):
        outlier[lane] = x
        yield Row(bits_of(outlier))
    mask = random.random(n) < 0.6
    mask[lane] = False
    yield Row(bits_of(np.where(mask, LOWEST, normal)))
    yield Row(bits_of(np.where(mask, -np.inf, 10 * normal)))
    yield Row(bits_of(np.where(mask, -1e9, normal)))
    subnormal = random.integers(0, 2**23, n) | random.integers(0, 2, n) << 31
    yield Row(subnormal.tolist())
    yield Row((subnormal & 0xFF).tolist())
    yield Row(np.where(mask, subnormal, bits_of(normal * 2.0**-125)).tolist())
    yield Row(bits_of(normal * 2.0 ** random.integers(-125, 126, n)))
    yield Row(bits_of(normal * 2.0 ** random.integers(-50, -30, n)))
    yield Row(bits_of(-np.abs(normal) * 2.0 ** random.integers(-2, 5, n)))
    halves = random.normal(0, 1e6, n - n // 2)
    yield Row(bits_of(np.concatenate([halves, -halves[: n // 2] * (1 + 1e-6)])))
    yield Row(random.integers(0, 2**32, n).tolist())
    yield Row(((random.integers(0, 2**32, n) & 0x807FFFFF) | random.integers(60, 66) << 23).tolist())
    for bits in special_rows(n):
        if n < 100 or random.random() < 0.2:
            yield Row(bits)


def all_rows(name: str) -> Iterator[tuple[np.random.Generator, Row]]:
    random = np.random.default_rng(list(name.encode()))
    for _ in range(ROUNDS):
        for n in (1, 2, 3, 8, 9, 77):
            yield from ((random, row) for row in rows(random, n))
        for n in (1024, 4096):
            chosen = list(rows(random, n))
            if not DEEP:
                chosen = [chosen[i] for i in random.choice(len(chosen), 8 if n == 1024 else 3, replace=False)]
            yield from ((random, row) for row in chosen)


def with_lane(row: Row, random: np.random.Generator, bits: int) -> Row:
    changed = list(row.bits)
    changed[int(random.integers(row.n))] = bits
    return Row(changed)


# ---- claims


def honest(name: str, row: Row) -> Iterator[list[int]]:
    """What torch's kernels for the last and for another dimension make of the row, with subnormals or
    without, and what adding one after the other does; one result for each lane, or one."""
    x = torch.from_numpy(floats_of(row.bits).copy())
    columns = x.reshape(-1, 1).expand(-1, 5).contiguous()
    calls = {
        "softmax": lambda a: torch.softmax(a, 0),
        "log_softmax": lambda a: torch.log_softmax(a, 0),
        "sum": lambda a: torch.sum(a, 0),
        "mean": lambda a: torch.mean(a, 0),
        "norm": lambda a: torch.linalg.vector_norm(a, dim=0),
        "amax": lambda a: torch.amax(a, 0),
    }
    for flush in (False, True):
        torch.set_flush_denormal(flush)
        try:
            yield bits_of(calls[name](x).reshape(-1).numpy())
            yield bits_of(calls[name](columns).reshape(-1, 5)[:, 3].numpy())
        finally:
            torch.set_flush_denormal(False)
    with np.errstate(all="ignore"):
        values = floats_of(row.bits)
        if name in ("sum", "mean"):
            total = np.add.accumulate(values, dtype=np.float32)[-1]
            yield bits_of([total if name == "sum" else total * np.float32(1 / row.n)])
        if name == "norm":
            yield bits_of([np.sqrt(np.add.accumulate(values * values, dtype=np.float32)[-1])])


def claims(bound: Bound) -> Iterator[int]:
    """Claimed results on both sides of the tolerance, and non-finite ones."""
    for factor in (1 - arb(2) ** -16, arb("1.01")):
        yield from around(bound.exact + factor * bound.tolerance)
        yield from around(bound.exact - factor * bound.tolerance)
    yield from (INFINITY, NEGATIVE_INFINITY, NAN)


def wanted(name: str, row: Row, lane: int, bound: Bound | None, y: int) -> bool | None:
    """Whether y must be refuted; None between tau and a hair more, where either is right."""
    if name == "log_softmax" and row.is_soft and row.bits[lane] == NEGATIVE_INFINITY:
        return y != NEGATIVE_INFINITY
    if bound is None or not bound.violates(y):
        return False
    if not is_finite(y) or bound.deviation(y) > HAIR * bound.tolerance:
        return True
    return None


def hint(name: str, row: Row) -> int:
    if name in SOFT:
        return row.largest if row.is_soft else 0
    return reference.window_of_squares(row) if name == "norm" else reference.window(row)


def lanes_of(name: str, row: Row, random: np.random.Generator) -> list[int]:
    """Lanes to try: of the largest, a random and a -inf element of a softmax; a sum has one element."""
    if name not in SOFT:
        return [0]
    lanes = {row.largest if row.is_soft else 0, int(random.integers(row.n))}
    if NEGATIVE_INFINITY in row.bits:
        lanes.add(row.bits.index(NEGATIVE_INFINITY))
    return sorted(lanes)


# ---- the rules


@pytest.mark.parametrize("name", SOFT + SUMS)
def test_what_is_within_tolerance_stands_and_what_is_not_is_refuted(batch, name):
    seen: Counter[bool | None] = Counter()
    for random, row in all_rows(name):
        results = list(honest(name, row))
        cases, expected = [], []
        for lane in lanes_of(name, row, random):
            bound = None
            if not (name == "log_softmax" and row.bits[lane] == NEGATIVE_INFINITY):
                bound = reference.bound(name, row, lane)
            kernels = {result[lane] for result in results}
            tried = kernels | {int(random.integers(2**32))} | set(claims(bound) if bound else (0, 1, NAN))
            for y in sorted(tried):
                cases.append((lane, hint(name, row), y))
                expected.append(wanted(name, row, lane, bound, y))
                if expected[-1] and y in kernels:
                    pytest.fail(
                        f"torch is out of tolerance: lane {lane} {y:#x} of {list(map(hex, row.bits))}"
                    )
        for case, found, required in zip(cases, verdicts(batch, name, row, cases), expected, strict=True):
            correct = required is None or (found == REFUTED) == required
            assert correct, f"{name} {case} of {row.n}: {list(map(hex, row.bits))}: {found}, not {required}"
        seen.update(expected)
    assert seen[False] > 1000 * ROUNDS and seen[True] > 1000 * ROUNDS, seen


@pytest.mark.parametrize("name", SOFT + SUMS)
def test_no_hint_refutes_what_is_within_tolerance(batch, name):
    tried = 0
    for random, row in all_rows(f"hostile {name}"):
        (lane,) = lanes_of(name, row, random)[:1]
        if name == "log_softmax" and row.bits[lane] == NEGATIVE_INFINITY:
            continue
        bound = reference.bound(name, row, lane)
        if bound is None or row.n > 1024:
            continue
        edges = [y for y in claims(bound) if is_finite(y) and not bound.violates(y)] + list(
            next(honest(name, row))
        )[:1]
        if name in SOFT:
            edges = edges[:-1]
        right = hint(name, row)
        hints = {int(h) for h in random.integers(0, row.n + 2 if name in SOFT else 600, 6)}
        hints |= {0, right - 1, right + 1, right + 20, right + 40, right + 63, row.n, 2**256 - 1} - {-1}
        cases = [(lane, h, y) for h in sorted(hints) for y in edges]
        for case, found in zip(cases, verdicts(batch, name, row, cases), strict=True):
            assert found != REFUTED, f"{name} {case} of {list(map(hex, row.bits))}"
        tried += len(cases)
    assert tried > 1000


@pytest.mark.parametrize("name", SOFT + SUMS)
def test_rows_with_nan_or_infinity_refute_nothing(batch, name):
    for random, row in all_rows(f"special {name}"):
        if row.n > 100:
            continue
        specials = [INFINITY, NAN, NEGATIVE_NAN, 0x7F800001, 0xFF800001]
        if name not in SOFT:
            specials.append(NEGATIVE_INFINITY)
        for bits in specials:
            changed = with_lane(row, random, bits)
            cases = [(0, h, y) for h in (0, hint(name, row), 254) for y in (0, 0x3F800000, NAN, INFINITY)]
            assert REFUTED not in verdicts(batch, name, changed, cases), (
                f"{name} {list(map(hex, changed.bits))}"
            )


@pytest.mark.parametrize("name", SOFT)
def test_a_row_of_negative_infinities_refutes_nothing(batch, name):
    row = Row([NEGATIVE_INFINITY] * 5)
    assert set(verdicts(batch, name, row, [(0, 0, y) for y in (0, NAN, NEGATIVE_INFINITY)])) == {REVERTED}


def test_the_maximum_is_exact_up_to_subnormals(batch):
    seen: Counter[bool] = Counter()
    for random, row in all_rows("amax"):
        for bits in (None, INFINITY, NEGATIVE_INFINITY, NAN, NEGATIVE_NAN):
            if bits is not None:
                row = with_lane(row, random, bits)
            kernels = {result[0] for result in honest("amax", row)}
            near = {(y + step) % 2**32 for y in kernels for step in (-1, 1)}
            other = {
                row.bits[int(random.integers(row.n))],
                0,
                1,
                SIGN,
                SIGN + 1,
                INFINITY,
                NAN,
                0x800000,
                0x80800000,
            }
            tried = sorted(kernels | near | other)
            expected = [reference.is_other_maximum(row, y) for y in tried]
            found = verdicts(batch, "amax", row, [(0, 0, y) for y in tried])
            for y, verdict, required in zip(tried, found, expected, strict=True):
                assert (verdict == REFUTED) == required, f"{y:#x} of {list(map(hex, row.bits))}: {verdict}"
                assert not (required and y in kernels), f"torch gives {y:#x} for {list(map(hex, row.bits))}"
            seen.update(expected)
    assert seen[False] > 500 and seen[True] > 500, seen


# ---- the sums


def exactly(ball: tuple[int, int, int]) -> tuple[arb, arb]:
    mid, rad, exp = ball
    return arb(mid) * arb(2) ** exp, arb(rad) * arb(2) ** exp


def test_exponential_sums_have_narrow_enclosures_that_contain_them(batch):
    for _, row in all_rows("exponential sums"):
        if not row.is_soft:
            continue
        balls = batch.wire.call(batch.contract, "exponentialSums", encode(row), row.largest, gas=GAS)
        for ball, exact in zip(balls, row.exponential_sums, strict=True):
            mid, rad = exactly(ball)
            assert abs(mid - exact) <= rad, f"{list(map(hex, row.bits))}"
            assert rad <= arb(2) ** -42 * exact + row.n * arb(2) ** -72


def test_plain_sums_are_exact_but_for_what_is_below_the_window(batch):
    for _, row in all_rows("plain sums"):
        if not row.is_finite:
            continue
        window = reference.window(row)
        balls = batch.wire.call(batch.contract, "plainSums", encode(row), window, gas=GAS)
        for ball, exact in zip(balls, row.plain_sums, strict=True):
            mid, rad = exactly(ball)
            assert abs(mid - exact) <= rad, f"{list(map(hex, row.bits))}"
            assert rad == 0 if window == 1 else rad <= row.n * arb(2) ** -62 * row.plain_sums[1]
