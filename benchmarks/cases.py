"""Calls on ordinary and hostile inputs by family, with what real and simulated kernels make of them.

Simulated kernels add in any order (sequential, reversed, pairwise, blocked, by magnitude), with and
without fused multiply-add, and with subnormals flushed.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from tao.graph.literals import Slot

SMALLEST_NORMAL = 2.0**-126

Case = tuple[str, list, dict, tuple[Tensor, ...], list[Tensor]]
"""An ATen call (target, args, kwargs, operands) and the results of kernels for its first output."""

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


def contractions() -> Iterator[Case]:
    for kind in KINDS:
        n = int(torch.randint(1, 80, ()))
        a, b = draw(kind, 400, n), draw("normal" if kind in ("huge", "outlier") else kind, 400, n)
        results = [*sums(a * b), *sums(flush(flush(a) * flush(b))), fused(a, b)]
        operands = a[:, None], b[..., None]
        results = [y[:, None, None] for y in results] + [torch.bmm(*operands)]
        yield "aten.bmm.default", [Slot(0), Slot(1)], {}, operands, results
        x, w, bias = draw(kind, 64, n), torch.randn(48, n), draw(kind, 48)
        call = [Slot(0), Slot(1), Slot(2)]
        yield "aten.linear.default", call, {}, (x, w, bias), [torch.nn.functional.linear(x, w, bias)]
    for groups, channels in ((1, 6), (2, 8), (8, 8)):
        for dilation, stride in ((1, 1), (2, 1), (1, 2)):
            for kind in KINDS:
                x, w = draw(kind, 1, channels, 20, 20), torch.randn(8, channels // groups, 3, 3)
                arguments = [None, [stride] * 2, [1, 1], [dilation] * 2]
                results = [
                    torch.conv2d(y, w, *arguments, groups)
                    for y in (x, x.to(memory_format=torch.channels_last))
                ]
                call = [Slot(0), Slot(1), *arguments, False, [0, 0], groups]
                yield "aten.convolution.default", call, {}, (x, w), results


def reductions() -> Iterator[Case]:
    for kind in KINDS:
        n = int(torch.randint(1, 120, ()))
        x = draw(kind, 500, n)
        totals = sums(x)
        yield "aten.sum.dim_IntList", [Slot(0), [-1]], {}, (x,), totals
        means = [x.mean(-1), *(y / n for y in totals), *(y * torch.tensor(1 / n) for y in totals)]
        yield "aten.mean.dim", [Slot(0), [-1]], {}, (x,), means
        prefixes = [x.cumsum(-1), x.T.contiguous().cumsum(0).T, *running_sums(x)]
        yield "aten.cumsum.default", [Slot(0), -1], {}, (x,), prefixes
        norms = [x.norm(dim=-1), *(y.sqrt() for y in sums(x * x))]
        yield "aten.linalg_vector_norm.default", [Slot(0), 2, [-1]], {}, (x,), norms


def softmaxes() -> Iterator[Case]:
    for kind in KINDS:
        for scale in (0.1, 3.0, 30.0):
            n = int(torch.randint(1, 100, ()))
            x = draw(kind, 100, n) * scale
            shift = x - x.amax(-1, keepdim=True)
            log2e = torch.tensor(math.log2(math.e))
            results, logs = [torch.softmax(x, -1)], [torch.log_softmax(x, -1)]
            for e in (shift.exp(), flush(shift.exp()), (shift * log2e).exp2(), (x * log2e).exp2() / 1):
                if e.isfinite().all() and (e.amax(-1) == 1).all():
                    for total in sums(e):
                        results += [e / total[:, None], e * (1 / total[:, None])]
                        logs.append(shift - total.log()[:, None])
            yield "aten.softmax.int", [Slot(0), -1], {}, (x,), results
            yield "aten.log_softmax.int", [Slot(0), -1], {}, (x,), logs


def welford(x: Tensor) -> tuple[Tensor, Tensor]:
    mean, squares = torch.zeros(x.shape[:-1]), torch.zeros(x.shape[:-1])
    for count, term in enumerate(x.unbind(-1), 1):
        delta = term - mean
        mean = mean + delta / count
        squares = squares + delta * (term - mean)
    return mean, squares / x.shape[-1]


def normalisations() -> Iterator[Case]:
    for kind in KINDS:
        n = int(torch.randint(1, 130, ()))
        x, w, b, eps = draw(kind, 60, n), torch.randn(n), torch.randn(n), 1e-5
        results = [torch.layer_norm(x, [n], w, b, eps)]
        squares = [y / n for y in sums(x * x)]
        moments = [welford(x)]
        for total, square in zip(sums(x), squares, strict=True):
            mean = total / n
            centred = x - mean[:, None]
            moments += [(mean, square - mean * mean), (mean, sequential(centred * centred) / n)]
        for mean, variance in moments:
            rstd = 1 / (variance.clamp_min(0) + eps).sqrt()
            mean, rstd = mean[:, None], rstd[:, None]
            results.append((x - mean) * rstd * w + b)
            results.append(x * (rstd * w) + (b - mean * rstd * w))
        call = [Slot(0), [n], Slot(1), Slot(2), eps]
        yield "aten.layer_norm.default", call, {}, (x, w, b), results
        scaled = [x * (1 / (square + eps).sqrt())[:, None] * w for square in squares]
        yield "aten.rms_norm.default", [Slot(0), [n], Slot(1), eps], {}, (x, w), scaled
        images, w, b = draw(kind, 2, 8, 6, 6), torch.randn(8), torch.randn(8)
        call = [Slot(0), 4, Slot(1), Slot(2), eps]
        results = [torch.group_norm(images, 4, w, b, eps)]
        yield "aten.group_norm.default", call, {}, (images, w, b), results
        mean, variance = torch.randn(8), torch.rand(8)
        call = [*(Slot(i) for i in range(5)), 0.1, eps]
        results = [torch.batch_norm(images, w, b, mean, variance, False, 0.1, eps, False)]
        column = [v[:, None, None] for v in (w * (variance + eps).rsqrt(), mean, b)]
        results.append(images * column[0] + (column[2] - column[1] * column[0]))
        target = "aten._native_batch_norm_legit_no_training.default"
        yield target, call, {}, (images, w, b, mean, variance), results


UNARY = (
    "exp exp2 expm1 tanh erf erfc sin cos tan log log2 log10 log1p sqrt rsqrt reciprocal sigmoid silu gelu"
    " hardsigmoid hardswish square leaky_relu"
).split()


def anything(count: int) -> Tensor:
    """Finite floats of every exponent, and around zero."""
    bits = torch.randint(-(2**31), 2**31, (count,), dtype=torch.int64).to(torch.int32)
    x = bits.view(torch.float32)
    return torch.cat([x[x.isfinite()], torch.randn(count) * 4])


def elementwise() -> Iterator[Case]:
    for name in UNARY:
        x = anything(1000)
        function = getattr(torch.ops.aten, name)
        results = [function(x), flush(function(flush(x)))]
        yield f"aten.{name}.default", [Slot(0)], {}, (x,), results
    for exponent in (0.5, -0.5, -1.0, 2.0, 3.0, 5.0, 1.7, -2.3):
        x = anything(500)
        call = [Slot(0), exponent]
        yield "aten.pow.Tensor_Scalar", call, {}, (x,), [x**exponent, flush(flush(x) ** exponent)]
    x = anything(500)
    yield (
        "aten.gelu.default",
        [Slot(0)],
        {"approximate": "tanh"},
        (x,),
        [torch.ops.aten.gelu(x, approximate="tanh")],
    )
    a = anything(1000)
    b = anything(1500)[: len(a)]
    a = a[: len(b)]
    for name, function in (("add", torch.add), ("sub", torch.sub), ("mul", torch.mul), ("div", torch.div)):
        results = [function(a, b), flush(function(flush(a), flush(b)))]
        if name == "div":
            results.append(a * (1 / b))
        yield f"aten.{name}.Tensor", [Slot(0), Slot(1)], {}, (a, b), results


def averages(
    x: Tensor, kernel: list[int], stride: list[int], padding: list[int], counts: bool
) -> list[Tensor]:
    """Means of windows by every schedule of their sums, divided and multiplied by the rounded reciprocal."""
    around = [padding[1], padding[1], padding[0], padding[0]]
    padded, inside = torch.nn.functional.pad(x, around), torch.nn.functional.pad(torch.ones_like(x), around)
    windows, present = (
        y.unfold(2, kernel[0], stride[0]).unfold(3, kernel[1], stride[1]).flatten(-2)
        for y in (padded, inside)
    )
    count = torch.full_like(present[..., 0], windows.shape[-1]) if counts else present.sum(-1)
    totals = sums(windows)
    return [y / count for y in totals] + [y * (1 / count) for y in totals]


def pools() -> Iterator[Case]:
    for kind in KINDS:
        x = draw(kind, 4, 8, 12, 12)
        operator = torch.ops.aten.avg_pool2d
        for kernel, stride, padding, counts in (
            ([3, 3], [2, 2], [0, 0], True),
            ([3, 2], [1, 2], [1, 1], True),
            ([2, 5], [2, 3], [1, 2], False),
        ):
            call = [kernel, stride, padding, False, counts]
            results = [operator(x, *call), operator(x.to(memory_format=torch.channels_last), *call)]
            results += averages(x, kernel, stride, padding, counts)
            yield "aten.avg_pool2d.default", [Slot(0), *call], {}, (x,), results
        for call in ([[3, 4], [2, 3], [1, 2], True, True], [[3, 3], [2, 2], [1, 1], True, False, 7]):
            yield "aten.avg_pool2d.default", [Slot(0), *call], {}, (x,), [operator(x, *call)]
        for size in ([5, 7], [4, 6], [13, 20]):
            results = [
                torch.ops.aten.adaptive_avg_pool2d(layout, size)
                for layout in (x, x.to(memory_format=torch.channels_last))
            ]
            yield "aten.adaptive_avg_pool2d.default", [Slot(0), size], {}, (x,), results


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


def interpolations() -> Iterator[Case]:
    for kind in KINDS:
        x = draw(kind, 2, 3, 9, 11)
        for size, corners in (
            ([18, 22], False),
            ([31, 40], True),
            ([13, 5], False),
            ([17, 21], True),
            ([9, 1], False),
        ):
            layouts = x, x.to(memory_format=torch.channels_last)
            results = [
                torch.ops.aten.upsample_bilinear2d.vec(layout, size, corners, None) for layout in layouts
            ]
            results += [
                bilinear(x, size, corners, fuse, separable)
                for fuse in (False, True)
                for separable in (False, True)
            ]
            yield "aten.upsample_bilinear2d.vec", [Slot(0), size, corners, None], {}, (x,), results


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


def attentions() -> Iterator[Case]:
    attend = torch.nn.functional.scaled_dot_product_attention
    backend = torch.nn.attention.SDPBackend
    for scale in (0.3, 1.0, 4.0):
        for kind in ("normal", "equal", "cancelling", "offset", "zero"):
            q, k, v = draw(kind, 1, 2, 40, 16) * scale, draw("normal", 1, 2, 40, 16), draw(kind, 1, 2, 40, 16)
            for causal in (False, True):
                results = []
                for kernel in (backend.MATH, backend.FLASH_ATTENTION):
                    with torch.nn.attention.sdpa_kernel(kernel):
                        results.append(attend(q, k, v, is_causal=causal))
                if not causal:
                    results.append(online_attention(q, k, v))
                call = [Slot(0), Slot(1), Slot(2), None, 0.0, causal]
                yield "aten.scaled_dot_product_attention.default", call, {}, (q, k, v), results


def exact_results() -> Iterator[Case]:
    """Operators whose results are bit-equal, by torch and by another way to the same."""
    aten = torch.ops.aten
    for kind in ("normal", "wide", "offset", "huge", "outlier", "equal"):
        x, y = draw(kind, 4, 6, 8, 9), draw(kind, 4, 6, 8, 9)
        lanes = torch.arange(8)[:, None]
        for name, extremum in (("max", x.amax(2, keepdim=True)), ("min", x.amin(2, keepdim=True))):
            first = torch.where(x == extremum, lanes, 8).amin(2)
            found = getattr(x, f"arg{name}")(2)
            yield f"aten.arg{name}.default", [Slot(0), 2], {}, (x,), [found, first]
            yield (
                f"aten.a{name}.default",
                [Slot(0), [2]],
                {},
                (x,),
                [extremum[:, :, 0], x.gather(2, first[:, :, None])[:, :, 0]],
            )
        windows = x.unfold(2, 3, 2).unfold(3, 3, 2).flatten(-2)
        pooled = [aten.max_pool2d(x, [3, 3], [2, 2]), windows.amax(-1)]
        yield "aten.max_pool2d.default", [Slot(0), [3, 3], [2, 2]], {}, (x,), pooled
        larger = torch.where(x > y, x, y)
        yield "aten.maximum.default", [Slot(0), Slot(1)], {}, (x, y), [torch.maximum(x, y), larger]
        yield "aten.gt.Tensor", [Slot(0), Slot(1)], {}, (x, y), [x > y, ~(y >= x)]
        yield "aten.where.self", [Slot(0), Slot(1), Slot(2)], {}, (x > y, x, y), [larger]
        yield "aten.relu.default", [Slot(0)], {}, (x,), [x.relu(), x.clamp(min=0)]
        index = torch.randint(8, (4, 6, 5, 9))
        gathered = [x.gather(2, index), torch.take_along_dim(x, index, 2)]
        yield "aten.gather.default", [Slot(0), 2, Slot(1)], {}, (x, index), gathered
        nearest = [aten.upsample_nearest2d(x, [16, 27]), x.repeat_interleave(2, 2).repeat_interleave(3, 3)]
        yield "aten.upsample_nearest2d.default", [Slot(0), [16, 27]], {}, (x,), nearest
        yield "aten.cat.default", [[Slot(0), Slot(1)], 1], {}, (x, y), [torch.cat([x, y], 1)]


FAMILIES: dict[str, Callable[[], Iterator[Case]]] = {
    "elementwise": elementwise,
    "reductions": reductions,
    "contraction": contractions,
    "normalisation": normalisations,
    "softmax": softmaxes,
    "pooling": pools,
    "interpolation": interpolations,
    "attention": attentions,
    "exact": exact_results,
}
