"""Sums of products in twice the precision enclose the exact ones, by rational arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from tao.training import dots
from tao.training.dots import Dots

SIZES = [(1, 3, 1, 4), (1, 5, 7, 6), (3, 4, 65, 5), (2, 20, 130, 30)]


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def wide(*shape: int, seed: int) -> Tensor:
    """Over all of float32's exponents."""
    exponent = torch.randint(-149, 127, shape, generator=torch.Generator().manual_seed(seed + 50))
    return torch.ldexp(normal(*shape, seed=seed), exponent).clamp(-3e38, 3e38).float().double()


def cancelling(*shape: int, seed: int) -> Tensor:
    """Every lane and its negative, but for a little."""
    x = wide(*shape, seed=seed)
    return torch.where(torch.arange(shape[-1]) % 2 == 0, x, -x.roll(1, -1))


UNIT = 2**150
"""The smallest float32 number, and so every one of them, is a multiple of 1 / UNIT."""


def exact(left: Tensor, right: Tensor) -> list[Fraction]:
    """In integers, which are faster than fractions."""
    products = [_integers(a) @ _integers(b) for a, b in zip(left, right, strict=True)]
    return [Fraction(total, UNIT**2) for product in products for total in product.ravel().tolist()]


def _integers(x: Tensor) -> np.ndarray:
    def integer(number: float) -> int:
        numerator, denominator = number.as_integer_ratio()
        whole, rest = divmod(UNIT, denominator)
        assert rest == 0
        return numerator * whole

    result = np.empty(x.shape, object)
    result.ravel()[:] = [integer(number) for number in x.flatten().tolist()]
    return result


def assert_enclosed(found: Dots, sums: list[Fraction]) -> None:
    for high, low, lost, s in zip(*(x.tolist() for x in found), sums, strict=True):
        assert abs(s - Fraction(high) - Fraction(low)) <= Fraction(lost)


@pytest.mark.parametrize("make", (normal, wide, cancelling))
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("threads", ("one", "all"))
def test_every_element_is_enclosed(
    make: Callable[..., Tensor], size: tuple[int, ...], threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dots, "_PARALLEL_FROM", 0 if threads == "all" else 1 << 60)
    batch, rows, lanes, columns = size
    left, right = make(batch, rows, lanes, seed=1), make(batch, columns, lanes, seed=2).mT
    if make is cancelling:
        right = right.contiguous()
        right[:, 1 : 2 * (lanes // 2) : 2] = right[:, 0 : 2 * (lanes // 2) : 2]
    places = torch.arange(batch * rows * columns)
    found = dots.dots(left, right, places)
    sums = exact(left, right)
    assert_enclosed(found, sums)
    some = places[1::3]
    again = dots.dots(left.transpose(1, 2).contiguous().transpose(1, 2), right, some)
    assert all(torch.equal(x, y[some]) for x, y in zip(again, found, strict=True))


def test_what_is_lost_is_far_below_a_float64s_last_bit() -> None:
    left, right = normal(1, 40, 3000, seed=3), normal(1, 3000, 40, seed=4)
    found = dots.dots(left, right, torch.arange(1600))
    total = (left.abs() @ right.abs()).flatten()
    assert (found.lost > 0).all() and (found.lost <= total * 2.0**-80).all()
    sums = exact(left, right)
    assert_enclosed(found, sums)
    # A plain sum is off by more than that.
    plain, lost = (left @ right).flatten().tolist(), found.lost.tolist()
    assert sum(abs(s - Fraction(f)) > Fraction(x) for s, f, x in zip(sums, plain, lost, strict=True)) > 1500
