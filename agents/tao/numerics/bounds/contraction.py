"""Matrix products and convolutions: sums of products, in any order, with or without FMA.

For n lanes (a bias is one), T = sum |a_k b_k|, D = the same over lanes with a subnormal factor:

    tau = gamma_n T + 2 D + (2 n + 1) MIN

(Higham, Accuracy and Stability, 3.1; docs/protocol.md, section 4). Padding with zeros, blocking, split-K and
atomics are orders of summation. Winograd, FFT and Strassen algorithms and inputs rounded to TF32 or BF16 are
not, and leave this bound.

T is computed by the same operator on magnitudes in FP32, for the price of one call. It then is at least
(1 - gamma_n) T - (2 n + 1) MIN - 2 D, which is undone. _NARROW more covers a judge whose own matrix units
round inputs to TF32 or BF16. On CUDA it goes around cuDNN, which may choose Winograd.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor

from tao.errors import UnsupportedOperator
from tao.numerics.bounds.rule import (
    DETERMINISTIC,
    OVERFLOW,
    SMALLEST_NORMAL,
    Bound,
    Rule,
    as_float32,
    is_subnormal,
    subnormal_part,
)

_NARROW = 1 + 2.0**-6
_SMALL = 2.0**20

aten = torch.ops.aten


def _subnormal_lanes(product: Callable[..., Tensor], a: Tensor, b: Tensor) -> Tensor | None:
    """sum |a b| over lanes with a subnormal factor, float64; None where there are none."""
    small_a, small_b = subnormal_part(a), subnormal_part(b)
    total = None
    if small_a is not None:
        total = product(small_a, b.abs().double())
    if small_b is not None:
        rest = a.abs().double() if small_a is None else a.abs().double() - small_a
        part = product(rest, small_b)
        total = part if total is None else total + part
    return total


def _may_overflow(total: Tensor) -> bool:
    return total.numel() > 0 and not float(total.max()) < OVERFLOW / 8  # NaN may, too


def _bilinear(
    product: Callable[..., Tensor],
    a: Tensor,
    b: Tensor,
    bias: Tensor | None,
    lanes: int,
    rule: Rule,
    alpha: float = 1.0,
    beta: float = 1.0,
) -> Bound:
    """The bound of beta bias + alpha product(a, b), where every output element of `product` sums at most
    `lanes` products. bias: broadcastable to the output."""
    alpha, beta = as_float32(alpha), as_float32(beta)
    if beta == 0:
        bias = None
    scaled = (alpha != 1) + (beta != 1 and bias is not None)
    n = lanes + (bias is not None) + scaled
    reach = max(1.0, abs(alpha))
    lost: Tensor | float = (2 * n + 1) * SMALLEST_NORMAL * reach
    with torch.backends.cudnn.flags(enabled=False) if a.is_cuda else nullcontext():
        x, y = a.abs(), b.abs()
        total = product(x, y)
        largest = float(x.max() + y.max()) if a.numel() and b.numel() else 0.0
        if largest < _SMALL and not rule.with_value:
            # 2 D is at most this, which is cheaper than to look for subnormals.
            lost += 2 * reach * lanes * SMALLEST_NORMAL * largest
        else:
            subnormal = _subnormal_lanes(product, a, b)
            lost = lost if subnormal is None else lost + 2 * reach * subnormal
        scaling = None
        if alpha != 1:
            # alpha may be multiplied into either factor first, and that product be flushed, or into the sum.
            factors = product(x, torch.ones_like(b)) + product(torch.ones_like(a), y)
            scaling = torch.maximum(total, abs(alpha) * factors)
            flushed = abs(alpha) * total if abs(alpha) < SMALLEST_NORMAL else 0.0  # alpha may count as zero
            total, lost = total * abs(alpha), lost + 2 * SMALLEST_NORMAL * factors + flushed
    if bias is not None:
        total = total + abs(beta) * bias.abs()
        if abs(beta) < SMALLEST_NORMAL:
            lost = lost + abs(beta) * bias.abs()  # beta may count as zero
        if bool(is_subnormal(bias).any()):
            lost += 2 * max(1.0, abs(beta)) * SMALLEST_NORMAL
    worst = Rule().gamma(n + 2)
    up, gamma = (_NARROW / (1 - worst) if worst < 1 else math.inf), rule.gamma(n)
    # (T + lost) up is at least the exact T.
    intermediate = [total] if scaling is None else [total, scaling]
    tolerance = (total * (gamma * up)).add_(lost * (1 + gamma * up))
    for sums in filter(_may_overflow, intermediate):
        tolerance = tolerance.masked_fill((sums + lost) * (up * (1 + gamma)) >= OVERFLOW / 2, math.inf)

    def value() -> Tensor:
        result = alpha * product(a.double(), b.double())
        return result if bias is None else result + beta * bias.double()

    return rule.bound(tolerance, value)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None, *, rule: Rule = DETERMINISTIC) -> Bound:
    """input weight^T + bias: tau = gamma_n T + 2 D + (2 n + 1) MIN, n = K and one more with a bias; T, D and the
    kernels for which it holds as in the module's description.

    input [..., K], weight [N, K] or [K], bias [N]: FP32.
    """
    return _bilinear(torch.nn.functional.linear, input, weight, bias, input.shape[-1], rule)


def matmul(input: Tensor, other: Tensor, *, rule: Rule = DETERMINISTIC) -> Bound:
    """input other: tau of `linear` without a bias, n = K; also mm, bmm, mv, dot.

    input [..., M, K] or [K], other [..., K, N] or [K], broadcast as torch.matmul does: FP32.
    """
    return _bilinear(torch.matmul, input, other, None, input.shape[-1], rule)


def mm(input: Tensor, mat2: Tensor, *, rule: Rule = DETERMINISTIC) -> Bound:
    """input mat2, as `matmul`. input [..., M, K], mat2 [..., K, N]; also bmm."""
    return matmul(input, mat2, rule=rule)


def mv(input: Tensor, vec: Tensor, *, rule: Rule = DETERMINISTIC) -> Bound:
    """input vec, as `matmul`. input [M, K], vec [K]."""
    return matmul(input, vec, rule=rule)


def dot(input: Tensor, tensor: Tensor, *, rule: Rule = DETERMINISTIC) -> Bound:
    """sum input tensor, as `matmul`. input [K], tensor [K]."""
    return matmul(input, tensor, rule=rule)


def outer(input: Tensor, vec2: Tensor, *, rule: Rule = DETERMINISTIC) -> Bound:
    """input vec2^T: tau of `linear` with n = 1. input [M], vec2 [N]."""
    return _bilinear(torch.outer, input, vec2, None, 1, rule)


def addmm(
    input: Tensor,
    mat1: Tensor,
    mat2: Tensor,
    *,
    beta: float = 1,
    alpha: float = 1,
    rule: Rule = DETERMINISTIC,
) -> Bound:
    """beta input + alpha mat1 mat2: tau = gamma_n T + max(1, |alpha|) (2 D + (2 n + 1) MIN) with
    T = |alpha| sum |a_k b_k| + |beta input|, and 2 MIN (sum |a_k| + sum |b_k|) more unless alpha = 1;
    where alpha or beta is subnormal, and may count as zero, so may all that it multiplies.

    Each of alpha and beta other than 1 adds a rounding to n = K + 1, and may be multiplied in at any point, where
    products may be flushed, or overflow, which decides nothing. mat1 [M, K], mat2 [K, N], input broadcastable to
    [M, N]: FP32.
    """
    return _bilinear(torch.matmul, mat1, mat2, input, mat1.shape[-1], rule, alpha, beta)


def baddbmm(
    input: Tensor,
    batch1: Tensor,
    batch2: Tensor,
    *,
    beta: float = 1,
    alpha: float = 1,
    rule: Rule = DETERMINISTIC,
) -> Bound:
    """beta input + alpha batch1 batch2, as `addmm`. batch1 [B, M, K], batch2 [B, K, N]."""
    return addmm(input, batch1, batch2, beta=beta, alpha=alpha, rule=rule)


def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    *,
    rule: Rule = DETERMINISTIC,
) -> Bound:
    """tau of `linear`, with a lane per channel of the group and kernel position; fewer are used at borders and in
    transposed convolutions, where the bound only is larger.

    input [N, C, *spatial] (or without N), weight [O, C / groups, *kernel]; transposed: [C, O / groups, *kernel];
    bias [O]: FP32.
    """
    rank = weight.dim() - 2
    kernel = math.prod(weight.shape[2:])
    lanes = (weight.shape[0] // groups if transposed else weight.shape[1]) * kernel

    def product(x: Tensor, w: Tensor) -> Tensor:
        batched = x if x.dim() == rank + 2 else x.unsqueeze(0)
        y = aten.convolution(batched, w, None, stride, padding, dilation, transposed, output_padding, groups)
        return y if x.dim() == rank + 2 else y.squeeze(0)

    bias = None if bias is None else bias.reshape(-1, *[1] * rank)
    return _bilinear(product, input, weight, bias, lanes, rule)


def conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: list[int] = (1,),
    padding: list[int] = (0,),
    dilation: list[int] = (1,),
    groups: int = 1,
    *,
    rule: Rule = DETERMINISTIC,
) -> Bound:
    """conv1d, conv2d and conv3d: tau and shapes as for `convolution`; sizes of one number serve every dimension."""
    rank = weight.dim() - 2
    sizes = [_spread(size, rank) for size in (stride, padding, dilation)]
    return convolution(input, weight, bias, *sizes, False, [0] * rank, groups, rule=rule)


def conv_transpose(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: list[int] = (1,),
    padding: list[int] = (0,),
    output_padding: list[int] = (0,),
    groups: int = 1,
    dilation: list[int] = (1,),
    *,
    rule: Rule = DETERMINISTIC,
) -> Bound:
    """conv_transpose1d, 2d and 3d: tau and shapes as for `convolution`, transposed."""
    rank = weight.dim() - 2
    stride, padding, output_padding, dilation = (
        _spread(size, rank) for size in (stride, padding, output_padding, dilation)
    )
    return convolution(
        input, weight, bias, stride, padding, dilation, True, output_padding, groups, rule=rule
    )


def _spread(size: int | list[int], rank: int) -> list[int]:
    if isinstance(size, str):
        raise UnsupportedOperator(f"padding {size!r} of a convolution has no bound; give its sizes")
    sizes = [size] if isinstance(size, int) else list(size)
    return sizes * rank if len(sizes) == 1 else sizes
