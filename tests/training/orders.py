"""Orders in which devices add, written out: the same products and terms, other last bits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

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


