"""The rules of rounded elements against rational arithmetic: nothing is refuted that a conforming device may
have computed or need not have logged, not with a hostile hint either; and what is not proven is counted.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache, lru_cache, partial

import numpy as np
import pytest
import torch

from support import philox
from support import rounded_cases as cases
from support.floats import bits_of, floats_of
from support.harness import harness
from tao.numerics import float32
from tao.numerics.dot import window_exponent
from tao.training import rules, sums

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
ROUNDS = 8 if DEEP else 1
HINTS = 3
"""Tried of each sum, of seven kinds."""
GAS = 10_000_000_000
EXCLUDED, SPLIT, UNDECIDED = 1, 2, 4
PAIRS = ("add.Tensor", "sub.Tensor", "mul.Tensor", "div.Tensor")
NUMBERS = ("add.Scalar", "sub.Scalar", "rsub.Scalar", "mul.Scalar", "div.Scalar")
ROOTS = ("sqrt.default", "reciprocal.default")
KINDS = bits_of([0.0, -0.0, 1.0, -3.0, 2.0**-149, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan])
"""One number of each kind, as far as infinities and NaN go."""
HARD = {
    "exp": """
        c16912cd bbf0edf1 39c6be5b bae0e25c 3d1a274e 4001b249 40315b33 39e5bb1d 4288942b 3fe67199
        bc2a461a c0781533 41cbf87b bbb70ee8 c13d6631
    """,
    "tanh": """
        3ac37de2 3eee0566 3cd41b91
    """,
    "erf": """
        39c0057d 3b25a39d 3f043a75 3aa60e18
    """,
    "sin": """
        3ef3830f 3dcf5597 42d44528 3d0650ea 3a1285ff 401f2100 3ef32001 3fa0fa4e
    """,
    "cos": """
        39800000 3c107fe6 3a544395 424790ce 42378db8 3a0f1bbd 3e5fa70e 3fdb3c0e 4010a4bf 3faa2672
    """,
    "log": """
        3c413d3a 41178feb 3bf86ef0 39c31348 3fd364d7 3e2b3421 39c7b1f9 4056ee45 3fc55379 40504cb2
        41e3b2af
    """,
    "sigmoid": """
        3d21bc81 ba928601 be104170 3b128604 bf1964d0 3a689801 3e8dffaf bda363f4 c164ddcb 3eb2c9b8
        3d0cab6a 3ab89c02
    """,
}
"""Inputs from 2^-13 to 2^7 of which the function's float64 value is within 14 units of a midpoint."""


@pytest.fixture(scope="module")
def batch(wire, people):
    """The harness over the libraries."""
    return harness(wire, people, "RoundedBatch")


def call(batch, method: str, *arguments):
    return batch.wire.call(batch.contract, method, *arguments, gas=GAS)


def words(bits: Sequence[int]) -> bytes:
    return np.asarray(bits, ">u4").tobytes()


def count(seen: Counter, zone: rules.Zone | None, y: int, verdict: int, hair: Fraction) -> None:
    """Fails for a verdict that is not so; counts what is so, what of that the contract does not prove, and
    what it does not even where tau is larger (for an omission: smaller) by the factor `hair`."""
    context = f"{zone} y={y:#x} verdict={verdict}"
    if zone is None:
        assert verdict == UNDECIDED, context
        return
    excluded, split = zone.excludes(y), zone.is_split
    if verdict == UNDECIDED:
        seen["undecided"] += 1
        return
    assert excluded or not verdict & EXCLUDED, f"unsound value: {context}"
    assert split or not verdict & SPLIT, f"unsound omission: {context}"
    seen["excluded"] += excluded
    seen["stands"] += not excluded
    seen["split"] += split
    seen["one rounding"] += not split
    seen["excluded, not proven"] += excluded and not verdict & EXCLUDED
    seen["split, not proven"] += split and not verdict & SPLIT
    clear = clearer(zone, hair)
    seen["clear, not proven"] += clear.excludes(y) and not verdict & EXCLUDED
    seen["clear, not proven"] += clear.is_split and not verdict & SPLIT


@lru_cache(maxsize=1)
def clearer(zone: rules.Zone, hair: Fraction) -> rules.Zone:
    return replace(zone, least=zone.least / hair, most=zone.most * hair)


# ---- rounding


def test_numbers_are_rounded_to_nearest_even_as_rationals_are(batch):
    random = np.random.default_rng(1)
    mids, exps = [], []
    for _ in range(10_000):
        bits = int(random.integers(1, 254))
        mid = int.from_bytes(random.bytes(32), "big") >> (256 - bits) | 1 << (bits - 1)
        shape = int(random.integers(4))
        if shape and bits > 30:  # ties, and one unit next to them
            mid = (mid >> bits - 25 | 1) << bits - 25
            mid += (0, 1, -1)[shape - 1]
        low = -160 if random.random() < 0.4 else -bits + int(random.integers(-150, 132))
        mids.append(mid if random.random() < 0.5 else -mid)
        exps.append(low if random.random() < 0.9 else int(random.integers(-(2**30), 2**30)))
    rounded = call(batch, "nearest", mids, exps)
    for mid, exp, order in zip(mids, exps, rounded, strict=True):
        if abs(exp) > 2000:
            assert order == (0 if exp < 0 else np.sign(mid) * float32.INFINITY)
        else:
            assert order == float32.nearest(mid * Fraction(2) ** exp), (mid, exp)


# ---- sums


def all_pairs(
    name: str, lengths: Sequence[int]
) -> Iterator[tuple[np.random.Generator, list[int], list[int]]]:
    random = np.random.default_rng(list(name.encode()))
    for _ in range(ROUNDS):
        for n in lengths:
            for a, b in cases.pairs(random, n):
                yield random, a, b
                if n <= (1024 if DEEP else 77):
                    yield from ((random, *both) for both in cases.steered(random, a, b))


def sum_cases(plain: bool) -> Iterator[tuple[np.random.Generator, list[int], list[int]]]:
    """Runs of the factors of a contraction; of the terms of a plain sum, and an empty one."""
    for random, a, b in all_pairs(f"sums {plain}", (1, 2, 3, 8, 9, 77, 200, 1024)):
        if plain:
            # Products as they are, rounded, stand for the terms.
            with np.errstate(over="ignore", invalid="ignore"):
                a = bits_of_products(a, b)
            b = []
        yield random, a, b


def bits_of_products(a: Sequence[int], b: Sequence[int]) -> list[int]:
    products = floats_of(a).astype(np.float64) * floats_of(b).astype(np.float64)
    return bits_of(products)


def zone_of(a: Sequence[int], b: Sequence[int], *window: int) -> rules.Zone | None:
    """Neither signs of zeros nor what is not finite are looked at here: the libraries do not know of them."""
    zone = rules.contraction(a, b, *window) if b else rules.row(a, *window)
    return None if zone.mid is None else replace(zone, is_sum=False, may_break=True)


def window_of(a: Sequence[int], b: Sequence[int]) -> int:
    return window_exponent(a, b) if b else rules.term_window(a)


def check_sums(batch, plain: bool, hints) -> Counter:
    """Against all that is true, and for hints that the contract takes against all that it can know."""
    seen: Counter = Counter()
    for random, a, b in sum_cases(plain):
        zone = zone_of(a, b)
        tried = cases.claims(random, zone) if zone else [0, cases.ONE, cases.NAN, float32.INFINITY]
        known = cache(partial(zone_of, a, b))
        given = [(0, 1, hint, y) for hint in hints(random, a, b) for y in tried]
        verdicts = call(batch, "sums", [words(a), words(b)], given)
        for (_, _, hint, y), verdict in zip(given, verdicts, strict=True):
            assert not verdict & SPLIT
            if verdict == UNDECIDED:
                assert zone is None or hint != window_of(a, b)
                seen["undecided"] += zone is not None
                continue
            excluded = zone.excludes(y)
            assert excluded or not verdict & EXCLUDED, f"unsound: {zone} y={y:#x}"
            assert known(hint).excludes(y) == bool(verdict & EXCLUDED)
            seen["excluded"] += excluded
            seen["stands"] += not excluded
            seen["excluded, not proven"] += excluded and not verdict & EXCLUDED
    return seen


@pytest.mark.parametrize("plain", [False, True], ids=["contraction", "sum"])
def test_sums_are_decided_as_in_exact_arithmetic(batch, plain):
    seen = check_sums(batch, plain, lambda random, a, b: [window_of(a, b)])
    print(seen)
    assert seen["undecided"] == 0
    assert min(seen["excluded"], seen["stands"]) > 1000 * ROUNDS
    # Some are nearer to a midpoint than what lies below the window.
    assert seen["excluded, not proven"] < seen["excluded"] / 5


@pytest.mark.parametrize("plain", [False, True], ids=["contraction", "sum"])
def test_no_hint_refutes_what_exact_arithmetic_does_not(batch, plain):
    def hints(random, a, b):
        right = window_of(a, b)
        tried = [0, right - 1, right + 1, right + 20, right + 60, int(random.integers(600)), 2**256 - 1]
        return {tried[k] for k in random.permutation(len(tried))[:HINTS]} - {-1}

    seen = check_sums(batch, plain, hints)
    print(seen)
    assert seen["undecided"] > 400 and seen["stands"] > 400 * ROUNDS


@pytest.mark.parametrize("plain", [False, True], ids=["contraction", "sum"])
def test_what_a_replay_computes_stands_and_what_orders_of_summation_round_otherwise_does_not(batch, plain):
    tried = refuted = 0
    for random, a, b in sum_cases(plain):
        zone = zone_of(a, b)
        if zone is None:
            continue
        terms = floats_of(a).astype(np.float64)
        if b:
            terms = terms * floats_of(b).astype(np.float64)
        right = int(sums.nearest_sum(torch.from_numpy(terms)[None], 24).view(torch.int32)) & 0xFFFFFFFF
        assert float32.order(right) == float32.nearest(zone.mid)
        shuffled = random.permutation(terms)
        results = {float(np.add.accumulate(each)[-1]) for each in (terms, terms[::-1], shuffled)}
        claimed = {float32.encoding(float32.nearest(Fraction(f))) for f in results}
        given = [(0, 1, window_of(a, b), y) for y in (right, *claimed)]
        verdicts = call(batch, "sums", [words(a), words(b)], given)
        assert not verdicts[0] & EXCLUDED
        for (*_, y), verdict in zip(given, verdicts, strict=True):
            assert not verdict & EXCLUDED or y != right
            refuted += verdict & EXCLUDED
        tried += 1
    assert tried > 300 and refuted > 100


# ---- elementwise


def inputs(random: np.random.Generator, n: int) -> list[int]:
    """Ordinary numbers and all others."""
    normal = bits_of(random.normal(0, 3, n))
    anything = random.integers(0, 2**32, n).tolist()
    wide = bits_of(random.normal(0, 1, n) * 2.0 ** random.integers(-140, 127, n))
    short = bits_of(random.integers(-64, 64, n) * 2.0 ** random.integers(-8, 8, n))
    edges = [0, 1, 2, 0x7FFFFF, 0x800000, cases.ONE, cases.LARGEST, float32.INFINITY, cases.NAN, 0x4E800000]
    return normal + anything + wide + short + edges + [x | float32.SIGN for x in edges]


def near(zone: rules.Zone | None, random: np.random.Generator) -> list[int]:
    if zone is None:
        return [0, cases.ONE, cases.NAN, float32.INFINITY]
    return cases.claims(random, zone)


def check_elements(
    batch, name: str, attributes: Sequence[int], zones: dict[tuple[int, int], rules.Zone], hair=Fraction(1)
):
    seen: Counter = Counter()
    random = np.random.default_rng(3)
    given = [(*x, y) for x, zone in zones.items() for y in near(zone, random)]
    for start in range(0, len(given), 2000):
        some = given[start : start + 2000]
        verdicts = call(batch, "elementwise", f"rounded.aten.{name}", list(attributes), some)
        for (a, b, y), verdict in zip(some, verdicts, strict=True):
            count(seen, zones[a, b], y, verdict, hair)
    return seen


@pytest.mark.parametrize("name", PAIRS + ROOTS)
def test_one_operation_is_decided_exactly(batch, name):
    random = np.random.default_rng(list(name.encode()))
    first, second = inputs(random, 100 * ROUNDS), inputs(random, 100 * ROUNDS)
    random.shuffle(second)
    zones = {}
    for a, b in zip(first, second, strict=True):
        zones[a, b] = rules.arithmetic(name, a, float32.to_float(b) if name in PAIRS else None)
    for a, b in itertools.product(KINDS, KINDS):
        zones[a, b] = rules.arithmetic(name, a, float32.to_float(b) if name in PAIRS else None)
    seen = check_elements(batch, name, [], zones)
    assert seen["excluded, not proven"] == seen["undecided"] == seen["split"] == 0
    assert min(seen["excluded"], seen["stands"]) > 100


@pytest.mark.parametrize("name", NUMBERS)
def test_an_operation_with_a_number_is_decided_for_all_its_53_digits(batch, name):
    random = np.random.default_rng(list(name.encode()))
    for number in (0.1, 3.0, -1e-5, 1 / 3, 0.0, -0.0, 2.0**-24 + 2.0**-70, 1e100, 0.5 + 2.0**-25):
        zones = {}
        for a in inputs(random, 15 * ROUNDS):
            zones[a, 0] = rules.arithmetic(name, a, number)
        seen = check_elements(batch, name, struct.unpack(">II", struct.pack(">d", number)), zones)
        assert seen["excluded, not proven"] == seen["undecided"] == 0
        assert seen["stands"] > 10


@pytest.mark.parametrize("number", [float("inf"), float("nan"), 1e-300, 1e300, 5e-324])
def test_numbers_with_which_float64_may_leave_its_range_decide_nothing(batch, number):
    attributes = list(struct.unpack(">II", struct.pack(">d", number)))
    for name in NUMBERS:
        verdicts = call(
            batch,
            "elementwise",
            f"rounded.aten.{name}",
            attributes,
            [(x, 0, y) for x in KINDS for y in (0, cases.NAN)],
        )
        assert set(verdicts) == {UNDECIDED}


@pytest.mark.parametrize("name", rules.ROUNDOFFS)
def test_elementary_functions_are_decided_as_in_ball_arithmetic(batch, name):
    random = np.random.default_rng(list(name.encode()))
    zones = {(x, 0): rules.elementary(name, x) for x in {*inputs(random, 250 * ROUNDS), *doubtful(name)}}
    seen = check_elements(batch, f"{name}.default", [7], zones, Fraction(2))
    print(name, seen)
    assert seen["undecided"] == 0
    assert seen["excluded"] > 1000 and seen["stands"] > 300
    assert seen["split"] > 0 or name == "tanh"
    assert seen["clear, not proven"] == 0


def doubtful(name: str) -> list[int]:
    """Inputs whose rounding is in doubt or nearly so: the hard ones and, for two functions, some whose value
    is all but a midpoint by its series, 1/2 + x/4 and 1 - x^2/2."""
    found = [int(word, 16) for word in HARD[name].split()]
    if name == "sigmoid":
        found += bits_of(np.arange(-255, 256, 2) * 2.0**-23)
    if name == "cos":
        found += bits_of([2.0**-12, -(2.0**-12)])
    return found


@pytest.mark.parametrize("name", rules.ROUNDOFFS)
def test_what_torch_computes_of_elementary_functions_stands(batch, name):
    random = np.random.default_rng(5)
    bits = inputs(random, 250 * ROUNDS) + doubtful(name)
    x = torch.from_numpy(floats_of(bits).copy()).double()
    kernels = [getattr(torch, name)(x), getattr(torch, name)(x.repeat_interleave(2)[::2])]
    for f in kernels:
        y = bits_of(f.to(torch.float32).numpy())
        given = [(a, 0, b) for a, b in zip(bits, y, strict=True)]
        verdicts = call(batch, "elementwise", f"rounded.aten.{name}.default", [7], given)
        for case, verdict, result in zip(given, verdicts, f.tolist(), strict=True):
            assert bool(verdict & EXCLUDED) != float32.is_finite(case[2]), (
                case
            )  # no recording goes on otherwise
            if verdict & SPLIT:
                tau = 2 * (rules.ROUNDOFFS[name] + 1) * abs(Fraction(result)) / 2**53
                assert float32.nearest(Fraction(result) - tau) != float32.nearest(Fraction(result) + tau)


# ---- draws


def test_batches_and_masks_are_the_reference_generators(batch):
    random = np.random.default_rng(11)
    for size in (1, 2, 3, 4, 5, 16, 17, 1000, 50_000, 2**20 + 1, 2**31 + 1, 2**32 - 1):
        key = tuple(int(word) for word in random.integers(0, 2**32, 2))
        positions = [int(p) for p in random.integers(0, 2**62, 400)] + list(range(20))
        drawn = call(batch, "members", positions, size, key[0] << 32 | key[1])
        expected = [philox.sample(p, 0, size, 1, key) for p in positions]
        assert list(drawn) == expected, size
    for threshold in (0, 1, 429496730, 2**31, 2**32 - 1):
        key = tuple(int(word) for word in random.integers(0, 2**32, 2))
        step, stream = int(random.integers(0, 2**40)), int(random.integers(2**31, 2**32))
        elements = [int(e) for e in random.integers(0, 2**36, 1000)]
        kept = call(batch, "areKept", elements, step, stream, threshold, key[0] << 32 | key[1])
        assert list(kept) == [philox.is_kept(e, step, stream, threshold, key) for e in elements]
        share = threshold / 2**32
        assert abs(sum(kept) / 1000 - (1 - share)) < 0.07
