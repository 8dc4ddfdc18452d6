"""Linear interpolation along one and two dimensions. (Nearest-neighbour resizing is exact.)

An output is a convex combination of 2 or 4 neighbours x with weights from a coordinate computed in FP32:

    tau = gamma_12 I(|x|) + 2 delta I(max |x|) + 8 MIN,   delta = 8 u (sum of input sizes + 2)

I is the operator itself and max |x| the largest magnitude at most two elements away. A coordinate
(o + 1/2) scale - 1/2 < size takes at most four roundings, the scale's own included, so it is off by less
than 4 u (size + 2); both weights along a dimension move by that, possibly into a neighbouring cell, where
interpolation is continuous. The judge's own FP32 coordinates move I(max |x|) as much, hence 8.
"""

import torch
from torch import Tensor

from tao.errors import UnsupportedOperator
from tao.numerics.bounds.rule import DETERMINISTIC, SMALLEST_NORMAL, UNIT_ROUNDOFF, Bound, Rule

F = torch.nn.functional


def _interpolate(input: Tensor, resize, rank: int, rule: Rule) -> Bound:
    magnitude = input.abs()
    pool = F.max_pool1d if rank == 1 else F.max_pool2d
    largest = resize(pool(magnitude, 5, 1, 2))
    moved = 8 * UNIT_ROUNDOFF * sum(size + 2 for size in input.shape[-rank:])
    total = resize(magnitude)
    flushed = (8 + 4 * 2**rank) * SMALLEST_NORMAL
    # In FP32 `total` is itself off by a few u and by coordinates; `largest` covers both.
    tolerance = rule.gamma(12) * (total + moved * largest) + 2 * moved * largest + flushed
    return rule.bound(tolerance.to(rule.dtype), lambda: resize(input.double()))


def upsample_linear1d(
    input: Tensor,
    output_size: list[int] | None,
    align_corners: bool,
    scale_factors: list[float] | None,
    *,
    rule: Rule = DETERMINISTIC,
) -> Bound:
    """tau = gamma_12 I(|x|) + 2 delta I(max |x|) + flushed, from 2 neighbours, as in the module's description.

    input: FP32 [N, C, W].
    """
    operator = torch.ops.aten.upsample_linear1d.vec
    return _interpolate(input, lambda x: operator(x, output_size, align_corners, scale_factors), 1, rule)


def upsample_bilinear2d(
    input: Tensor,
    output_size: list[int] | None,
    align_corners: bool,
    scale_factors: list[float] | None = None,
    scales_h: float | None = None,
    scales_w: float | None = None,
    *,
    rule: Rule = DETERMINISTIC,
) -> Bound:
    """tau of `upsample_linear1d`, from 4 neighbours. input: FP32 [N, C, H, W]; scales per dimension or as one list.

    Raises UnsupportedOperator where both are given.
    """
    if scale_factors is None:
        operator = torch.ops.aten.upsample_bilinear2d.default
        return _interpolate(
            input, lambda x: operator(x, output_size, align_corners, scales_h, scales_w), 2, rule
        )
    if scales_h is not None or scales_w is not None:
        raise UnsupportedOperator("aten.upsample_bilinear2d takes its scales once")
    vector = torch.ops.aten.upsample_bilinear2d.vec
    return _interpolate(input, lambda x: vector(x, output_size, align_corners, scale_factors), 2, rule)
