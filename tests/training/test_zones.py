"""No order of summation and no library leaves the zones, and the zones are narrow enough to log little."""

from __future__ import annotations

import math
from collections.abc import Callable

import flint
import pytest
import torch
from torch import Tensor

from tao.training import rules, zones
from tao.training.rounding import Zones, round_to_grid
from training.orders import ORDERS

ELEMENTS = 100_000
LANES = 24


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=generator(seed)).double()


def wide(*shape: int, seed: int) -> Tensor:
    """float32 numbers of all sizes that products of two still fit in float32, and zeros."""
    exponent = torch.randint(-60, 60, shape, generator=generator(seed))
    x = torch.ldexp(gaussian(*shape, seed=seed + 1).float(), exponent)
    return torch.where(torch.rand(shape, generator=generator(seed + 2)) < 0.05, 0.0, x).double()


def cancelling(*shape: int, seed: int, rest: float = 2.0**-20) -> Tensor:
    """The second half takes back the first, but for a small part."""
    half = gaussian(*shape[:-1], shape[-1] // 2, seed=seed).float()
    noise = gaussian(*half.shape, seed=seed + 1).float() * rest
    return torch.cat([half, -half * (1 + noise)], -1).double()


def subnormal(*shape: int, seed: int) -> Tensor:
    return gaussian(*shape, seed=seed).float().mul_(2.0**-140).double()


DATA = {"gaussian": gaussian, "wide": wide, "cancelling": cancelling, "subnormal": subnormal}


def contraction(a: Tensor, b: Tensor) -> Zones:
    """Of a @ b in any order."""
    return zones.contraction(zones.norms(a, -1), zones.norms(b, -2), a.shape[-1] - 1)


def distance(f: Tensor, terms: Tensor) -> Tensor:
    """|f - S| of sums of the last dimension: exact to a relative 2^-53, since fsum rounds once."""
    rows = torch.cat([terms, -f[..., None]], -1).flatten(0, -2).tolist()
    return torch.tensor([abs(math.fsum(row)) for row in rows], dtype=torch.float64).view(f.shape)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("data", DATA)
def test_no_order_of_a_contraction_leaves_its_zone(data: str, order: str) -> None:
    size = math.isqrt(ELEMENTS // len(ORDERS) // len(DATA)) + 1
    a, b = DATA[data](size, LANES, seed=1), gaussian(LANES, size, seed=2).float().double()
    if data == "cancelling":
        b = b[: LANES // 2].repeat(2, 1)
    products = a[:, None, :] * b.T[None]  # exact: 48 bits
    f = ORDERS[order](products)
    tau = contraction(a, b).over(f)
    assert (distance(f, products) <= tau).all()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("terms", (2, 3, LANES))
def test_no_order_of_a_sum_leaves_its_zone(data: str, order: str, terms: int) -> None:
    count = ELEMENTS // len(ORDERS) // len(DATA)
    x = DATA[data](count, terms + terms % 2, seed=3)[:, :terms]
    f = ORDERS[order](x)
    tau = zones.summation(x.abs().sum(-1), terms).over(f)
    assert (distance(f, x) <= tau).all()


def test_sums_of_one_term_are_exact() -> None:
    assert zones.summation(torch.ones(1, dtype=torch.float64), 1).absolute.tolist() == [0.0]
    one = torch.ones(1, 1, dtype=torch.float64)
    assert contraction(one, one).over(one).tolist() == [[0.0]]


def test_an_adversarial_order_reaches_a_good_part_of_the_zone() -> None:
    # One large term and many of just over half its last bit: each addition loses as much as it can.
    terms = 257
    small = 2.0**-53 * (1 + 2.0**-10)
    x = torch.tensor([[1.0] + [small] * (terms - 1)], dtype=torch.float64)
    f = ORDERS["forward"](x)
    tau = zones.summation(x.abs().sum(-1), terms).over(f)
    assert 0.9 < float(distance(f, x) / tau) <= 1


def test_the_bound_is_never_below_its_formula() -> None:
    """With norms by exact arithmetic: a contract's tau is at most the recorder's."""
    a, b = wide(40, LANES, seed=5), wide(LANES, 40, seed=6)
    tau = contraction(a, b).over(a @ b)
    gamma = zones.gamma(LANES - 1)
    for i in range(40):
        for j in range(40):
            terms = [abs(x) * abs(y) for x, y in zip(a[i].tolist(), b[:, j].tolist(), strict=True)]
            assert gamma * math.fsum(terms) <= float(tau[i, j])
    total = zones.summation(a.abs().sum(-1), LANES)
    formula = [gamma * math.fsum(map(abs, row)) for row in a.tolist()]
    assert (torch.tensor(formula, dtype=torch.float64) <= total.over(a[:, 0])).all()


def argument(name: str, seed: int) -> Tensor:
    """Float32 numbers over the range where the function's value is neither 0, 1 nor infinite, and tiny
    ones."""
    x = torch.randn(ELEMENTS, generator=generator(seed))
    exponent = torch.randint(-30, 7, (ELEMENTS,), generator=generator(seed + 1))
    x = torch.ldexp(x, exponent)
    if name == "log":
        x = torch.ldexp(
            x.abs() + 2.0**-60, torch.randint(-60, 60, (ELEMENTS,), generator=generator(seed + 2))
        )
        x[: ELEMENTS // 4] = 1 + torch.randn(ELEMENTS // 4, generator=generator(seed + 3)) * 2.0**-12
    if name in ("sin", "cos"):
        x[: ELEMENTS // 4] *= 2.0**20
        multiples = torch.randint(1, 10**6, (ELEMENTS // 4,), generator=generator(seed + 4))
        x[-(ELEMENTS // 4) :] = (multiples * (math.pi / 2)).float()  # where the value nearly vanishes
        x = x.clamp(-(2.0**30), 2.0**30)
    return x


FUNCTIONS: dict[str, Callable[[flint.arb], flint.arb]] = {
    "exp": flint.arb.exp,
    "log": flint.arb.log,
    "tanh": flint.arb.tanh,
    "erf": flint.arb.erf,
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "sin": flint.arb.sin,
    "cos": flint.arb.cos,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_result_of_an_elementary_function_leaves_its_zone(name: str) -> None:
    x = argument(name, seed=7).double()
    f = getattr(torch, name)(x)
    tau = zones.elementary(name, x).over(f)
    before, flint.ctx.prec = flint.ctx.prec, 120
    try:
        function = FUNCTIONS[name]
        worst = 0.0
        for given, value, bound in zip(x.tolist(), f.tolist(), tau.tolist(), strict=True):
            error = abs(function(flint.arb(given)) - value)
            assert error <= bound, (given, value)
            worst = max(worst, float(error) / bound)
    finally:
        flint.ctx.prec = before
    assert worst > 0.02  # the comparison is one of real errors


def test_every_function_of_the_table_is_compared() -> None:
    assert set(FUNCTIONS) == set(rules.ROUNDOFFS)


def test_results_below_the_smallest_normal_number_may_be_flushed() -> None:
    x = torch.tensor([-709.0, -720.0, -800.0], dtype=torch.float64)
    assert (torch.exp(x) <= zones.elementary("exp", x).over(torch.zeros(3, dtype=torch.float64)))[1:].all()


@pytest.mark.parametrize("name", ("sin", "cos"))
def test_nothing_is_known_of_angles_beyond_reduction(name: str) -> None:
    x = torch.tensor([1.0, 2.0**31, -(2.0**40), 2.0**30], dtype=torch.float64)
    tau = zones.elementary(name, x).over(torch.zeros(4, dtype=torch.float64))
    assert torch.isinf(tau).tolist() == [False, True, True, False]
    assert round_to_grid(getattr(torch, name)(x), zones.elementary(name, x)).candidates.tolist() == [1, 2]


def share(f: Tensor, zone: Zones) -> float:
    """The part of the elements near a midpoint."""
    return len(round_to_grid(f, zone).candidates) / f.numel()


def test_zones_are_narrow_enough_to_leave_little_to_decide_or_to_log() -> None:
    a, b = gaussian(512, 768, seed=8).float().double(), gaussian(768, 512, seed=9).float().double()
    assert 1e-5 < share(a @ b, contraction(a, b)) < 1e-3
    x = gaussian(200_000, 32, seed=10).float().double()
    # Sums of few float32 numbers are often exact midpoints.
    assert 1e-3 < share(x.sum(-1), zones.summation(x.abs().sum(-1), 32)) < 5e-2
    x = gaussian(2_000_000, seed=11)
    for name in ("exp", "tanh", "erf", "sigmoid", "sin", "cos"):
        assert share(getattr(torch, name)(x), zones.elementary(name, x).scaled(2)) < 5e-6, name
