"""Sums are the exact ones correctly rounded, by rational arithmetic, in whatever order a device adds."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from tao.graph.canonical import Node
from tao.graph.operators import CONTRACTION
from tao.training import kernels, sums
from tao.training.kernels import COMPUTED
from tao.training.rounding import nearest
from training.orders import ORDERS, compute_in, compute_worst

GRIDS = (24, 11, 8)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rounded(s: Fraction, bits: int) -> float:
    """The nearest number of the grid, ties to even, as `tao.training.rounding` holds it."""
    if s == 0:
        return 0.0
    place = s.numerator.bit_length() - s.denominator.bit_length()
    place -= Fraction(2) ** place > abs(s)
    unit = Fraction(2) ** (max(place, -126) - bits + 1)
    value = round(s / unit) * unit
    return math.copysign(math.inf, value) if abs(value) >= 2**128 else float(value)


def expected(terms: Tensor, bits: int) -> Tensor:
    values = [rounded(sum(map(Fraction, row)), bits) for row in terms.tolist()]
    return torch.tensor(values, dtype=torch.float64).float()


def same(a: Tensor, b: Tensor) -> bool:
    """Bit by bit, signs of zeros too."""
    return torch.equal(a.view(torch.int32), b.view(torch.int32))


# ---- terms


def normal(count: int, lanes: int, seed: int) -> Tensor:
    a, b = torch.randn(2, count, lanes, generator=generator(seed))
    return a.double() * b.double()


def short(count: int, lanes: int, seed: int) -> Tensor:
    """Of few digits: their sums often are midpoints of coarse grids, and zero."""
    return torch.randint(-64, 65, (count, lanes), generator=generator(seed)).double()


def wide(count: int, lanes: int, seed: int) -> Tensor:
    """Products over the whole range of float32's exponents, that no cut reaches the end of."""
    exponent = torch.randint(-149, 127, (2, count, lanes), generator=generator(seed))
    a, b = torch.ldexp(torch.randn(2, count, lanes, generator=generator(seed + 1)).double(), exponent).float()
    return torch.ldexp(a.double() * b.double(), torch.tensor(-130.0)).clamp(-1e30, 1e30)


def subnormal(count: int, lanes: int, seed: int) -> Tensor:
    return normal(count, lanes, seed) * 2.0**-148


def cancelling(count: int, lanes: int, seed: int) -> Tensor:
    """All but a rest of any size, or none at all."""
    half = wide(count, lanes // 2, seed)
    rest = torch.ldexp(
        torch.randn(count, 1, generator=generator(seed)).float(),
        torch.randint(-90, 10, (count, 1), generator=generator(seed)),
    )
    rest[::5] = 0.0
    shuffled = torch.cat([half, -half, rest.double()], -1)
    return shuffled[:, torch.randperm(shuffled.shape[1], generator=generator(seed))]


def tied(count: int, lanes: int, seed: int) -> Tensor:
    """A midpoint of the finest grid, beside what cancels, large and small, and what decides it: nothing, or the
    least product."""
    middle = torch.ldexp(
        torch.randint(2**24, 2**25, (count, 1), generator=generator(seed)).double() // 2 * 2 + 1,
        torch.randint(-160, 90, (count, 1), generator=generator(seed)).clamp(min=-150),
    )
    half = normal(count, max(lanes // 2 - 1, 1), seed).float().double() * middle
    least = torch.randint(-1, 2, (count, 1), generator=generator(seed)).double() * 2.0**-298
    sign = torch.randint(0, 2, (count, 1), generator=generator(seed + 1)) * 2 - 1
    dust = normal(count, lanes, seed + 2).float().double() * 2.0**-200
    dust[::2] = 0.0
    return torch.cat([middle, dust, half, least, -half, -dust], -1) * sign


TERMS: dict[str, Callable[[int, int, int], Tensor]] = {
    "normal": normal,
    "short": short,
    "wide": wide,
    "subnormal": subnormal,
    "cancelling": cancelling,
    "tied": tied,
}


@pytest.mark.parametrize("bits", GRIDS)
@pytest.mark.parametrize("lanes", (1, 2, 3, 8, 50, 300))
@pytest.mark.parametrize("name", TERMS)
def test_sums_are_those_of_rational_arithmetic(name: str, lanes: int, bits: int) -> None:
    terms = TERMS[name](max(3000 // lanes, 40), lanes, 7)
    assert same(sums.nearest_sum(terms, bits), expected(terms, bits))


def test_the_sum_of_very_many_terms_that_cancel_is_exact() -> None:
    terms = cancelling(3, 1 << 17, 3)
    assert same(sums.nearest_sum(terms, 24), expected(terms, 24))


def test_the_sum_of_the_smallest_products_and_of_none_is_known() -> None:
    least = torch.tensor([[2.0**-298, 0.0], [-(2.0**-298), 0.0], [-0.0, -0.0], [2.0**-150, 0.0]]).double()
    least[:, 0] = torch.tensor([2.0**-298, -(2.0**-298), -0.0, 2.0**-150], dtype=torch.float64)
    assert same(sums.nearest_sum(least, 24), torch.zeros(4))  # 2^-150 is a tie of 0 and 2^-149
    least[3, 1] = 2.0**-298
    assert sums.nearest_sum(least, 24).tolist() == [0.0, 0.0, 0.0, 2.0**-149]
    assert same(sums.nearest_sum(torch.zeros(2, 0, dtype=torch.float64), 24), torch.zeros(2))


def test_the_edge_of_infinity_is_decided() -> None:
    edge = 2.0**128 - 2.0**103
    terms = torch.tensor([[edge, 0.0], [edge, -(2.0**-200)], [edge, 2.0**-200]], dtype=torch.float64)
    assert sums.nearest_sum(torch.cat([terms, -terms]), 24).tolist() == [
        *(math.inf, 2.0**128 - 2.0**104, math.inf),
        *(-math.inf, -(2.0**128 - 2.0**104), -math.inf),
    ]


def test_few_sums_need_exact_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def counted(row: list[float]) -> float:
        nonlocal calls
        calls += 1
        return fsum(row)

    fsum = math.fsum
    monkeypatch.setattr(sums.math, "fsum", counted)
    for name in ("normal", "short", "subnormal"):
        sums.nearest_sum(TERMS[name](2000, 64, 5), 24)
    assert calls == 0
    sums.nearest_sum(tied(100, 64, 5), 24)
    assert calls == 2 * 50  # a sum, and what it is off by


# ---- pieces


def half_back(count: int, lanes: int, seed: int) -> Tensor:
    half = torch.randn(count, lanes // 2, generator=generator(seed))
    noise = torch.randint(-2, 3, half.shape, generator=generator(seed)) * 2.0**-20
    return torch.cat([half, -half * (1 + noise)], -1)


def whole(shape: tuple[int, ...], seed: int) -> Tensor:
    """Numbers of all 24 digits, of which sums often are midpoints."""
    return torch.randint(-(2**24), 2**24, shape, generator=generator(seed)).float()


def node(name: str, target: str, *args: object) -> Node:
    return Node(f"rounded.{name}", target, args, {}, (), (), (0,), (0,), 0, ())


def total(*args: object) -> Node:
    return node("aten.sum.dim_IntList", "aten.sum.dim_IntList", None, *args)


def looked_up(g: Tensor, places: Tensor) -> Tensor:
    chosen = places.flatten() == torch.arange(ROWS)[:, None]
    return chosen[:, None] * g.T[None]


ROWS = 70
PLACES = torch.randint(0, 9, (9, 10), generator=generator(9)) ** 2
FACTOR = torch.randn(3, 48, 10, generator=generator(4)).repeat(1, 2, 1)
CASES: dict[str, tuple[Node, list[Tensor], Callable[..., Tensor]]] = {
    "mm": (
        node("contraction", "aten.mm.default"),
        [half_back(40, 96, 2), FACTOR[0]],
        lambda a, b: a[:, None] * b.T[None],
    ),
    "bmm": (
        node("contraction", "aten.bmm.default"),
        [half_back(60, 96, 3).view(3, 20, 96), FACTOR],
        lambda a, b: a[:, :, None] * b.mT[:, None],
    ),
    "sum": (
        total([1]),
        [half_back(60, 16, 5).view(10, 6, 16).permute(1, 2, 0)],
        lambda x: x.transpose(1, 2),
    ),
    "sum of two": (total([1, -1], True), [whole((700, 2, 2), 6)], lambda x: x.reshape(700, 1, 1, 4)),
    "sum of all": (total([0, 1]), [half_back(1, 1000, 7)], lambda x: x.reshape(1000)),
    "embedding gradient": (
        node("tao.embedding_gradient.default", "tao.embedding_gradient.default", None, None, ROWS),
        [whole((90, 25), 8), PLACES],
        looked_up,
    ),
}
"""Of every sum: the node, its operands, and what gives the terms [..., K] of all elements."""


def settled(name: str, tensors: list[Tensor], like: Tensor, bits: int, size: int) -> tuple[Tensor, int]:
    """The output computed in pieces, and how many results round otherwise before they are settled."""
    each = CASES[name][0]
    out, others = torch.zeros(like.shape), 0
    for piece in COMPUTED[kernels.name_of(each)](each, tensors, size):
        values = torch.empty(piece.f.shape)
        assert sums.settle(piece, bits, values)
        out.view(-1)[piece.elements(torch.arange(piece.f.numel()))] = values.view(-1)
        others += int((nearest(piece.f, bits) != values).sum())
    return out, others


@pytest.mark.parametrize("bits", GRIDS)
@pytest.mark.parametrize("name", CASES)
def test_every_order_and_piece_gives_the_correctly_rounded_sums(
    name: str, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, tensors, terms_of = CASES[name]
    tensors = [nearest(t.double(), bits) if t.is_floating_point() else t for t in tensors]
    terms = terms_of(*(t.double() if t.is_floating_point() else t for t in tensors))
    right = expected(terms.reshape(-1, terms.shape[-1]), bits).view(terms.shape[:-1])
    others = 0
    for size in (1 << 20, 300):
        assert same(settled(name, tensors, right, bits, size)[0], right)
    devices = [lambda patch, order=order: compute_in(patch, order) for order in ORDERS.values()]
    for device in (*devices, compute_worst):
        with monkeypatch.context() as patch:
            device(patch)
            values, differing = settled(name, tensors, right, bits, 500)
        assert same(values, right)
        others += differing
    assert others or bits < 24 or name not in ("mm", "bmm")  # devices do differ before


@pytest.mark.parametrize("name", ("mm", "bmm"))
def test_a_product_in_runs_is_rounded_correctly_and_has_the_smaller_zone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    each, tensors, terms_of = CASES[name]
    terms = terms_of(*(t.double() for t in tensors))
    right = expected(terms.reshape(-1, terms.shape[-1]), 24).view(terms.shape[:-1])
    (whole,) = COMPUTED[CONTRACTION](each, tensors, 1 << 30)
    monkeypatch.setattr(kernels, "_RUN", 5)
    runs = -(-terms.shape[-1] // 5)
    for order in ORDERS.values():
        with monkeypatch.context() as patch:
            compute_in(patch, order)
            (piece,) = COMPUTED[CONTRACTION](each, tensors, 1 << 30)
            off = [
                abs(Fraction(f) - sum(map(Fraction, row)))
                for f, row in zip(piece.f.flatten().tolist(), terms.flatten(0, -2).tolist(), strict=True)
            ]
            tau = piece.zone().over(piece.f).flatten().tolist()
            assert all(d <= Fraction(t) for d, t in zip(off, tau, strict=True))
            assert same(settled(name, tensors, right, 24, 500)[0], right)
    narrower = piece.zone().rows / whole.zone().rows
    assert torch.allclose(narrower, torch.tensor((4 + runs - 1) / (terms.shape[-1] - 1)).double(), atol=1e-6)


@pytest.mark.parametrize("value", (math.inf, math.nan))
def test_sums_that_are_not_finite_are_told_and_others_beside_them_are_right(value: float) -> None:
    each, (a, b), terms_of = CASES["mm"]
    broken = a.clone()
    broken[3, 5] = value
    (piece,) = COMPUTED[kernels.name_of(each)](each, [broken, b], 1 << 20)
    values = torch.empty(piece.f.shape)
    assert not sums.settle(piece, 24, values)
    terms = terms_of(a.double(), b.double())
    values = values[0]
    right = expected(terms.reshape(-1, terms.shape[-1]), 24).view(values.shape)
    keep = torch.arange(len(a)) != 3
    assert same(values[keep], right[keep]) and not values[3].isfinite().any()


def test_a_sum_that_one_device_rounds_to_infinity_is_finite_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    half = 2.0**127 - 2.0**102
    x = torch.tensor([[half, half, -(2.0**40), -(2.0**76), 2.0**76]], dtype=torch.float64).float()
    x[0, 0] = x[0, 1] = 2.0**127 - 2.0**103
    x = torch.cat([x, torch.tensor([[2.0**103]])], -1)
    each = total([1])
    for order in ORDERS.values():
        with monkeypatch.context() as patch:
            compute_in(patch, order)
            (piece,) = COMPUTED[kernels.name_of(each)](each, [x], 1 << 20)
            values = torch.empty(1)
            assert sums.settle(piece, 24, values)
            assert values.item() == 2.0**128 - 2.0**104


def test_a_sum_that_one_device_rounds_to_a_finite_number_is_infinite_on_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    half = 2.0**127 - 2.0**103
    x = [half, half, 2.0**103, -(2.0**74 + 2.0**60), *[2.0**72] * 4, 2.0**60]  # 2^128 - 2^103, half way
    ones = torch.ones(len(x), 1)
    results = set()
    for order in ORDERS.values():
        with monkeypatch.context() as patch:
            compute_in(patch, order)
            for row in (x, x[::-1]):
                (piece,) = COMPUTED[CONTRACTION](CASES["mm"][0], [torch.tensor([row]), ones], 1 << 20)
                results.add(piece.f.item())
                values = torch.empty(1, 1, 1)
                assert not sums.settle(piece, 24, values) and values.item() == math.inf
    assert min(results) < 2.0**128 - 2.0**103 <= max(results)  # devices do differ before


def test_terms_beyond_the_range_of_float32_add_up_whatever_range_ldexp_has(monkeypatch):
    """In some versions of torch it multiplies by a power of two that is a float32 number."""
    monkeypatch.setattr(torch, "ldexp", lambda x, exponent: x * 2.0 ** exponent.float())
    terms = torch.tensor([[2.0**250, 1.5 * 2.0**100, -(2.0**250), 2.0**40]], dtype=torch.float64)
    assert same(sums.nearest_sum(terms, 24), expected(terms, 24))
