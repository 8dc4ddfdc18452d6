"""Ordinary and hostile inputs, and simulated kernels of what adds.

The kernels add in any order (sequential, reversed, pairwise, blocked, by magnitude), with and without fused
multiply-add, and with subnormals flushed.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

SMALLEST_NORMAL = 2.0**-126
KINDS = ("normal", "wide", "cancelling", "subnormal", "huge", "equal", "outlier", "zero", "offset")


def draw(kind: str, *shape: int) -> Tensor:
    """FP32 inputs of a kind that breaks things; the last dimension cancels."""
    x = torch.randn(shape)
    if kind == "wide":
        return torch.ldexp(x, torch.randint(-60, 60, shape))
    if kind == "cancelling":
        half = x[..., : shape[-1] // 2]
        rest = x[..., 2 * half.shape[-1] :] * 1e-6
        return torch.cat([half, -half * (1 + 2.0**-22 * torch.randint(-2, 3, half.shape)), rest], -1)
    if kind == "subnormal":
        return torch.ldexp(x, torch.randint(-149, -120, shape))
    if kind == "huge":
        return torch.ldexp(x, torch.randint(40, 63, shape))
    if kind == "equal":
        return x[..., :1].expand(shape).clone()
    if kind == "outlier":
        x[..., torch.randint(shape[-1], ())] = 1e12
        return x
    if kind == "offset":
        return x * 1e-2 + 1e3
    return torch.zeros(shape) if kind == "zero" else x


def flush(x: Tensor) -> Tensor:
    """Subnormals to zero."""
    return torch.where(x.abs() < SMALLEST_NORMAL, 0.0, x)


def sequential(terms: Tensor, after: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
    """The sum of the last dimension from left to right, `after` every addition."""
    total = torch.zeros(terms.shape[:-1])
    for term in terms.unbind(-1):
        total = after(total + term)
    return total


def pairwise(terms: Tensor) -> Tensor:
    while terms.shape[-1] > 1:
        odd = terms.shape[-1] % 2
        paired = terms[..., : terms.shape[-1] - odd]
        terms = torch.cat([paired[..., ::2] + paired[..., 1::2], terms[..., paired.shape[-1] :]], -1)
    return terms[..., 0]


def blocked(terms: Tensor, width: int = 16) -> Tensor:
    return sequential(torch.stack([sequential(block) for block in terms.split(width, -1)], -1))


def fused(a: Tensor, b: Tensor) -> Tensor:
    """Left to right with one rounding per multiply-add."""
    total = torch.zeros(torch.broadcast_shapes(a.shape, b.shape)[:-1])
    for x, y in zip(a.unbind(-1), b.unbind(-1), strict=True):
        total = (total.double() + x.double() * y.double()).float()
    return total


def sums(terms: Tensor) -> list[Tensor]:
    """The last dimension's sum by every schedule."""
    ascending = terms.gather(-1, terms.abs().argsort(-1))
    return [
        sequential(terms),
        sequential(terms.flip(-1)),
        pairwise(terms),
        blocked(terms),
        sequential(ascending),
        sequential(ascending.flip(-1)),
        sequential(flush(terms), flush),
        terms.sum(-1),
    ]


def running_sums(terms: Tensor) -> list[Tensor]:
    """The last dimension's sums so far: one after the other, and by doubling the distance."""
    doubled, width = terms, 1
    while width < terms.shape[-1]:
        doubled = torch.cat([doubled[..., :width], doubled[..., width:] + doubled[..., :-width]], -1)
        width *= 2
    lanes = range(1, terms.shape[-1] + 1)
    return [torch.stack([sequential(terms[..., :n]) for n in lanes], -1), doubled, flush(doubled)]


def welford(x: Tensor) -> tuple[Tensor, Tensor]:
    mean, squares = torch.zeros(x.shape[:-1]), torch.zeros(x.shape[:-1])
    for count, term in enumerate(x.unbind(-1), 1):
        delta = term - mean
        mean = mean + delta / count
        squares = squares + delta * (term - mean)
    return mean, squares / x.shape[-1]


def anything(count: int) -> Tensor:
    """Finite floats of every exponent, and around zero."""
    bits = torch.randint(-(2**31), 2**31, (count,), dtype=torch.int64).to(torch.int32)
    x = bits.view(torch.float32)
    return torch.cat([x[x.isfinite()], torch.randn(count) * 4])


def windows_of(x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    """The windows of [N, C, *spatial] padded with zeros: [N, C, *outputs, elements]."""
    rank = len(kernel)
    windows = torch.nn.functional.pad(x, [size for size in reversed(padding) for _ in range(2)])
    for dim, (size, step) in enumerate(zip(kernel, stride, strict=True), 2):
        windows = windows.unfold(dim, size, step)
    return windows.flatten(2 + rank)


def averages(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], counts: bool
) -> list[Tensor]:
    """Means of windows by every schedule of their sums, divided and multiplied by the rounded reciprocal."""
    windows, present = (windows_of(y, kernel, stride, padding) for y in (x, torch.ones_like(x)))
    count = torch.full_like(present[..., 0], windows.shape[-1]) if counts else present.sum(-1)
    totals = sums(windows)
    return [y / count for y in totals] + [y * (1 / count) for y in totals]


def convolved(
    x: Tensor, w: Tensor, bias: Tensor, stride: Sequence[int], padding: Sequence[int], groups: int
) -> list[Tensor]:
    """The convolution [N, O, *outputs] by every schedule of the sums of its products, the bias added last."""
    rank = w.dim() - 2
    windows = windows_of(x, w.shape[2:], stride, padding).unflatten(1, (groups, 1, -1))
    rows = windows.movedim(3, -2).flatten(-2)  # [N, groups, 1, *outputs, lanes]
    weights = w.reshape(groups, -1, *[1] * rank, rows.shape[-1])
    return [y.flatten(1, 2) + bias.reshape(-1, *[1] * rank) for y in sums(rows * weights)]


def spread_out(x: Tensor, stride: Sequence[int]) -> Tensor:
    """[N, C, *spatial] with stride - 1 zeros between neighbours."""
    spread = torch.zeros(*x.shape[:2], *((n - 1) * s + 1 for n, s in zip(x.shape[2:], stride, strict=True)))
    spread[(..., *(slice(None, None, step) for step in stride))] = x
    return spread


def taps(n: int, k: int, corners: bool, fuse: bool) -> tuple[Tensor, Tensor, Tensor]:
    """First place, second place and the second's weight for k outputs from n inputs, in FP32 or with a coordinate
    that is rounded once."""
    places = torch.arange(k, dtype=torch.float32)
    if corners:
        scale = torch.tensor((n - 1) / (k - 1) if k > 1 else 0.0)
        r = scale * places
    else:
        scale = torch.tensor(n) / torch.tensor(k)
        wide = scale.double() * (places.double() + 0.5) - 0.5
        r = (wide.float() if fuse else scale * (places + 0.5) - 0.5).clamp(min=0)
    first = r.floor().long().clamp(max=n - 1)
    return first, (first + 1).clamp(max=n - 1), (r - first).clamp(0, 1)


def linear(x: Tensor, size: int, corners: bool, fuse: bool) -> Tensor:
    """Interpolated along the last dimension."""
    first, second, weight = taps(x.shape[-1], size, corners, fuse)
    return (1 - weight) * x[..., first] + weight * x[..., second]


def bilinear(x: Tensor, size: list[int], corners: bool, fuse: bool, separable: bool) -> Tensor:
    """Interpolated as kernels of GPUs do, or by one dimension after the other."""
    (y0, y1, v), (x0, x1, w) = (taps(n, k, corners, fuse) for n, k in zip(x.shape[2:], size, strict=True))
    v, top, bottom = v[:, None], x[:, :, y0], x[:, :, y1]
    if separable:
        rows = (1 - v) * top + v * bottom
        return (1 - w) * rows[..., x0] + w * rows[..., x1]
    corner = [part[..., at] for part in (top, bottom) for at in (x0, x1)]
    weights = [(1 - v) * (1 - w), (1 - v) * w, v * (1 - w), v * w]
    return sequential(torch.stack([a * b for a, b in zip(weights, corner, strict=True)], -1))


def online_attention(q: Tensor, k: Tensor, v: Tensor, block: int = 8) -> Tensor:
    """Fused attention that moves its maximum and rescales block by block of keys."""
    largest = torch.full((*q.shape[:-1], 1), -math.inf)
    total, output = torch.zeros_like(largest), torch.zeros(*q.shape[:-1], v.shape[-1])
    for keys, values in zip(k.split(block, -2), v.split(block, -2), strict=True):
        scores = (q @ keys.mT) / math.sqrt(q.shape[-1])
        moved = torch.maximum(largest, scores.amax(-1, keepdim=True))
        weights, factor = (scores - moved).exp(), (largest - moved).exp()
        total = total * factor + weights.sum(-1, keepdim=True)
        output, largest = output * factor + weights @ values, moved
    return output / total
