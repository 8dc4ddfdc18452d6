"""Convolutions and pooling by unfolding: padding, strided slices, one join, and a product of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from tao.training.decompositions.register import Table, register

TABLE: Table = {}
Pair = tuple[int, ...]


def fit(x: Tensor, before: Pair, size: Pair, value: float = 0.0) -> Tensor:
    """x with its last dimensions moved by `before` (cropped where negative) in `size`, `value` around it."""
    first, pads = x.dim() - len(size), []
    for dim, (start, length) in enumerate(zip(before, size, strict=True), first):
        if start < 0:
            x = x.narrow(dim, -start, x.shape[dim] + start)
        start = max(start, 0)
        if start + x.shape[dim] > length:
            x = x.narrow(dim, 0, length - start)
        pads = [start, length - start - x.shape[dim], *pads]
    return functional.pad(x, pads, value=value) if any(pads) else x


def spread(x: Tensor, strides: Pair) -> Tensor:
    """x with stride - 1 zeros after each element along its last dimensions, none after the last element."""
    if all(stride == 1 for stride in strides):
        return x
    lead, sizes = x.shape[: x.dim() - len(strides)], x.shape[x.dim() - len(strides) :]
    x = x.reshape(*lead, *(n for size in sizes for n in (size, 1)))
    x = functional.pad(x, [n for stride in reversed(strides) for n in (0, stride - 1, 0, 0)])
    x = x.reshape(*lead, *(size * stride for size, stride in zip(sizes, strides, strict=True)))
    return fit(x, (0,) * len(sizes), tuple((n - 1) * s + 1 for n, s in zip(sizes, strides, strict=True)))


def taps(x: Tensor, kernel: Pair, strides: Pair, dilation: Pair, out: Pair) -> list[Tensor]:
    """For each place of the window, in row-major order, what it reads for all places of the output."""
    rank, result = len(kernel), []
    for place in product(*map(range, kernel)):
        part = x
        for dim, (k, s, d, n) in enumerate(zip(place, strides, dilation, out, strict=True), x.dim() - rank):
            part = torch.ops.aten.slice(part, dim, k * d, k * d + (n - 1) * s + 1, s)
        result.append(part)
    return result


def _unfold(x: Tensor, kernel: Pair, strides: Pair, dilation: Pair, out: Pair, groups: int) -> Tensor:
    """Rows [N * places, groups, window * C / groups] of an image [N, C, ...] that is padded already."""
    parts = [
        part.movedim(1, -1).unflatten(-1, (groups, -1)) for part in taps(x, kernel, strides, dilation, out)
    ]
    joined = torch.cat(parts, -1) if len(parts) > 1 else parts[0]
    return joined.reshape(-1, groups, joined.shape[-1])


def _rows(x: Tensor, groups: int) -> Tensor:
    """An image [N, C, ...] as rows [N * places, groups, C / groups]."""
    return x.movedim(1, -1).reshape(-1, groups, x.shape[1] // groups)


def _folded(rows: Tensor, n: int, out: Pair) -> Tensor:
    """Rows [N * places, C] as an image [N, C, ...]."""
    return rows.reshape(n, *out, rows.shape[-1]).movedim(-1, 1)


def _multiply(rows: Tensor, weights: Tensor) -> Tensor:
    """[M, groups, K] and [groups, K, n]: the products of each group side by side, [M, groups * n]."""
    if len(weights) == 1:
        return torch.mm(rows[:, 0], weights[0])
    return torch.bmm(rows.transpose(0, 1), weights).transpose(0, 1).flatten(1)


class _Convolution:
    """A convolution of images [N, C, *size] with weights [O, C / groups, ...], and its gradients."""

    def __init__(self, size: Sequence[int], w: Tensor, stride, padding, dilation, groups: int) -> None:
        self.kernel, self.size, self.groups = tuple(w.shape[2:]), tuple(size), groups
        self.stride, self.padding, self.dilation = (
            tuple(given) * (len(self.kernel) // len(given)) for given in (stride, padding, dilation)
        )
        self.spans = tuple(d * (k - 1) for k, d in zip(self.kernel, self.dilation, strict=True))
        self.padded = tuple(n + 2 * p for n, p in zip(self.size, self.padding, strict=True))
        self.out = tuple(
            (n - span - 1) // s + 1 for n, span, s in zip(self.padded, self.spans, self.stride, strict=True)
        )

    @classmethod
    def transposed(cls, x: Tensor, w: Tensor, stride, padding, dilation, more, groups: int) -> _Convolution:
        """The one whose gradient by its images is the transposed convolution of x."""
        rank = w.dim() - 2
        given = [tuple(each) * (rank // len(each)) for each in (stride, padding, dilation, more)]
        size = [
            (n - 1) * s - 2 * p + d * (k - 1) + extra + 1
            for n, k, s, p, d, extra in zip(x.shape[2:], w.shape[2:], *given, strict=True)
        ]
        made = cls(size, w, *given[:3], groups)
        made.out = tuple(x.shape[2:])  # where more is added than a stride, others would fit, too
        return made

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        weights = w.movedim(1, -1).reshape(self.groups, w.shape[0] // self.groups, -1)
        return _folded(_multiply(self._read(x), weights.mT), x.shape[0], self.out)

    def image_gradient(self, g: Tensor, w: Tensor) -> Tensor:
        """The convolution of the gradient, spread by the stride, with the weights turned around."""
        n, ones, groups = g.shape[0], (1,) * len(self.kernel), self.groups
        by_group = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
        if math.prod(self.kernel) == 1:
            rows = _multiply(_rows(g, groups), by_group.flatten(2))
            return fit(
                spread(_folded(rows, n, self.out), self.stride), tuple(-p for p in self.padding), self.size
            )
        before = tuple(span - p for span, p in zip(self.spans, self.padding, strict=True))
        reach = tuple(size + span for size, span in zip(self.size, self.spans, strict=True))
        moved = fit(spread(g, self.stride), before, reach)
        rows = _unfold(moved, self.kernel, ones, self.dilation, self.size, groups)
        places = list(product(*map(range, self.kernel)))
        turned = torch.cat([by_group[(..., *place)].mT for place in reversed(places)], -1)
        return _folded(_multiply(rows, turned.mT), n, self.size)

    def weight_gradient(self, g: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """The products of every place's gradient with what the window reads there."""
        left, right = (rows.transpose(0, 1) for rows in (_rows(g, self.groups), self._read(x)))
        flat = torch.mm(left[0].t(), right[0]) if self.groups == 1 else torch.bmm(left.mT, right)
        return flat.reshape(w.shape[0], *self.kernel, w.shape[1]).movedim(-1, 1)

    def _read(self, x: Tensor) -> Tensor:
        padded = fit(x, self.padding, self.padded)
        return _unfold(padded, self.kernel, self.stride, self.dilation, self.out, self.groups)


@register(TABLE, "convolution")
def convolution(
    x: Tensor, w: Tensor, bias: Tensor | None, stride, padding, dilation, transposed, output_padding, groups
) -> Tensor:
    if x.dim() != w.dim():
        return NotImplemented
    if transposed:
        sizes = _Convolution.transposed(x, w, stride, padding, dilation, output_padding, groups)
        result = sizes.image_gradient(x, w)
    else:
        result = _Convolution(x.shape[2:], w, stride, padding, dilation, groups).forward(x, w)
    return result if bias is None else result + bias.reshape(-1, *(1,) * (x.dim() - 2))


@register(TABLE, "convolution_backward")
def convolution_backward(
    g: Tensor,
    x: Tensor,
    w: Tensor,
    bias_sizes,
    stride,
    padding,
    dilation,
    transposed,
    output_padding,
    groups,
    wanted,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    if x.dim() != w.dim():
        return NotImplemented
    if transposed:
        sizes = _Convolution.transposed(x, w, stride, padding, dilation, output_padding, groups)
        dx = sizes.forward(g, w) if wanted[0] else None
        dw = sizes.weight_gradient(x, g, w) if wanted[1] else None
    else:
        sizes = _Convolution(x.shape[2:], w, stride, padding, dilation, groups)
        dx = sizes.image_gradient(g, w) if wanted[0] else None
        dw = sizes.weight_gradient(g, x, w) if wanted[1] else None
    places = [d for d in range(g.dim()) if d != 1]
    return dx, dw, g.sum(places) if wanted[2] else None


class _Pool:
    def __init__(self, x: Tensor, kernel, stride, padding, dilation=(1, 1)) -> None:
        self.size = tuple(x.shape[2:])
        self.kernel, self.stride, self.padding, self.dilation = (
            tuple(given) * (2 // len(given)) for given in (kernel, stride or kernel, padding, dilation)
        )
        self.padded = tuple(n + 2 * p for n, p in zip(self.size, self.padding, strict=True))
        self.out = tuple(
            (n - d * (k - 1) - 1) // s + 1
            for n, k, s, d in zip(self.padded, self.kernel, self.stride, self.dilation, strict=True)
        )

    def windows(self, x: Tensor, around: float) -> Tensor:
        """[N, C, rows, columns, window]."""
        padded = fit(x, self.padding, self.padded, around)
        return torch.stack(taps(padded, self.kernel, self.stride, self.dilation, self.out), -1)

    def read(self) -> list[Tensor]:
        """For each place of the window, the index in the image that it reads, int64 [rows, columns]."""
        (height, width), (top, left) = self.out, self.padding
        y = torch.arange(height) * self.stride[0] - top
        x = torch.arange(width) * self.stride[1] - left
        return [
            (y[:, None] + i * self.dilation[0]) * self.size[1] + (x + j * self.dilation[1])
            for i, j in product(*map(range, self.kernel))
        ]

    def back(self, parts: list[Tensor]) -> Tensor:
        """The image that sums what each place of the window gives back, [N, C, rows, columns] each."""
        total = None
        for place, part in zip(product(*map(range, self.kernel)), parts, strict=True):
            before = tuple(k * d for k, d in zip(place, self.dilation, strict=True))
            part = fit(spread(part, self.stride), before, self.padded)
            total = part if total is None else total + part
        return fit(total, tuple(-p for p in self.padding), self.size)


@register(TABLE, "max_pool2d_with_indices")
def max_pool(
    x: Tensor, kernel, stride=(), padding=(0,), dilation=(1,), ceil_mode: bool = False
) -> tuple[Tensor, Tensor]:
    """Where several elements of a window are largest, the first one is taken, as ATen does."""
    if ceil_mode or x.dim() != 4:
        return NotImplemented
    pool = _Pool(x, kernel, stride, padding, dilation)
    windows = pool.windows(x, -math.inf)
    values = torch.amax(windows, [-1])
    lanes = windows.shape[-1]
    order = torch.arange(lanes, 0, -1, dtype=torch.float32)
    first = torch.amax(torch.where(windows == values[..., None], order, 0.0), [-1])
    read = torch.stack([torch.zeros(pool.out, dtype=torch.int64), *reversed(pool.read())])
    rows, columns = (torch.arange(n) for n in pool.out)
    return values, read[first.to(torch.int64), rows[:, None], columns]


@register(TABLE, "max_pool2d_with_indices_backward")
def max_pool_backward(
    g: Tensor, x: Tensor, kernel, stride, padding, dilation, ceil_mode: bool, indices: Tensor
) -> Tensor:
    if ceil_mode or x.dim() != 4:
        return NotImplemented
    pool = _Pool(x, kernel, stride, padding, dilation)
    return pool.back([torch.where(indices == read, g, 0.0) for read in pool.read()])


@register(TABLE, "avg_pool2d")
def avg_pool(
    x: Tensor,
    kernel,
    stride=(),
    padding=(0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Tensor:
    if ceil_mode or x.dim() != 4 or (any(padding) and not count_include_pad):
        return NotImplemented
    pool = _Pool(x, kernel, stride, padding)
    windows = pool.windows(x, 0.0)
    return windows.sum([-1]) / (divisor or windows.shape[-1])


@register(TABLE, "avg_pool2d_backward")
def avg_pool_backward(
    g: Tensor,
    x: Tensor,
    kernel,
    stride,
    padding,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    if ceil_mode or x.dim() != 4 or (any(padding) and not count_include_pad):
        return NotImplemented
    pool = _Pool(x, kernel, stride, padding)
    lanes = math.prod(pool.kernel)
    return pool.back([g / (divisor or lanes)] * lanes)


@register(TABLE, "_adaptive_avg_pool2d")
def adaptive_avg_pool(x: Tensor, out: Sequence[int]) -> Tensor:
    pairs = list(zip(x.shape[-2:], out, strict=True))
    if any(size % places for size, places in pairs):
        return NotImplemented
    parts = [n for size, places in pairs for n in (places, size // places)]
    return x.reshape(*x.shape[:-2], *parts).mean([-3, -1])


@register(TABLE, "_adaptive_avg_pool2d_backward")
def adaptive_avg_pool_backward(g: Tensor, x: Tensor) -> Tensor:
    factors = [size // places for size, places in zip(x.shape[-2:], g.shape[-2:], strict=True)]
    each = (g / math.prod(factors))[..., :, None, :, None]
    (rows, columns), (down, across) = g.shape[-2:], factors
    return each.expand(*g.shape[:-2], rows, down, columns, across).reshape(x.shape)
