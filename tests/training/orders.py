"""Orders in which devices add, written out: the same products and terms, other last bits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tao.training import kernels, zones

Order = Callable[[Tensor], Tensor]
"""float64[..., n] -> float64[...]: the sum of the last dimension."""


def forward(x: Tensor) -> Tensor:
    """One after the other."""
    total = torch.zeros_like(x[..., 0])
    for k in range(x.shape[-1]):
        total = total + x[..., k]
    return total


def backward(x: Tensor) -> Tensor:
    return forward(x.flip(-1))


def pairwise(x: Tensor) -> Tensor:
    while x.shape[-1] > 1:
        if x.shape[-1] % 2:
            x = torch.cat([x, torch.zeros_like(x[..., :1])], -1)
        x = x[..., ::2] + x[..., 1::2]
    return x[..., 0]


def blocked(x: Tensor, parts: int = 7) -> Tensor:
    """Split into parts, each added backwards, the parts forwards: as with split-K."""
    return forward(torch.stack([backward(p) for p in x.tensor_split(parts, -1) if p.shape[-1]], -1))


def largest_first(x: Tensor) -> Tensor:
    return forward(x.gather(-1, x.abs().argsort(-1, descending=True)))


ORDERS: dict[str, Order] = {
    "vendor": lambda x: x.sum(-1),
    "forward": forward,
    "backward": backward,
    "pairwise": pairwise,
    "blocked": blocked,
    "largest first": largest_first,
}


def compute_in(monkeypatch: pytest.MonkeyPatch, order: Order, seed: int = 0) -> None:
    """Let this process be a device that adds in this order, and whose functions are off by an ulp at
    times."""
    generator = torch.Generator().manual_seed(seed)

    def product(a: Tensor, b: Tensor) -> Tensor:
        return order(a[..., :, None, :] * b.mT[..., None, :, :]).contiguous()

    def row_sums(x: Tensor) -> tuple[Tensor, Tensor]:
        return order(x.double()), order(x.abs().double())

    def add_rows(x: Tensor, places: Tensor, rows: int) -> Tensor:
        total = x.new_zeros(rows, x.shape[1])
        for t in reversed(range(len(x))):
            total[places[t]] += x[t]
        return total

    def apply(name: str, x: Tensor) -> Tensor:
        ulps = torch.randint(-1, 2, x.shape, generator=generator).double()
        return getattr(torch, name)(x) * (1 + ulps * 2.0**-52)

    for name, function in (
        ("product", product),
        ("row_sums", row_sums),
        ("add_rows", add_rows),
        ("apply", apply),
    ):
        monkeypatch.setattr(kernels, name, function)


def compute_worst(monkeypatch: pytest.MonkeyPatch, seed: int = 0) -> None:
    """Let this process be a device whose products are nearly as far off as any order of summation may be."""
    generator = torch.Generator().manual_seed(seed)

    def product(a: Tensor, b: Tensor) -> Tensor:
        reach = 0.99 * zones.gamma(a.shape[-1] - 1) * (a.abs() @ b.abs())
        return a @ b + reach * (2 * torch.randint(0, 2, reach.shape, generator=generator) - 1)

    monkeypatch.setattr(kernels, "product", product)
