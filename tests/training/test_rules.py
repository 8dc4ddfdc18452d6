"""The rules of rounded elements in rationals against IEEE 754 as numpy and torch have it."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch

from support import rounded_cases as cases
from support.floats import bits_of, floats_of
from tao.numerics import float32
from tao.numerics.dot import window_exponent
from tao.training import rules


def test_to_float64_is_pythons_division():
    random = np.random.default_rng(2)
    for _ in range(5_000):
        x = Fraction(int.from_bytes(random.bytes(30), "big") + 1, int.from_bytes(random.bytes(25), "big") + 1)
        assert rules.to_float64(x) == Fraction(float(x))


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
def test_arithmetic_is_float64s(name):
    random = np.random.default_rng(3)
    a, b = (floats_of(random.integers(0, 2**31 - 2**24, 3000)) for _ in range(2))
    with np.errstate(all="ignore"):
        results = getattr(torch, name)(torch.from_numpy(a).double(), torch.from_numpy(b).double())
        y = bits_of(results.numpy())
    for x, z, f, bits in zip(bits_of(a), bits_of(b), results.tolist(), y, strict=True):
        zone = rules.arithmetic(f"{name}.Tensor", x, float32.to_float(z))
        assert zone.mid == Fraction(f)
        assert not zone.excludes(bits) and zone.excludes(bits ^ 1) and not zone.is_split


PAIRS = ("add.Tensor", "sub.Tensor", "mul.Tensor", "div.Tensor")
ROOTS = ("sqrt.default", "reciprocal.default")
KINDS = [0.0, -0.0, 1.0, -3.0, 2.0**-149, -(2.0**-140), 2.0**127, -(2.0**127), np.inf, -np.inf, np.nan]
"""One number of each kind, as far as infinities and NaN go."""


@pytest.mark.parametrize("name", [*PAIRS, "rsub.Scalar", "div.Scalar", *ROOTS])
def test_arithmetic_of_infinities_zeros_and_nan_is_ieee_754s(name):
    word, overload = name.split(".")
    for x in KINDS:
        for z in [None] if name in ROOTS else KINDS:
            operands = [torch.tensor([each], dtype=torch.float64) for each in (x, z) if each is not None]
            (y,) = bits_of(getattr(torch, word)(*operands).numpy())
            zone = rules.arithmetic(name, *bits_of([x]), z)
            if overload == "Scalar" and not (z == 0 or 2.0**-500 <= abs(z) < 2.0**500):
                assert zone is None
                continue
            assert not zone.excludes(y), (x, z)
            is_nan = abs(float32.order(y)) > float32.INFINITY
            for other in (
                0,
                cases.ONE,
                float32.INFINITY,
                cases.NEGATIVE_INFINITY,
                cases.NAN,
                cases.NEGATIVE_NAN,
            ):
                same = (
                    float32.order(other) == float32.order(y)
                    or is_nan
                    and abs(float32.order(other)) > float32.INFINITY
                )
                assert zone.excludes(other) != same or zone.most, (x, z, hex(other))


@pytest.mark.parametrize("name", rules.ROUNDOFFS)
def test_a_recording_ends_where_a_function_is_not_finite(name):
    for x in KINDS:
        y = getattr(torch, name)(torch.tensor(x, dtype=torch.float64)).float()
        zone = rules.elementary(name, *bits_of([x]))
        assert zone.excludes(*bits_of([y.item()])) != bool(y.isfinite()), x
        for other in (np.inf, -np.inf, np.nan, 7.0):
            assert zone.excludes(*bits_of([other])), x


def test_roots_that_are_off_by_three_units_round_as_exact_ones():
    """Libraries' float64 roots need not be correctly rounded."""
    random = np.random.default_rng(4)
    bits = [*random.integers(1, 2**31 - 2**23, 3000).tolist(), 1, 2, 3, 0x7FFFFF, 0x800001]
    bits += [0x3F800000 + i for i in range(-300, 300)]
    for x in bits:
        zone = rules.arithmetic("sqrt.default", x)
        unit = Fraction(np.spacing(float(zone.mid)))
        unit /= 2 if np.log2(float(zone.mid)) % 1 == 0 else 1  # below a power of two
        places = {float32.nearest(zone.mid + i * unit) for i in (-3, 0, 3)}
        assert len(places) == 1
    x = torch.from_numpy(floats_of(bits).copy()).double()
    for b, y in zip(bits, bits_of(x.sqrt().float().numpy()), strict=True):
        assert not rules.arithmetic("sqrt.default", b).excludes(y)


def test_division_by_a_number_covers_multiplication_by_its_reciprocal():
    for x, number in itertools.product(bits_of(np.random.default_rng(5).normal(0, 1, 500)), (0.1, 3.0, 7e-5)):
        zone = rules.arithmetic("div.Scalar", x, number)
        product = float(float32.value(x)) * (1 / number)
        assert abs(Fraction(product) - zone.mid) <= zone.most


def test_windows_only_widen_what_is_known():
    random = np.random.default_rng(6)
    for a, b in cases.pairs(random, 40):
        exact = rules.contraction(a, b)
        if exact.mid is None:
            assert exact.excludes(0) and exact.excludes(cases.NAN) and not exact.is_split
            continue
        seen = rules.contraction(a, b, window_exponent(a, b))
        assert abs(seen.mid - exact.mid) <= seen.rad
        whole, part = rules.row(a), rules.row(a, rules.term_window(a))
        assert abs(part.mid - whole.mid) <= part.rad


def test_a_sum_is_its_nearest_number_and_its_zero_has_no_sign():
    tie = bits_of([1.0, 2.0**-24])
    assert not rules.row(tie).excludes(cases.ONE) and rules.row(tie).excludes(cases.ONE + 1)
    nothing = rules.contraction(bits_of([3.0, -3.0]), bits_of([1.0, 1.0]))
    assert not nothing.excludes(0) and nothing.excludes(float32.NEGATIVE_ZERO) and nothing.excludes(1)
    assert not rules.arithmetic("mul.Tensor", 0, -1.0).excludes(float32.NEGATIVE_ZERO)


def test_a_zone_spans_what_its_ends_round_to():
    one = Fraction(1)
    ulp = Fraction(1, 2**23)
    tie = one + ulp / 2
    zone = rules.Zone(tie)
    assert not zone.is_split and not zone.excludes(cases.ONE) and zone.excludes(cases.ONE + 1)  # ties to even
    zone = rules.Zone(tie, Fraction(0), ulp / 100, ulp / 100)
    assert zone.is_split and not zone.excludes(cases.ONE) and not zone.excludes(cases.ONE + 1)
    assert zone.excludes(cases.ONE - 1) and zone.excludes(cases.ONE + 2) and zone.excludes(cases.NAN)
    assert not rules.Zone(tie, ulp / 50, ulp / 100, ulp / 100).is_split  # S is not known well enough
    wide = rules.Zone(Fraction(0), Fraction(0), ulp, ulp)
    assert not any(map(wide.excludes, (0, float32.SIGN, 1, 0x80000001, 0x33800000, 0xB3800000)))


def test_beyond_the_largest_number_is_infinity_and_at_its_edge_either():
    edge = cases.midpoint(float32.INFINITY - 1)
    assert (
        float32.nearest(edge) == float32.INFINITY
        and float32.nearest(edge * (1 - Fraction(1, 2**60))) == 0x7F7FFFFF
    )
    zone = rules.Zone(edge, Fraction(0), edge / 2**50, edge / 2**50, may_break=True)
    assert zone.is_split and not zone.excludes(float32.INFINITY) and not zone.excludes(0x7F7FFFFF)
    assert zone.excludes(float32.INFINITY | float32.SIGN) and zone.excludes(cases.NAN)
