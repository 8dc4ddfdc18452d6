"""The calibrated rule of contractions against exact rationals: nothing within theta exceeds it, not with a
hostile window either, and everything a hundredth beyond it does.
"""

from __future__ import annotations

import os
from collections import Counter
from fractions import Fraction
from struct import pack

import pytest

from forge.generate_vectors import (
    ACCEPT,
    HAIR,
    NON_FINITE,
    Case,
    Generator,
    exceeds,
    good_window,
    is_finite,
    nearest,
    tolerance,
    value,
)
from support.harness import harness

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
CASES = 50_000 if DEEP else 3_000
BATCH = 500
GAS = 10_000_000_000
STANDS, EXCEEDS, REVERTED = range(3)
HUNDREDTH = Fraction(101, 100)


@pytest.fixture(scope="module")
def batch(wire, people):
    """The verdicts of the harness over the library, for packed cases."""
    contract = harness(wire, people, "DotBatch").contract

    def verdicts(cases: list[Case]) -> bytes:
        rows = [
            (words(c.a), words(c.b), c.bias is not None, c.bias or 0, c.window, c.y, c.theta) for c in cases
        ]
        return wire.call(contract, "exceeds", rows, gas=GAS)

    return verdicts


def words(bits: list[int]) -> bytes:
    return pack(f">{len(bits)}I", *bits)


def lanes(case: Case) -> list[tuple[int, int]]:
    return [*zip(case.a, case.b, strict=True), *([] if case.bias is None else [(case.bias, 0x3F800000)])]


def beyond(case: Case) -> tuple[bool, bool]:
    """Whether the claim exceeds theta, and whether it does by a hundredth."""
    if case.theta == 0 or not is_finite(case.y):
        return False, False
    exceeded, bound = exceeds(case.y, lanes(case), case.theta)
    exact = tolerance(lanes(case))[0]
    return exceeded, abs(value(case.y) - exact) > bound * HUNDREDTH


def test_nothing_within_theta_exceeds_it_and_all_a_hundredth_beyond_does(batch):
    generator, cases = Generator(2), []
    while len(cases) < CASES:
        if case := generator.calibrated_case():
            cases.append(case)
    seen = Counter()
    for start in range(0, CASES, BATCH):
        some = cases[start : start + BATCH]
        for case, verdict in zip(some, batch(some), strict=True):
            if case.expected == NON_FINITE:
                assert verdict == REVERTED, case
                seen["not finite"] += 1
                continue
            exceeded, clearly = beyond(case)
            assert verdict != EXCEEDS or exceeded, f"unsound: {case}"
            if case.window == good_window(lanes(case)):
                assert verdict == EXCEEDS or not clearly, f"not provable: {case}"
                assert verdict != REVERTED, case
                seen["beyond" if clearly else "within"] += 1
            else:
                seen["hostile window"] += 1
    assert all(seen[kind] > CASES / 50 for kind in ("not finite", "beyond", "within", "hostile window")), seen


def test_the_verdict_changes_within_a_hair_of_theta(batch):
    """Claims on both sides of the very edge of theta = 9, over lanes of ordinary numbers."""
    generator, cases, theta = Generator(3), [], 9 << 16
    while len(cases) < BATCH:
        count = 64 + generator.below(64)
        a, b = ([generator.number("usual") for _ in range(count)] for _ in range(2))
        pairs = list(zip(a, b, strict=True))
        exact, (_, bound) = tolerance(pairs)[0], exceeds(0, pairs, theta)
        side, edge = generator.pick((-1, 1)), generator.pick((1 / HAIR, HAIR))
        y = nearest(exact + side * edge * bound)
        found = abs(value(y) - exact) / bound
        if 1 / HAIR**2 < found < HAIR**2 and abs(found - 1) > Fraction(1, 1 << 20):
            cases.append(Case(good_window(pairs), ACCEPT, y, None, a, b, theta))
    verdicts = batch(cases)
    expected = [EXCEEDS if beyond(case)[0] else STANDS for case in cases]
    assert list(verdicts) == expected
    assert min(Counter(expected).values()) > BATCH / 4
