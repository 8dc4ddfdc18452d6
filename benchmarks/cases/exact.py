"""Operators whose results are bit-equal, by torch and by another way to the same."""

from collections.abc import Iterator

import torch

from benchmarks.cases.case import Case
from benchmarks.kernels import draw
from tao.graph.literals import Slot


def exact_results() -> Iterator[Case]:
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
