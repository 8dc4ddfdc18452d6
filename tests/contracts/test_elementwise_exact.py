"""The enclosures and the rule of elementwise operators against Arb: nothing within tolerance is refuted, and
everything beyond it by more than a hair's breadth is.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
from eth_hash.auto import keccak
from flint import arb

from support import exact_elementwise as reference
from support.floats import around, bits_of, floats_of
from support.harness import harness

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
INPUTS = 10_000 if DEEP else 800
"""Inputs of an operator; each comes with some sixteen claimed results."""
BATCH = 500
GAS = 1_000_000_000
HAIR = 1 + arb(2) ** -18
"""Out of tolerance by this factor, refutation is required."""

ONE, TWO, INFINITY, NAN, SIGN = 0x3F800000, 0x40000000, 0x7F800000, 0x7FC00000, 0x80000000
SPECIAL = (0, 1, 0x7FFFFF, 0x800000, ONE, 0x7E000000, 0x7E000001, 0x7E800001, 0x7F7FFFFF, INFINITY, NAN)
NEAR = {
    "log": (1.0,),
    "exp": (88.7, -87.3, -103.9, 1024.0, 2.0**20),
    "sigmoid": (-88.0, -104.0, 17.0, 2.0**20),
    "silu": (-88.0, -104.0, 17.0, -1.2784),
    "tanh": (0.125, 9.0, 64.0),
    "erf": (4.0, 6.0),
    "gelu": (8.48528, 16.0, 5.5, -0.7518),
    "hardswish": (3.0, -3.0, -1.5, 2.0**125, 2.0**126),
    "sin": (2.0**30,),
    "cos": (2.0**30,),
    "pow": (2.0**42, 2.0**16),
}

TORCH: dict[str, Callable[..., torch.Tensor]] = {
    "aten.add.Tensor": lambda a, b, alpha=1.0: torch.add(a, b, alpha=alpha),
    "aten.add.Scalar": lambda a, s, alpha=1.0: torch.add(a, s, alpha=alpha),
    "aten.sub.Tensor": lambda a, b, alpha=1.0: torch.sub(a, b, alpha=alpha),
    "aten.sub.Scalar": lambda a, s, alpha=1.0: torch.sub(a, s, alpha=alpha),
    "aten.rsub.Scalar": lambda a, s, alpha=1.0: torch.rsub(a, s, alpha=alpha),
    "aten.mul.Tensor": torch.mul,
    "aten.mul.Scalar": torch.mul,
    "aten.div.Tensor": torch.div,
    "aten.div.Scalar": torch.div,
    "aten.reciprocal.default": torch.reciprocal,
    "aten.exp.default": torch.exp,
    "aten.log.default": torch.log,
    "aten.tanh.default": torch.tanh,
    "aten.erf.default": torch.erf,
    "aten.sin.default": torch.sin,
    "aten.cos.default": torch.cos,
    "aten.sqrt.default": torch.sqrt,
    "aten.rsqrt.default": torch.rsqrt,
    "aten.sigmoid.default": torch.sigmoid,
    "aten.silu.default": torch.nn.functional.silu,
    "aten.gelu.default": lambda x, form=0.0: torch.nn.functional.gelu(
        x, approximate="tanh" if form else "none"
    ),
    "aten.pow.Tensor_Scalar": torch.pow,
    "aten.leaky_relu.default": torch.nn.functional.leaky_relu,
    "aten.hardswish.default": torch.nn.functional.hardswish,
}

SCALARS = (0.1, 1.0, -1.0, 3.7, 2.0**-130, 2.0**127, -1e-20, 1e30)
EXPONENTS = (2, 3, 4, 5, 6, 7, 8, 0.5, -0.5, -1)
ATTRIBUTES: dict[str, list[tuple[float, ...]]] = {
    "aten.add.Tensor": [(), (1.0,), (-1.0,), (0.3,), (2.0**100,), (2.0**-130,)],
    "aten.sub.Tensor": [(), (1.0,), (0.3,)],
    **{
        f"aten.{name}.Scalar": [(s,) for s in SCALARS] + [(0.1, 0.3), (2.0**-130, 1e30)]
        for name in ("add", "sub", "rsub")
    },
    "aten.mul.Scalar": [(s,) for s in SCALARS],
    "aten.div.Scalar": [(s,) for s in SCALARS],
    "aten.pow.Tensor_Scalar": [(n,) for n in EXPONENTS],
    "aten.leaky_relu.default": [(0.01,), (0.2,), (-1.5,), (2.0**-130,)],
    "aten.gelu.default": [(), (0.0,), (1.0,)],
}


@pytest.fixture(scope="module")
def batch(wire, people):
    """The harness over the libraries."""
    return harness(wire, people, "ElementwiseBatch")


def refuted(
    batch, operator: str, operands: int, attributes: int, cases: Sequence[Sequence[int]]
) -> list[bool]:
    code = keccak(operator.encode())[:4]
    verdicts = b""
    for at in range(0, len(cases), BATCH):
        words = np.asarray(cases[at : at + BATCH], ">u4").tobytes()
        verdicts += batch.wire.call(batch.contract, "refutes", code, operands, attributes, words, gas=GAS)
    return [verdict == 1 for verdict in verdicts]


def evaluate(batch, name: str, a: Sequence[tuple], b: Sequence[tuple] = ()) -> list[tuple[int, int, int]]:
    results: list[tuple[int, int, int]] = []
    for at in range(0, len(a), BATCH):
        some = a[at : at + BATCH], b[at : at + BATCH]
        results += batch.wire.call(batch.contract, "evaluate", name, *some, gas=GAS)
    return results


# ---- arguments


def numbers(random: np.random.Generator, name: str, count: int) -> list[int]:
    """FP32 numbers of all and usual magnitudes, subnormals, special ones, some where `name` is delicate."""
    ranges = [
        random.integers(0, 2**32, count // 4).tolist(),
        bits_of(random.normal(0, 1, count // 4) * 10.0 ** random.integers(-1, 3, count // 4)),
        bits_of(random.normal(0, 1, count // 8) * 2.0 ** random.integers(-60, 31, count // 8)),
        (random.integers(0, 2**23, count // 16) | random.integers(0, 2, count // 16) << 31).tolist(),
        [bits | sign for bits in SPECIAL for sign in (0, SIGN)],
    ]
    for center in (1.0, *NEAR.get(name, ())):
        offsets = random.integers(-300, 300, count // 32)
        ranges.append(((bits_of([center])[0] + offsets) % 2**32).tolist())
        ranges.append(((bits_of([-center])[0] + offsets) % 2**32).tolist())
    if name in ("sin", "cos"):
        quarters = random.integers(1, 2 ** random.integers(1, 30, count // 4))
        ranges.append(bits_of(quarters * (math.pi / 2)))
    if name in ("log", "sqrt", "rsqrt", "pow"):
        ranges.append([bits & ~SIGN for bits in ranges[0] + ranges[1]])
    return [bits for some in ranges for bits in some]


def second_operands(random: np.random.Generator, operator: str, first: Sequence[int]) -> list[int]:
    """Numbers independent of the first ones, near them (sums cancel) and near their inverses."""
    other = numbers(random, "", len(first))
    result = []
    for i, bits in enumerate(first):
        near = (bits ^ (SIGN if i % 2 else 0)) + int(random.integers(-2, 3))
        choices = (other[int(random.integers(len(other)))], near % 2**32)
        result.append(choices[i % 3 == 0])
    return result


def honest(
    operator: str, x: Sequence[Sequence[int]], attributes: tuple[float, ...], flush: bool
) -> list[int]:
    """What torch makes of it, with subnormals or without."""
    torch.set_flush_denormal(flush)
    try:
        tensors = [torch.from_numpy(floats_of(column).copy()) for column in x]
        return TORCH[operator](*tensors, *attributes).view(torch.int32).numpy().view(np.uint32).tolist()
    finally:
        torch.set_flush_denormal(False)


def claims(bound: reference.Bound) -> Iterator[int]:
    """Claimed results on both sides of the tolerance, and non-finite ones."""
    for factor in (1 - arb(2) ** -20, arb("1.01")):
        yield from around(bound.exact + factor * bound.tolerance)
        yield from around(bound.exact - factor * bound.tolerance)
    yield INFINITY
    yield NAN


# ---- the rule


def test_the_library_lists_the_operators_tested_here(batch):
    listed = [bytes(code) for code in batch.wire.call(batch.contract, "operators")]
    assert sorted(listed) == sorted(keccak(operator.encode())[:4] for operator in TORCH)


@pytest.mark.parametrize("operator", TORCH)
def test_what_is_within_tolerance_stands_and_what_is_not_is_refuted(batch, operator):
    random = np.random.default_rng(list(operator.encode()))
    choices = ATTRIBUTES.get(operator, [()])
    inside = outside = 0
    for attributes in choices:
        pair = operator in reference.TENSOR_PAIRS
        x = [numbers(random, operator.split(".")[1], max(INPUTS // len(choices), 64))]
        if pair:
            x.append(second_operands(random, operator, x[0]))
        words = bits_of(attributes)
        results = [honest(operator, x, attributes, flush) for flush in (False, True)]
        cases, expected = [], []
        for *inputs, plain, flushed in zip(*x, *results, strict=True):
            bound = reference.bound(operator, inputs, words)
            tried = {plain, flushed, int(random.integers(2**32))} | set(claims(bound) if bound else (0, NAN))
            for y in sorted(tried):
                cases.append((*inputs, *words, y))
                if bound is None or not bound.violates(y):
                    expected.append(False)
                elif not reference.is_finite(y) or bound.deviation(y) > HAIR * bound.tolerance:
                    expected.append(True)
                else:
                    expected.append(None)  # between tau and a hair more, either is right
                if expected[-1] and y in (plain, flushed):
                    pytest.fail(f"torch is out of tolerance: {[hex(word) for word in cases[-1]]}")
        found = refuted(batch, operator, len(x), len(words), cases)
        for case, verdict, wanted in zip(cases, found, expected, strict=True):
            assert wanted is None or verdict == wanted, f"{operator} {list(map(hex, case))}: {verdict}"
        inside += expected.count(False)
        outside += expected.count(True)
    assert inside > INPUTS and outside > INPUTS, (inside, outside)


# ---- the enclosures

UNARY: dict[str, Callable[[arb], arb]] = {
    "exp": arb.exp,
    "log": arb.log,
    "tanh": arb.tanh,
    "erf": arb.erf,
    "sin": arb.sin,
    "cos": arb.cos,
    "sigmoid": reference.sigmoid,
    "silu": lambda x: x * reference.sigmoid(x),
    "gelu": reference.erf_gelu,
    "geluTanh": reference.tanh_gelu,
    "sqrt": arb.sqrt,
    "rsqrt": arb.rsqrt,
}
LIMIT = {"exp": 2.0**20, "sin": 2.0**30, "cos": 2.0**30}
PRECISION = arb(2) ** -50
NOTHING = arb(2) ** -(2**19)


def in_domain(name: str, x: float) -> bool:
    if not math.isfinite(x) or abs(x) > LIMIT.get(name, math.inf):
        return False
    return x > 0 or name not in ("log", "rsqrt") and (name != "sqrt" or x == 0)


def exactly(mid: int, exp: int) -> arb:
    return arb(mid) * arb(2) ** exp


def binary(x: float) -> tuple[int, int]:
    """Integer m and exponent e with x = m 2^e."""
    mantissa, exponent = math.frexp(x)
    return int(mantissa * 2**53), exponent - 53


@pytest.mark.parametrize("name", UNARY)
def test_an_exact_argument_has_a_narrow_enclosure_that_contains_the_value(batch, name):
    random = np.random.default_rng(list(name.encode()))
    arguments = [float(x) for x in floats_of(numbers(random, name.removesuffix("Tanh"), 4 * INPUTS))]
    arguments = [x for x in arguments if in_domain(name, x)]
    balls = [(m, 0, e) for m, e in map(binary, arguments)]
    for x, (mid, rad, exp) in zip(arguments, evaluate(batch, name, balls), strict=True):
        exact = UNARY[name](arb(x))
        assert abs(exactly(mid, exp) - exact) <= exactly(rad, exp), f"{name}({x}) is outside its ball"
        scale = abs(arb(x)) if "gelu" in name else abs(exact)
        assert exactly(rad, exp) <= PRECISION * scale + NOTHING, f"{name}({x}) has a wide ball"


@pytest.mark.parametrize("name", UNARY)
def test_the_enclosure_of_a_ball_contains_the_values_of_its_points(batch, name):
    random = np.random.default_rng(list(name.encode()))
    arguments = [float(x) for x in floats_of(numbers(random, name.removesuffix("Tanh"), INPUTS))]
    balls, points = [], []
    for x in arguments:
        m, e = binary(x) if math.isfinite(x) else (0, 0)
        m, e = m << 60, e - 60
        if e > -8 or not in_domain(name, x) or abs(x) > LIMIT.get(name, math.inf) / 2:
            continue
        rad = min(abs(m) // 2, 1 << (-1 - e)) >> int(random.integers(0, 100))
        if rad:
            balls.append((m, rad, e))
            points.append([exactly(m * 8 + rad * i, e - 3) for i in (-8, -3, 1, 8)])
    assert len(balls) > INPUTS // 4
    for ball, some, (mid, rad, exp) in zip(balls, points, evaluate(batch, name, balls), strict=True):
        for point in some:
            assert abs(exactly(mid, exp) - UNARY[name](point)) <= exactly(rad, exp), f"{name}({ball})"


BINARY: dict[str, Callable[[arb, arb], arb]] = {
    "add": arb.__add__,
    "sub": arb.__sub__,
    "mul": arb.__mul__,
    "div": arb.__truediv__,
}


@pytest.mark.parametrize("name", BINARY)
def test_ball_arithmetic_contains_the_results_of_all_points(batch, name):
    random = np.random.default_rng(list(name.encode()))

    def ball() -> tuple[int, int, int]:
        m = int.from_bytes(random.bytes(16), "big") >> int(random.integers(7, 127))
        rad = m * int(random.integers(2**20)) >> int(random.integers(20, 140))
        sign, exp = random.choice([-1, 1]), int(random.integers(-300, 300))
        return int(sign) * m, rad if random.integers(4) else 0, exp if random.integers(3) else 0

    a, b = [ball() for _ in range(INPUTS)], [ball() for _ in range(INPUTS)]
    if name == "div":
        b = [(m, rad if rad < abs(m) else 0, e) if m else (1, 0, e) for m, rad, e in b]
    for x, y, (mid, rad, exp) in zip(a, b, evaluate(batch, name, a, b), strict=True):
        for i, j in ((-1, -1), (-1, 1), (1, -1), (1, 1), (0, 0)):
            exact = BINARY[name](exactly(x[0] + i * x[1], x[2]), exactly(y[0] + j * y[1], y[2]))
            assert abs(exactly(mid, exp) - exact) <= exactly(rad, exp), f"{x} {name} {y}"
        cancels = name in ("add", "sub") and (x[0] * y[0] < 0) == (name == "add")
        if x[1] == y[1] == 0 and not cancels:
            assert exactly(rad, exp) <= arb(2) ** -100 * abs(exactly(mid, exp)), f"{x} {name} {y} is wide"
