"""Operators whose output element reads a whole row: sums, softmax, normalisation."""

import math
from collections.abc import Iterator

import torch

from benchmarks.cases.case import ONE, THREE, Case
from benchmarks.kernels import KINDS, draw, flush, running_sums, sequential, sums, welford
from tao.graph.literals import Slot


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
        squares = sums(x * x)
        norms = [x.norm(dim=-1), *(y.sqrt() for y in squares)]
        yield "aten.linalg_vector_norm.default", [Slot(0), 2, [-1]], {}, (x,), norms
        yield "aten.norm.ScalarOpt_dim", [Slot(0), 2, [-1]], {}, (x,), norms
        sizes = [x.norm(p=1, dim=-1), *sums(x.abs())]
        yield "aten.linalg_vector_norm.default", [Slot(0), 1, [-1]], {}, (x,), sizes
        few, flat = x[:3], x[:3].flatten()
        yield "aten.sum.default", ONE, {}, (few,), [few.sum(), *sums(flat)]
        yield "aten.mean.default", ONE, {}, (few,), [few.mean(), *(y / len(flat) for y in sums(flat))]
        norms = [torch.ops.aten.norm.Scalar(few), *(y.sqrt() for y in sums(flat * flat))]
        yield "aten.norm.Scalar", ONE, {}, (few,), norms


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
            columns = [y.T for y in results], [y.T for y in logs]
            yield "aten._softmax.default", [Slot(0), 0, False], {}, (x.T,), columns[0]
            yield "aten._log_softmax.default", [Slot(0), 0, False], {}, (x.T,), columns[1]


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
        yield "aten.native_layer_norm.default", call, {}, (x, w, b), results
        scaled = [x * (1 / (square + eps).sqrt())[:, None] * w for square in squares]
        yield "aten.rms_norm.default", [Slot(0), [n], Slot(1), eps], {}, (x, w), scaled
        yield from normalisations_of_images(kind)


def normalisations_of_images(kind: str, eps: float = 1e-5) -> Iterator[Case]:
    images, w, b = draw(kind, 2, 8, 6, 6), torch.randn(8), torch.randn(8)
    groups = [torch.group_norm(images, 4, w, b, eps)]
    flat = images.reshape(8, 72)
    for mean, variance in (welford(flat), (sequential(flat) / 72, flat.var(-1, correction=0))):
        standard = (flat - mean[:, None]) / (variance[:, None] + eps).sqrt()
        groups.append(standard.reshape(images.shape) * w[:, None, None] + b[:, None, None])
    yield "aten.group_norm.default", [Slot(0), 4, Slot(1), Slot(2), eps], {}, (images, w, b), groups
    yield "aten.native_group_norm.default", [*THREE, 2, 8, 36, 4, eps], {}, (images, w, b), groups
    mean, variance = torch.randn(8), torch.rand(8)
    call = [*(Slot(i) for i in range(5)), 0.1, eps]
    results = [torch.batch_norm(images, w, b, mean, variance, False, 0.1, eps, False)]
    column = [v[:, None, None] for v in (w * (variance + eps).rsqrt(), mean, b)]
    results.append(images * column[0] + (column[2] - column[1] * column[0]))
    target = "aten._native_batch_norm_legit_no_training.default"
    yield target, call, {}, (images, w, b, mean, variance), results
