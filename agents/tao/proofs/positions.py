"""Positions of maxima and minima: which lane shows that a claimed one is wrong (contracts/libraries/Position.sol)."""

from __future__ import annotations

import torch
from torch import Tensor

from tao.graph.operators import overloads
from tao.proofs.leaf import Leaf

POSITIONS = overloads("argmax argmin")


def misplaced(leaf: Leaf) -> list[int]:
    """Row-major indices of the output elements that are refuted, in order."""
    index_map, lanes = leaf.map(0), leaf.node.reduction
    rows = leaf.elements[0].as_strided((*leaf.shape, lanes), (*index_map.strides, 1), index_map.offset)
    claimed = leaf.output.detach()
    outside = (claimed < 0) | (claimed >= lanes)
    better = _better(rows, claimed.clamp(0, lanes - 1), leaf.node.operator).any(-1)
    return (outside | better).flatten().nonzero().flatten().tolist()


def better_lane(leaf: Leaf, element: int) -> int | None:
    """The first lane that is better than the one that an output element claims, which is in the row."""
    first = leaf.first(0, element)
    row = leaf.elements[0][first : first + leaf.node.reduction]
    better = _better(row, leaf.output.detach().flatten()[element], leaf.node.operator)
    return int(better.byte().argmax()) if better.any() else None


def _better(rows: Tensor, claimed: Tensor, operator: str) -> Tensor:
    """rows: [..., n]; claimed: int64 [...]. Where lanes are beyond the claimed one, or before it and equal, but for
    numbers that may be taken for zero."""
    rank = _rank(rows, operator == "aten.argmin.default")
    given, claimed = rank.gather(-1, claimed[..., None]), claimed[..., None]
    ties = (rank == given) & (torch.arange(rank.shape[-1]) < claimed)
    if rows.is_floating_point():
        ties &= rank != 0
    return (rank > given) | ties


_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _rank(x: Tensor, least: bool) -> Tensor:
    """int64, larger for better numbers: NaNs largest, and 0 what kernels may take for zero."""
    if not x.is_floating_point():
        return ~x.long() if least else x.long()
    limits = torch.finfo(x.dtype)
    bits = x.contiguous().view(_BITS[x.element_size()]).long()
    top = 1 << 8 * x.element_size() - 1
    magnitude = bits & (top - 1)
    if x.dtype != torch.float16:
        smallest = torch.tensor(limits.smallest_normal, dtype=x.dtype).view(_BITS[x.element_size()])
        magnitude = torch.where(magnitude < int(smallest), 0, magnitude)
    order = torch.where(bits < 0, -magnitude, magnitude)
    return torch.where(x.isnan(), torch.iinfo(torch.int64).max, -order if least else order)
