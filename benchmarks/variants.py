"""Soundness of the bounds on every kernel variant of this machine: each runs the calls of the soundness benchmark and
some as large as networks', and no result may lie outside the bound.

The calls are the nodes of one graph, which every variant runs in a process of its own, as in a calibration. Inputs and
bounds are the same for all, so it is also known how many elements a variant computes otherwise than the kernels as
installed.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.kernels import draw
from tao.graph.builder import Builder
from tao.graph.literals import Slot, fill
from tao.graph.operators import normalise, resolve
from tao.model import ModelBundle
from tao.numerics.bounds import Bound, Exact, bound
from tao.numerics.process import VariantProcess
from tao.numerics.variants import available, variant
from tao.tensors.store import TensorStore

ELEMENTS = 50_000
"""Of a family, at least."""
SEED = 8


def network_sizes() -> Iterator[Case]:
    """Calls as large as in networks, at which kernels cut into blocks, share among threads and choose algorithms."""
    nn, one, two, three = torch.nn.functional, [Slot(0)], [Slot(0), Slot(1)], [Slot(0), Slot(1), Slot(2)]
    for kind in ("normal", "cancelling", "offset"):
        x, w, b = draw(kind, 128, 768), torch.randn(768, 768), torch.randn(768)
        yield "aten.linear.default", three, {}, (x, w, b), [nn.linear(x, w, b)]
        yield "aten.gelu.default", one, {}, (x,), [nn.gelu(x)]
        call = [Slot(0), [768], Slot(1), Slot(2)]
        yield "aten.layer_norm.default", call, {}, (x, w[0], b), [nn.layer_norm(x, [768], w[0], b)]
        heads = draw(kind, 12, 128, 64)
        scores = heads @ heads.mT / 8
        yield "aten.bmm.default", two, {}, (heads, heads.mT.contiguous()), [heads @ heads.mT]
        yield "aten.softmax.int", [Slot(0), -1], {}, (scores,), [scores.softmax(-1)]
        long = draw(kind, 16, 50_000)
        yield "aten.sum.dim_IntList", [Slot(0), [-1]], {}, (long,), [long.sum(-1)]
        yield "aten.mean.dim", [Slot(0), [0]], {}, (long,), [long.mean(0)]
        image, filters = draw(kind, 1, 64, 56, 56), torch.randn(64, 64, 3, 3)
        call = [*two, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1]
        yield "aten.convolution.default", call, {}, (image, filters), [nn.conv2d(image, filters, padding=1)]


FAMILIES = cases.FAMILIES | {"network sizes": network_sizes}


@dataclass(frozen=True)
class Call:
    """A node's family and target, its bound, and its result by another way, to which an exact one is equal."""

    family: str
    target: str
    limit: Bound | Exact
    other: Tensor

    def judge(self, result: Tensor, usual: Tensor) -> Tally:
        """What a variant computed, beside what the kernels as installed did."""
        if isinstance(self.limit, Bound):
            excess = self.limit.excess(result)[self.limit.tolerance.isfinite()]
        else:
            excess = torch.where(result == self.other, 0.0, math.inf).flatten()
        equal = (result == usual) | (result.isnan() & usual.isnan())
        worst = float(excess.max()) if len(excess) else 0.0
        return Tally(len(excess), int((excess > 1).sum()), worst, int((~equal).sum()))


@dataclass
class Tally:
    """Elements of finite tolerance, those outside it, the worst error over tolerance; and how many of all elements have
    other values than the kernels as installed give."""

    elements: int = 0
    violations: int = 0
    worst_ratio: float = 0.0
    different: int = 0

    def add(self, other: Tally) -> None:
        self.elements += other.elements
        self.violations += other.violations
        self.worst_ratio = max(self.worst_ratio, other.worst_ratio)
        self.different += other.different


@dataclass
class Suite:
    """Calls of families as the nodes of a graph, and its inputs."""

    bundle: ModelBundle
    inputs: list[Tensor] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    @classmethod
    def drawn(cls, families: Sequence[str], elements: int) -> Suite:
        """So many elements of each family at least."""
        torch.manual_seed(SEED)
        builder, outputs, inputs, calls = Builder(), [], [], []
        for family in families:
            count = 0
            while count < elements:
                for target, args, kwargs, operands, results in FAMILIES[family]():
                    literals = fill(args, kwargs, [builder.input(tensor) for tensor in operands])
                    literals = normalise(resolve(target), *literals)
                    outputs.append(builder.call(target, *literals, {0: results[0]}, "")[0])
                    inputs += operands
                    limit = bound(target, args, kwargs, operands)[0]
                    calls.append(Call(family, target, limit, results[-1]))
                    count += results[0].numel()
        graph, parameters, _ = builder.finish(outputs)
        return cls(ModelBundle(graph, tuple(parameters)), inputs, calls)

    def judge(self, results: Sequence[Tensor], usual: Sequence[Tensor]) -> dict:
        """A variant's record: the figures of `Tally`, in all and by family, and the elements outside by operator."""
        total, families, outside = Tally(), {call.family: Tally() for call in self.calls}, Counter()
        for call, *computed in zip(self.calls, results, usual, strict=True):
            found = call.judge(*computed)
            total.add(found)
            families[call.family].add(found)
            outside[call.target] += found.violations
        return vars(total) | {
            "outside": {target: count for target, count in outside.items() if count},
            "families": {family: vars(found) for family, found in families.items()},
        }


def check(
    names: Sequence[str],
    families: Sequence[str],
    elements: int,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, dict]:
    """The record of every variant; the first runs the kernels as installed."""
    suite, records, usual = Suite.drawn(families, elements), {}, None
    with tempfile.TemporaryDirectory() as folder:
        store = TensorStore(folder)
        model_id = suite.bundle.save(store)
        for name in names:
            with VariantProcess(name, store, model_id) as device:
                results = device.run(suite.inputs)
            usual = results if usual is None else usual
            records[name] = found = suite.judge(results, usual)
            progress(
                f"{name}: {found['violations']} of {found['elements']}, worst {found['worst_ratio']:.3f}"
            )
    return records


def measure(progress: Callable[[str], None]) -> dict:
    """All variants that this machine runs, those of other runtimes included."""
    names = available(runtimes=True)
    records = check(names, list(FAMILIES), ELEMENTS, progress)
    described = {name: {"description": variant(name).description, **records[name]} for name in names}
    return {"variants": described, "seed": SEED}
