"""Whether a deviation over several operators is what honest kernels produce.

Deviations accumulate over a segment even between honest machines, so no single operator's threshold fits its
end. The challenger replays the segment from the claimed start in float32 and in float64: the distance between
its two replays measures how this segment, on these inputs, amplifies rounding. A claimed end many times
further from the float64 replay than that was not computed by a float32 kernel.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tao.numerics.statistics import FLOOR, ratio, typical_size

DRIFT_THRESHOLD = 16.0
"""Ratio above which an end is implausible. Honest kernels stay below 4, because the errors of two float32
executions have one distribution; what saves a cheat work (int8, bfloat16, other weights) lies far above. A
wrong guess only costs a dispute: no verdict uses this number."""


def tensor_drift(claimed: Tensor, single: Tensor, double: Tensor) -> float:
    """`drift_ratio` of one tensor of the state."""
    if claimed.shape != single.shape or claimed.dtype != single.dtype or double.shape != single.shape:
        given, expected = (f"{x.dtype} {tuple(x.shape)}" for x in (claimed, single))
        raise ValueError(f"cannot compare {given} with {expected}")
    if not single.dtype.is_floating_point:
        return 0.0 if torch.equal(claimed, single) else math.inf
    y, own, exact = (x.detach().double().flatten().numpy() for x in (claimed, single, double))
    finite = np.isfinite(y) & np.isfinite(own)
    if not finite.all() and not np.array_equal(y[~finite], own[~finite], equal_nan=True):
        return math.inf
    finite &= np.isfinite(exact)
    if not finite.any():
        return 0.0
    if not finite.all():
        y, own, exact = y[finite], own[finite], exact[finite]
    floor = FLOOR * torch.finfo(single.dtype).eps / 2 * typical_size(exact)
    theirs, ours = np.abs(y - exact), np.abs(own - exact)
    return max(
        ratio(float(theirs.max()), float(ours.max()) + floor),
        ratio(math.sqrt(np.mean(theirs**2)), math.sqrt(np.mean(ours**2)) + floor),
    )


def drift_ratio(claimed: Sequence[Tensor], single: Sequence[Tensor], double: Sequence[Tensor]) -> float:
    """How implausible the claimed state at the end of a segment is; above DRIFT_THRESHOLD it is disputed.

    claimed: the state as committed. single, double: one's own replays from the claimed start in float32 and
    in float64, tensor by tensor. With y, y32 and y64 of one tensor the ratio is the larger, over the maximum
    and the root mean square norm, of |y - y64| / (|y32 - y64| + 4 u s), s the typical size of y64 and u the
    unit roundoff; the state's is the worst tensor's. Infinite where an integer, a boolean, an infinity or a
    NaN differs from the float32 replay. Raises ValueError if the states do not hold the same tensors.
    """
    return max((tensor_drift(*tensors) for tensors in zip(claimed, single, double, strict=True)), default=0.0)
