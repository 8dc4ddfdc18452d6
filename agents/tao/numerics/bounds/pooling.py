"""Average pooling: the mean of a window. (Maximum pooling is exact.)

For windows of at most n elements, T = sum |x|, D = the same over subnormal elements, c the divisor:

    tau = (gamma_(n+2) T + (n + 1) MIN + D) / c + 2 MIN

in any order of addition, the division possibly by a rounded reciprocal (Higham, Accuracy and Stability,
4.2). T / c is the same operator on magnitudes, in FP32, which is at least (1 - gamma_(n+2)) T / c - 4 MIN;
c >= 1.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tao.numerics.bounds.rule import DETERMINISTIC, OVERFLOW, SMALLEST_NORMAL, Bound, Rule, subnormal_part


def _pool(
    input: Tensor, operator: Callable[[Tensor], Tensor], window: int, divisor: float, rule: Rule
) -> Bound:
    worst = Rule().gamma(window + 2)
    lost = (window + 1) / divisor * SMALLEST_NORMAL + 2 * SMALLEST_NORMAL
    small = subnormal_part(input)
    if small is not None:
        lost = lost + operator(small)
    total = (operator(input.abs().to(rule.dtype)) + lost) / (1 - worst)
    tolerance = rule.gamma(window + 2) * total + lost
    tolerance = torch.where(total * max(window, divisor) * 2 < OVERFLOW, tolerance, math.inf)
    return rule.bound(tolerance, lambda: operator(input.double()))


def avg_pool(
    input: Tensor,
    kernel_size: list[int],
    stride: list[int] = (),
    padding: list[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    rank: int,
    rule: Rule = DETERMINISTIC,
) -> Bound:
    """avg_pool1d, 2d and 3d: tau = (gamma_(n+2) T + (n + 1) MIN + D) / c + 2 MIN, n the window's size, in the terms of
    the module's description.

    input: FP32 [N, C, *spatial] or without N; rank: the spatial dimensions.
    """
    pool = [torch.ops.aten.avg_pool1d, torch.ops.aten.avg_pool2d, torch.ops.aten.avg_pool3d][rank - 1]
    window = math.prod(kernel_size) if len(kernel_size) > 1 else kernel_size[0] ** rank
    arguments = [kernel_size, list(stride), list(padding), ceil_mode, count_include_pad]
    if rank > 1:
        arguments.append(divisor_override)
    # Windows at the border may hold, and be divided by, fewer elements.
    divisor = divisor_override or 1
    return _pool(input, lambda x: pool(x, *arguments), window, abs(divisor), rule)


def adaptive_avg_pool(
    input: Tensor, output_size: list[int], *, rank: int, rule: Rule = DETERMINISTIC
) -> Bound:
    """adaptive_avg_pool1d, 2d and 3d: tau of `avg_pool`, no window holding more than n, c = 1.

    input: FP32 [N, C, *spatial] or without N; rank: the spatial dimensions.
    """
    pools = [torch.ops.aten.adaptive_avg_pool1d, torch.ops.aten._adaptive_avg_pool2d]
    pools.append(torch.ops.aten._adaptive_avg_pool3d)
    sizes = list(output_size) * (rank if len(output_size) == 1 else 1)
    spatial = input.shape[-rank:]
    window = math.prod(min(-(-i // o) + 1, i) for i, o in zip(spatial, sizes, strict=True))
    return _pool(input, lambda x: pools[rank - 1](x, sizes), window, 1, rule)
