"""Widening keeps every number, and the norms that it gives are never below the true ones, whatever way matrices lie."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tao.training import widening

SHAPES = ((1, 300, 70), (3, 40, 50), (2, 1, 9), (2, 9, 1), (1, 700, 600), (2, 0, 3), (2, 3, 0))
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "rows": Tensor.contiguous,
    "columns": lambda x: x.mT.contiguous().mT,
    "heads": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "part of wider rows": lambda x: torch.cat([x, x], -1)[..., : x.shape[-1]],
    "every other": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "repeated": lambda x: x[:1].expand(x.shape),
}


@pytest.mark.parametrize("threads", ("one", "all"))
@pytest.mark.parametrize("dim", (-1, -2))
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_numbers_stay_and_norms_are_upper_bounds(
    shape: tuple[int, int, int], layout: str, dim: int, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widening, "_PARALLEL_FROM", 0 if threads == "all" else 1 << 60)
    generator = torch.Generator().manual_seed(1)
    x = LAYOUTS[layout](
        torch.randn(shape, generator=generator) * 10 ** torch.randn(shape, generator=generator)
    )
    wide, norms = widening.widened(x, dim)
    assert wide.dtype == torch.float64 and torch.equal(wide, x.double())
    lines = wide.movedim(dim, -1).flatten(0, 1).tolist()
    exact = [math.sqrt(math.fsum(number * number for number in line)) for line in lines]
    found = norms.flatten().tolist()
    assert norms.shape == wide.sum(dim).shape
    assert all(
        true * (1 - 2**-52) <= norm <= true * (1 + 1e-11) for norm, true in zip(found, exact, strict=True)
    )


def test_the_smallest_and_the_largest_numbers_have_their_norms() -> None:
    least, most = 2.0**-149, torch.finfo(torch.float32).max
    for number in (least, most):
        _, norms = widening.widened(torch.full((1, 4, 4), number), -1)
        assert norms.tolist() == [pytest.approx([2 * number] * 4, rel=1e-11)]


@pytest.mark.parametrize("value", (math.nan, math.inf))
def test_what_is_not_finite_has_no_finite_norm(value: float) -> None:
    x = torch.ones(1, 3, 5)
    x[0, 1, 2] = value
    for dim, at in ((-1, 1), (-2, 2)):
        norms = widening.widened(x, dim)[1][0]
        assert not norms[at].isfinite() and norms.isfinite().sum() == len(norms) - 1
