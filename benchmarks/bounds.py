"""What the worst-case bounds of a whole forward pass cost, beside the pass itself.

A pass that computes the tolerance of every element of every operator's output on its way, and one that does
not, take turns in one process; the difference of their times is divided by the latter's. On all cores.
"""

import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmarks.configurations import BERT_BASE, RESNET_50
from benchmarks.networks import Network, image_classifier, random_network, text_classifier
from tao.execution import Executor
from tao.graph.canonical import Node
from tao.model import ModelBundle
from tao.numerics.bounds import tolerance

MODELS: dict[str, Callable[[], Network]] = {
    "BERT-base": lambda: text_classifier("Bert", BERT_BASE, 128),
    "ResNet-50": lambda: image_classifier("ResNet", RESNET_50, 224),
}
PAIRS = 20
SEED = 11


class Pass:
    """A forward pass, with or without bounds."""

    def __init__(self, bundle: ModelBundle) -> None:
        self._graph = bundle.graph
        self._executor = Executor(bundle.graph, bundle.parameters)
        self.elements = 0

    def seconds(self, inputs: Sequence[Tensor], with_bounds: bool) -> float:
        """Wall time of one pass."""
        override = self._bound if with_bounds else None
        start = time.perf_counter()
        self._executor.advance(0, tuple(inputs), len(self._graph), override)
        return time.perf_counter() - start

    def _bound(
        self, index: int, node: Node, operands: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        found = tolerance(node.target, node.args, node.kwargs, operands)
        self.elements += sum(bound.numel() for bound in found if isinstance(bound, Tensor))
        return outputs


def measure_model(make: Callable[[], Network]) -> dict[str, float]:
    """The median and 90th percentile of the ratios of one network with random weights."""
    bundle, (inputs,) = random_network(make, 1, SEED)
    run = Pass(bundle)
    run.seconds(inputs, with_bounds=False), run.seconds(inputs, with_bounds=True)
    bounded = run.elements
    ratios, plain = [], []
    for _ in range(PAIRS):
        alone = run.seconds(inputs, with_bounds=False)
        ratios.append((run.seconds(inputs, with_bounds=True) - alone) / alone)
        plain.append(alone)
    return {
        "ratio_median": statistics.median(ratios),
        "ratio_p90": statistics.quantiles(ratios, n=10)[-1],
        "seconds_pass": statistics.median(plain),
        "nodes": len(bundle.graph),
        "elements_bounded": bounded,
        "pairs": PAIRS,
    }


def measure(progress: Callable[[str], None]) -> dict:
    """Every model."""
    models = {}
    for name, make in MODELS.items():
        progress(f"{name}: {PAIRS} pairs of passes")
        models[name] = measure_model(make)
        progress(f"{name}: bounds cost {models[name]['ratio_median']:.2f} of the pass")
    return {"models": models, "threads": torch.get_num_threads()}
