"""Honest orders of summation, run on a sample of a node's elements: what any machine may have computed there.

Percentiles are calibrated on ordinary inputs. On inputs made for it an honest kernel leaves them, and the
calibrated constant as well: of n roundings that all go one way a sequential sum makes an error that grows with
n, where a vendor's kernel makes one of a few units. So a judge whose percentiles reject a sum of products runs
honest schedules on the very inputs, and rejects only what is far beyond the worst of them. All numbers are
`theta_statistic`s.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from tao.graph.canonical import Node
from tao.graph.operators import CONTRACTION
from tao.graph.windows import Windows
from tao.numerics.contraction import node_theta, theta_statistic

SCHEDULE_TOLERANCE = 2.0
"""Times the worst of the judge's schedules that it accepts: kernels beyond its own have orders of their own."""
WORST, SPREAD = 32, 64
"""Elements of a sample: those furthest off, and others."""
_SEED = 1

_Lanes = list[tuple[Tensor, Tensor]]


def sequential(terms: Tensor) -> Tensor:
    """Left to right in one float32 accumulator; terms: float32 [m, n], the result [m]."""
    with np.errstate(over="ignore", invalid="ignore"):
        return torch.from_numpy(np.add.accumulate(terms.numpy(), axis=1)[:, -1].copy())


def interleaved(terms: Tensor, accumulators: int = 8) -> Tensor:
    """Accumulators that take every eighth term, as vector units do, added at the end; as `sequential`."""
    rows = pad(terms, (0, -terms.shape[1] % accumulators)).view(len(terms), -1, accumulators)
    return sequential(sequential(rows.mT.reshape(-1, rows.shape[1])).view(len(terms), accumulators))


def pairwise(terms: Tensor) -> Tensor:
    """Neighbours first; as `sequential`."""
    while terms.shape[1] > 1:
        terms = pad(terms, (0, terms.shape[1] % 2))
        terms = terms[:, ::2] + terms[:, 1::2]
    return terms[:, 0]


SCHEDULES: tuple[Callable[[Tensor], Tensor], ...] = (sequential, interleaved, pairwise)


def sample_elements(ratio: Tensor) -> Tensor:
    """Row-major indices of the elements to look at: those with the largest `ratio`, and others, the same ones
    for every output of this size."""
    flat = ratio.flatten()
    worst = flat.topk(min(WORST, len(flat))).indices
    others = torch.randperm(len(flat), generator=torch.Generator().manual_seed(_SEED))[:SPREAD]
    return torch.cat([worst, others]).unique()


def worst_schedule(
    node: Node,
    values: Sequence[Tensor],
    shape: Sequence[int],
    elements: Tensor,
    own: Tensor | None = None,
) -> float:
    """The largest statistic of the schedules on these elements, and of one's own output if given.

    node: one that `has_theta`. values: as for `node_theta`. shape: of the output. elements: row-major indices,
    int64 [m]. own: the whole output. A bias is added before the products or after them. Of a convolution the
    channels are the outer or the inner lanes.
    """
    orders, bias = _lanes(node, values, torch.unravel_index(elements, tuple(shape)), elements)
    a, b = orders[0]
    start = None if bias is None else bias[:, None, None]

    def statistic(y: Tensor) -> float:
        return float(theta_statistic(y[:, None, None], a[:, None], b[:, None], start).max())

    found = [] if own is None else [statistic(own.flatten()[elements])]
    for x, z in orders:
        products = x * z
        sums = [products]
        if bias is not None:
            sums = [torch.cat([bias[:, None], products], 1), torch.cat([products, bias[:, None]], 1)]
        found += [statistic(schedule(terms)) for terms in sums for schedule in SCHEDULES]
    return max(found)


def over_schedules(node: Node, values: Sequence[Tensor], claimed: Tensor, own: Tensor) -> float:
    """The claimed output's largest statistic over that of the worst schedule; own: the judge's output.

    Elements that are not finite count for nothing. Infinite where every schedule is exact and the claimed
    output is not. Arguments else as for `worst_schedule`.
    """
    ratio = node_theta(node, values, claimed)
    largest = float(ratio.max())
    if largest == 0:
        return 0.0
    worst = worst_schedule(node, values, claimed.shape, sample_elements(ratio), own)
    return largest / worst if worst > 0 else math.inf


def _lanes(
    node: Node, values: Sequence[Tensor], coordinates: Sequence[Tensor], elements: Tensor
) -> tuple[_Lanes, Tensor | None]:
    """What each element multiplies, float32 [m, n] for a and b, in each order of the lanes; the bias [m].

    Read by the record's maps, as the contracts do; lanes in the padding are zeros.
    """
    flat = [value.detach().contiguous().flatten() for value in values]
    first = [
        sum((o * s for o, s in zip(coordinates, m.strides, strict=True)), torch.zeros_like(elements))
        + m.offset
        for m in node.maps
    ]
    bias = flat[2][first[2]] if len(flat) > 2 else None
    if node.operator == CONTRACTION:
        lanes = torch.arange(node.reduction)
        return [tuple(flat[i][first[i][:, None] + lanes] for i in (0, 1))], bias
    a, b, inside = _windows(node, coordinates, first)
    levels = [torch.where(inside, flat[i][at.where(inside, 0)], 0.0) for i, at in enumerate((a, b))]
    orders = [levels, [x.movedim(1, -1) for x in levels], [x.movedim(-1, 1) for x in levels]]
    return [(x.flatten(1), z.flatten(1)) for x, z in orders], bias


def _windows(
    node: Node, coordinates: Sequence[Tensor], first: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Where a convolution reads a and b, and whether that is inside; [m] and the three levels of lanes."""
    windows = Windows.of(node.attributes)
    a = (first[0] + coordinates[1] // windows.per_group * windows.group_stride)[:, None, None, None]
    b = first[1][:, None, None, None]
    inside = torch.ones_like(a, dtype=torch.bool)
    for number, level in enumerate(windows.levels):
        lane = torch.arange(level.size).view([level.size if i == number else 1 for i in range(3)])
        place = lane[None]
        if found := windows.along(level, coordinates):
            axis, at = found
            place = axis.place(at[:, None, None, None], lane)
            inside = inside & (place >= 0) & (place < axis.extent)
        a, b = a + place * level.a_stride, b + lane * level.b_stride
    shape = torch.broadcast_shapes(a.shape, b.shape)
    return a.expand(shape), b.expand(shape), inside.expand(shape)
