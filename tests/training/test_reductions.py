"""Compiled sums of rows are as exact as a sum in any order, whatever way the rows lie in memory."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tao.training import reductions, zones

SHAPES = ((1, 1), (1, 70_000), (3, 0), (0, 5), (600, 100), (5, 40_000), (1300, 33))
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "rows": Tensor.contiguous,
    "columns": lambda x: x.T.contiguous().T,
    "every other": lambda x: x.repeat_interleave(2, 1)[:, ::2],
    "repeated": lambda x: x[:, :1].expand(x.shape),
}


@pytest.mark.parametrize("threads", ("one", "all"))
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_each_row_is_added_up_within_the_bound_of_any_order(
    shape: tuple[int, int], layout: str, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reductions, "_PARALLEL_FROM", 0 if threads == "all" else 1 << 60)
    x = LAYOUTS[layout](torch.randn(shape, generator=torch.Generator().manual_seed(1)))
    total, magnitudes = reductions.row_sums(x)
    rows = x.double().tolist()
    exact = torch.tensor([math.fsum(row) for row in rows], dtype=torch.float64)
    sizes = torch.tensor([math.fsum(map(abs, row)) for row in rows], dtype=torch.float64)
    reach = zones.gamma(shape[1]) * sizes
    assert ((total - exact).abs() <= reach).all() and ((magnitudes - sizes).abs() <= reach).all()
    assert total.shape == magnitudes.shape == shape[:1]


@pytest.mark.parametrize("value", (math.nan, math.inf, -math.inf))
@pytest.mark.parametrize("layout", ("rows", "columns"))
def test_what_is_not_finite_is_so_in_its_rows_sum_alone(value: float, layout: str) -> None:
    x = torch.ones(4, 600)
    x[2, 300] = value
    total, _ = reductions.row_sums(LAYOUTS[layout](x))
    assert total.isfinite().tolist() == [True, True, False, True]
