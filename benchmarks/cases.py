"""Calls on ordinary and hostile inputs by family, with what real and simulated kernels make of them."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.kernels import (
    KINDS,
    anything,
    averages,
    bilinear,
    draw,
    flush,
    fused,
    online_attention,
    running_sums,
    sequential,
    sums,
    welford,
)
from tao.graph.literals import Slot

Case = tuple[str, list, dict, tuple[Tensor, ...], list[Tensor]]
"""An ATen call (target, args, kwargs, operands) and the results of kernels for its first output."""


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
