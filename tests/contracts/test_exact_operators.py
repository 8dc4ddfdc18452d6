"""Exact pointwise operators against torch itself: what torch answers, with subnormals or without, is never
refuted, and every other element is, but for the sign of a zero and the payload of a NaN.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from eth_hash.auto import keccak

from support.harness import harness
from support.wire import Reverted

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
ELEMENTS = 400 if DEEP else 40
"""Elements of an operator on operands of some types and with some numbers; each has seven claimed results."""
BATCH = 2_000
GAS = 1_000_000_000

DTYPES = {
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
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)
NUMBERS = (*FLOATS, *INTEGERS)
NARROW = (torch.float16, torch.bfloat16)
WORD = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
NONE = 0x7FC00000
"""The word of a bound that there is not."""

LITERALS = (0.0, 0.1, -0.1, 1.0, -2.5, 6.0, 1e-40, -1e-45, 3.4028234663852886e38, 16777217.0, float("inf"))
BOUNDS = [(-1.0, 1.0), (0.0, 6.0), (None, 0.1), (-0.1, None), (2.0, -2.0), (1e-40, float("inf")), (-0.0, 0.0)]
INTEGER_LITERALS = (0, 1, -1, 7, 127, -128, 255, 256, -32768, 65536, 2**31 - 1, -(2**31))
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
UNARY = ("aten.relu.default", "aten.neg.default", "aten.abs.default")
EXTREMA = ("aten.maximum.default", "aten.minimum.default", "aten.max.other", "aten.min.other")
CLAMPS = tuple(f"aten.{name}.default" for name in ("clamp", "clamp_min", "clamp_max", "hardtanh", "relu6"))
LOGIC = (
    *(f"aten.logical_{name}.default" for name in ("and", "or", "xor")),
    *(f"aten.bitwise_{name}.Tensor" for name in ("and", "or", "xor")),
    *(f"aten.__{name}__.Tensor" for name in ("and", "or", "xor")),
)
NEGATIONS = ("aten.logical_not.default", "aten.bitwise_not.default")
FILLS = ("aten.where.ScalarOther", "aten.where.ScalarSelf", "aten.masked_fill.Scalar")
CAST = "aten._to_copy.default"
ANY = (torch.bool, *NUMBERS)


def is_cast(source: torch.dtype, target: torch.dtype) -> bool:
    if not target.is_floating_point or source == target or source in (torch.float32, torch.float64):
        return True
    return target == torch.float32 or (target == torch.float64 and source not in NARROW)


def rows() -> list[tuple[str, tuple[torch.dtype, ...], torch.dtype, tuple]]:
    """Operator, types of the operands, type of the output, numbers of the call."""
    boolean, single = torch.bool, torch.float32
    found: list[tuple[str, tuple[torch.dtype, ...], torch.dtype, tuple]] = []
    found += [(op, (t,), t, ()) for op in UNARY for t in NUMBERS]
    found += [(op, (t, t), t, ()) for op in EXTREMA for t in ANY]
    found += [("aten.where.self", (boolean, t, t), t, ()) for t in ANY]
    found += [(f"aten.{name}.Tensor", (t, t), boolean, ()) for name in COMPARISONS for t in ANY]
    for name in COMPARISONS:
        operator = f"aten.{name}.Scalar"
        found += [(operator, (single,), boolean, (number,)) for number in LITERALS]
        for t in INTEGERS:
            limits = torch.iinfo(t)
            held = [n for n in INTEGER_LITERALS if limits.min <= n <= limits.max]
            found += [(operator, (t,), boolean, (number,)) for number in held]
    found += [(op, (boolean, boolean), boolean, ()) for op in LOGIC]
    found += [(op, (boolean,), boolean, ()) for op in NEGATIONS]
    found += [(CAST, (s,), t, ()) for s in ANY for t in ANY if is_cast(s, t)]
    for operator in FILLS:
        types = (single, boolean) if "masked" in operator else (boolean, single)
        found += [(operator, types, single, (number,)) for number in (*LITERALS, float("nan"))]
    for operator in CLAMPS:
        bounds = {
            "aten.clamp_min.default": [(b, None) for b in LITERALS],
            "aten.clamp_max.default": [(None, b) for b in LITERALS],
            "aten.hardtanh.default": [(-1.0, 1.0), (-0.1, 0.1), (0.0, 6.0)],
            "aten.relu6.default": [(0.0, 6.0)],
        }
        found += [(operator, (single,), single, pair) for pair in bounds.get(operator, BOUNDS)]
    return found


def bits_of(tensor: torch.Tensor) -> np.ndarray:
    """The elements' bits as uint64."""
    size = tensor.element_size()
    signed = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[size]
    return tensor.contiguous().view(signed).numpy().view(WORD[size]).astype(np.uint64)


def tensor_of(bits: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    if dtype == torch.bool:
        return torch.from_numpy(bits.astype(bool))
    narrow = bits.astype(np.uint64).astype(WORD[dtype.itemsize])
    return torch.from_numpy(narrow.view(f"i{dtype.itemsize}")).view(dtype)


def layout(dtype: torch.dtype) -> tuple[int, int]:
    """Sign bit and encoding of infinity of a floating-point type."""
    (infinity,) = bits_of(torch.tensor([float("inf")], dtype=dtype))
    return 1 << (8 * dtype.itemsize - 1), int(infinity)


def elements(random: np.random.Generator, dtype: torch.dtype, count: int) -> np.ndarray:
    """Bits of every kind of number: special ones, small ones, halfway ones, any."""
    if dtype == torch.bool:
        return random.integers(0, 2, count, np.uint64)
    width = 8 * dtype.itemsize
    anything = random.integers(0, 2**64 - 1, count, np.uint64, endpoint=True) >> np.uint64(64 - width)
    small = bits_of(tensor_of_numbers(random.integers(-300, 300, count), dtype))
    if not dtype.is_floating_point:
        extremes = [0, 1, 2, (1 << width) - 1, 1 << (width - 1), (1 << (width - 1)) - 1, 127, 128, 255]
        powers = [
            (1 << int(e)) + int(d) for e, d in zip(random.integers(0, width, count), small, strict=True)
        ]
        odd = np.array([(p * int(random.integers(1, 4))) % (1 << width) for p in powers], np.uint64)
        return mixed(random, count, [np.array(extremes, np.uint64), anything, small, odd])
    sign, infinity = layout(dtype)
    normal = infinity & -infinity  # smallest: exponent field 1
    special = [
        0,
        1,
        2,
        normal - 1,
        normal,
        normal + 1,
        infinity - 1,
        infinity,
        infinity + 1,
        infinity + normal // 2,
    ]
    magnitudes = random.normal(0, 1, count) * 10.0 ** random.integers(-3, 4, count)
    halves = random.integers(-600, 600, count) / 2
    powers = 2.0 ** random.uniform(-150, 130, count)
    if dtype.itemsize > 2:
        # Near what narrower types round: few leading bits, then a one and almost nothing.
        kept = random.choice([8, 9, 11, 12, 24, 25], count)
        scale = 2.0 ** (random.integers(-20, 20, count) * random.integers(0, 8, count)).astype(float)
        leading = (1 + random.integers(0, 2**kept) / 2.0**kept) * scale
        leading *= 1 + random.choice([0, 2.0**-23, -(2.0**-23), 2.0**-40, -(2.0**-40)], count)
    else:
        leading = halves
    numbers = [bits_of(tensor_of_numbers(n, dtype)) for n in (magnitudes, halves, powers, leading)]
    subnormal = random.integers(0, normal, count).astype(np.uint64)
    bits = mixed(random, count, [np.array(special, np.uint64), anything, small, subnormal, *numbers])
    return bits ^ (random.integers(0, 2, count).astype(np.uint64) * np.uint64(sign))


def tensor_of_numbers(numbers: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(numbers).to(dtype)


def mixed(random: np.random.Generator, count: int, pools: Sequence[np.ndarray]) -> np.ndarray:
    """As many from each pool, all of the first."""
    chosen = [random.choice(pool, count // len(pools) + 1) for pool in pools[1:]]
    everything = np.concatenate([pools[0], *chosen])
    return random.permutation(np.resize(everything, max(count, len(everything))))[:count]


def operands(random: np.random.Generator, types: Sequence[torch.dtype], count: int) -> list[np.ndarray]:
    """Later operands of a type are often equal or next to the first of it."""
    columns: list[np.ndarray] = []
    for i, dtype in enumerate(types):
        bits = elements(random, dtype, count)
        if dtype in types[:i] and dtype != torch.bool:
            first = columns[types.index(dtype)]
            width = np.uint64((1 << 8 * dtype.itemsize) - 1)
            near = (first + random.integers(-1, 2, count).astype(np.uint64)) & width
            bits = np.where(random.integers(0, 3, count) == 0, near, bits)
        columns.append(bits)
    return columns


def apply(
    operator: str, tensors: Sequence[torch.Tensor], numbers: Sequence, output: torch.dtype
) -> np.ndarray:
    namespace, name, overload = operator.split(".")
    call = getattr(getattr(getattr(torch.ops, namespace), name), overload)
    if operator == CAST:
        return bits_of(call(*tensors, dtype=output))
    if operator == "aten.where.ScalarSelf":
        return bits_of(call(tensors[0], numbers[0], tensors[1]))
    if operator in ("aten.clamp_min.default", "aten.clamp_max.default"):
        numbers = [n for n in numbers if n is not None]
    return bits_of(call(*tensors, *(() if operator == "aten.relu6.default" else numbers)))


def torch_results(
    operator: str, columns: Sequence[np.ndarray], types: Sequence, numbers, output
) -> list[np.ndarray]:
    """The results with subnormals and without."""
    results = []
    tensors = [tensor_of(column, dtype) for column, dtype in zip(columns, types, strict=True)]
    for flush in (False, True):
        torch.set_flush_denormal(flush)
        try:
            results.append(apply(operator, tensors, numbers, output))
        finally:
            torch.set_flush_denormal(False)
    return results


def flushed(bits: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """Subnormals as zeros, but float16's."""
    if not dtype.is_floating_point or dtype == torch.float16:
        return bits
    _, infinity = layout(dtype)
    return np.where(bits & np.uint64(infinity) == 0, np.uint64(0), bits)


def same(a: np.ndarray, b: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """Equal, where +0 is -0 and NaN is NaN."""
    if not dtype.is_floating_point:
        return a == b
    sign, infinity = layout(dtype)
    first, second = a & np.uint64(sign - 1), b & np.uint64(sign - 1)
    nan = (first > infinity) & (second > infinity)
    return (a == b) | nan | ((first == 0) & (second == 0))


def undecided(
    operator: str, x: np.ndarray, source: torch.dtype, target: torch.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """Casts that refute nothing, and those that need not: a float without an integer; a float64 that float32
    rounds to the middle between narrower numbers, or up to its smallest normal number.
    """
    nothing = np.zeros(len(x), bool)
    if operator != CAST or not source.is_floating_point or target == torch.bool or source == target:
        return nothing, nothing
    values = tensor_of(x, source).double().numpy()
    if not target.is_floating_point:
        limits = torch.iinfo(target)
        with np.errstate(invalid="ignore"):
            cut = np.trunc(values)
        return ~((cut >= float(limits.min)) & (cut < float(limits.max + 1))), nothing
    if source != torch.float64:
        return nothing, nothing
    with np.errstate(all="ignore"):
        single = values.astype(np.float32)
        direct, twice = values.astype(np.float16), single.astype(np.float16)
    if target == torch.float16:
        return (direct != twice) & ~np.isnan(values), nothing
    lifted = (abs(values) < 2.0**-126) & (abs(single) >= 2.0**-126)
    middle = (single.astype(np.float64) != values) & (single.view(np.uint32) & 0xFFFF == 0x8000)
    return nothing, lifted | (middle & (target == torch.bfloat16))


def words_of(numbers: Sequence[float | int | None], beside: torch.dtype) -> list[int]:
    if beside.is_floating_point or beside == torch.bool:
        with np.errstate(over="ignore"):
            return [NONE if n is None else int(np.float32(n).view(np.uint32)) for n in numbers]
    return [int(n) % 2**32 for n in numbers]


@pytest.fixture(scope="module")
def batch(wire, people):
    """The harness over the library."""
    return harness(wire, people, "ExactRuleBatch")


def refuted(
    batch, operator: str, types: Sequence[torch.dtype], attributes: int, cases: np.ndarray
) -> np.ndarray:
    """The verdicts on cases [n, operands + attributes + 1]; `types` are the operands' and the output's."""
    head = keccak(operator.encode())[:4], [DTYPES[t] for t in types], attributes
    verdicts = b""
    for at in range(0, len(cases), BATCH):
        data = cases[at : at + BATCH].astype(">u8").tobytes()
        verdicts += batch.wire.call(batch.contract, "refutes", *head, data, gas=GAS)
    return np.frombuffer(verdicts, np.uint8) == 1


def claims(random: np.random.Generator, result: np.ndarray, dtype: torch.dtype) -> list[np.ndarray]:
    """Other results: one bit off, next to it, another sign, zero, any byte for a bool."""
    width = 8 * dtype.itemsize
    mask = np.uint64((1 << width) - 1)
    bit = np.uint64(1) << random.integers(0, width, len(result)).astype(np.uint64)
    step = random.choice(np.array([1, 2**64 - 1], np.uint64), len(result))
    anything = random.integers(0, 2**64 - 1, len(result), np.uint64) & mask
    sign = np.uint64(1 << (width - 1))
    return [result ^ bit, (result + step) & mask, result ^ sign, result * np.uint64(0), anything]


ROWS = rows()


def test_the_library_lists_the_operators_tested_here(batch):
    listed = [bytes(code) for code in batch.wire.call(batch.contract, "operators")]
    assert sorted(listed) == sorted(keccak(operator.encode())[:4] for operator in {row[0] for row in ROWS})


@pytest.mark.parametrize("operator", sorted({row[0] for row in ROWS}))
def test_what_torch_answers_stands_and_everything_else_is_refuted(batch, operator):
    random = np.random.default_rng(list(operator.encode()))
    stands = wrong = 0
    for _, types, output, numbers in (row for row in ROWS if row[0] == operator):
        columns = operands(random, types, ELEMENTS)
        beside = torch.float32 if operator in FILLS else types[0]
        words = words_of(numbers, beside)
        plain, flush = torch_results(operator, columns, types, numbers, output)
        zeroed = [flushed(column, dtype) for column, dtype in zip(columns, types, strict=True)]
        literals = [0.0 if beside == torch.float32 and n and abs(n) < 2.0**-126 else n for n in numbers]
        taken, _ = torch_results(operator, zeroed, types, literals, output)
        taken = flushed(taken, output)
        nothing, open_ = undecided(operator, columns[0], types[0], output)
        results = [plain, flush, *claims(random, plain, output)]
        repeated = [np.tile(column, len(results)) for column in columns]
        y = np.concatenate(results)
        cases = np.stack([*repeated, *(np.full(len(y), word, np.uint64) for word in words), y], axis=1)
        found = refuted(batch, operator, (*types, output), len(words), cases)
        plain, taken, nothing, open_ = (
            np.tile(each, len(results)) for each in (plain, taken, nothing, open_)
        )
        stand = same(y, plain, output) | same(flushed(y, output), taken, output) | nothing
        bad = found & stand | ~found & ~stand & ~open_
        bad[: 2 * ELEMENTS] |= found[: 2 * ELEMENTS]  # torch's own answers
        assert not bad.any(), f"{types} {output} {numbers}: {list(map(hex, cases[np.argmax(bad)]))}"
        stands, wrong = stands + int((~found).sum()), wrong + int(found.sum())
    assert stands >= ELEMENTS and wrong >= ELEMENTS // 4, (stands, wrong)


@pytest.mark.parametrize("operator", [f"aten.{name}.Scalar" for name in COMPARISONS])
def test_a_number_outside_the_integer_type_refutes_nothing(batch, operator):
    for dtype, word in ((torch.uint8, -1), (torch.uint8, 256), (torch.int8, 300), (torch.int16, -40000)):
        cases = np.array([(x, word % 2**32, y) for x in (0, 44, 255) for y in (0, 1, 2)], np.uint64)
        assert not refuted(batch, operator, (dtype, torch.bool), 1, cases).any()


def test_a_bool_that_is_none_refutes_nothing_as_an_operand_and_is_refuted_as_a_result(batch):
    logic, boolean = "aten.logical_and.default", torch.bool
    cases = np.array([(2, 1, 0), (1, 255, 1), (1, 2, 7), (1, 1, 2), (1, 1, 255), (0, 1, 2)], np.uint64)
    found = refuted(batch, logic, (boolean, boolean, boolean), 0, cases)
    assert found.tolist() == [False, False, False, True, True, True]
    selection = np.array([(2, 5, 6, 7), (1, 5, 6, 7)], np.uint64)
    types = (boolean, torch.int8, torch.int8, torch.int8)
    assert refuted(batch, "aten.where.self", types, 0, selection).tolist() == [False, True]
    casts = np.array([(2, 7), (1, 7)], np.uint64)
    assert refuted(batch, CAST, (boolean, torch.float32), 0, casts).tolist() == [False, True]


MALFORMED = [
    ("aten.add.Tensor", (6, 6), 0, "UnsupportedOperator"),
    ("aten.relu.default", (0, 0), 0, "UnsupportedType"),
    ("aten.eq.Scalar", (0, 0), 1, "UnsupportedType"),
    ("aten.eq.Scalar", (5, 0), 1, "UnsupportedType"),
    ("aten.relu.default", (6, 5), 0, "TypeMismatch"),
    ("aten.clamp.default", (7, 7), 2, "TypeMismatch"),
    ("aten.maximum.default", (6, 7, 7), 0, "TypeMismatch"),
    ("aten.eq.Tensor", (6, 6, 6), 0, "TypeMismatch"),
    ("aten.eq.Tensor", (6, 7, 0), 0, "TypeMismatch"),
    ("aten.where.self", (8, 6, 6, 6), 0, "TypeMismatch"),
    ("aten.logical_not.default", (8, 0), 0, "TypeMismatch"),
    ("aten.masked_fill.Scalar", (7, 0, 7), 1, "TypeMismatch"),
    ("aten.maximum.default", (6, 6), 0, "WrongOperandCount"),
    ("aten.relu.default", (6, 6), 1, "WrongAttributeCount"),
    ("aten.eq.Scalar", (6, 0), 0, "WrongAttributeCount"),
    (CAST, (4, 5), 0, "UnsupportedCast"),
    (CAST, (3, 4), 0, "UnsupportedCast"),
    (CAST, (5, 7), 0, "UnsupportedCast"),
]


@pytest.mark.parametrize("operator, codes, attributes, error", MALFORMED)
def test_a_record_that_the_rule_does_not_cover_reverts(batch, operator, codes, attributes, error):
    data = bytes(8 * (len(codes) + attributes))
    with pytest.raises(Reverted) as caught:
        batch.wire.call(batch.contract, "refutes", keccak(operator.encode())[:4], codes, attributes, data)
    assert caught.value.error == error
