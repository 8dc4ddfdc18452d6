"""Operators whose output element reads a window: average pooling and linear interpolation."""

from collections.abc import Iterator

import torch

from benchmarks.cases.case import Case
from benchmarks.kernels import KINDS, averages, bilinear, draw, linear
from tao.graph.literals import Slot
from tao.graph.operators import resolve


def pools() -> Iterator[Case]:
    for kind in KINDS:
        yield from pools_of_images(kind)
        yield from pools_of_every_rank(kind)


def pools_of_images(kind: str) -> Iterator[Case]:
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
        yield "aten._adaptive_avg_pool2d.default", [Slot(0), size], {}, (x,), results


def pools_of_every_rank(kind: str) -> Iterator[Case]:
    """Along one and along three dimensions."""
    for rank, size in ((1, 24), (3, 6)):
        x = draw(kind, 2, 3, *[size] * rank)
        target = f"aten.avg_pool{rank}d.default"
        for kernel, stride, padding, counts in ((3, 2, 1, True), (2, 2, 0, True), (3, 1, 1, False)):
            geometry = [[kernel] * rank, [stride] * rank, [padding] * rank]
            call = [*geometry, False, counts]
            results = [resolve(target)(x, *call), *averages(x, *geometry, counts)]
            yield target, [Slot(0), *call], {}, (x,), results
        # Windows of equal size, which other kernels compute as an average pool, and of several sizes.
        for outputs in (size // 3, size - 1):
            adaptive = getattr(torch.ops.aten, f"adaptive_avg_pool{rank}d")
            results = [adaptive(x, [outputs] * rank)]
            if size % outputs == 0:
                window = [size // outputs] * rank
                results += averages(x, window, window, [0] * rank, True)
            names = ["adaptive_avg_pool1d"] if rank == 1 else ["adaptive_avg_pool3d", "_adaptive_avg_pool3d"]
            for name in names:
                yield f"aten.{name}.default", [Slot(0), [outputs] * rank], {}, (x,), results


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
            yield "aten.upsample_bilinear2d.default", [Slot(0), size, corners], {}, (x,), results
            row, length = x[:, :, 0], size[1:]
            results = [torch.ops.aten.upsample_linear1d.vec(row, length, corners, None)]
            results += [linear(row, length[0], corners, fuse) for fuse in (False, True)]
            yield "aten.upsample_linear1d.vec", [Slot(0), length, corners, None], {}, (row,), results
