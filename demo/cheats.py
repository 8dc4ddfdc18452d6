"""Provers that cheat, as behaviours plugged into the prover's role. Nothing of this is in the product."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from benchmarks.substitutions import int8_parameters, matrices
from tao.execution import Executor, capture
from tao.execution.replay import restore
from tao.graph.canonical import Graph, Node
from tao.graph.operators import CONTRACTION
from tao.model import ModelBundle
from tao.roles.prover import Honest, States
from tao.tensors.store import TensorStore

LAYER = "encoder.layer.3."
"""The transformer layer that is tampered with; names of operators start with their module's path."""


class Traced:
    """A cheat that tampers while the model runs: claim and revealed states come from one tampered run."""

    stands_by = False

    def __init__(self, bundle: ModelBundle, parameters: Sequence[Tensor] | None = None):
        self.graph: Graph = bundle.graph
        self.parameters = tuple(parameters or bundle.parameters)

    def tamper(self, index: int, node: Node, operands: tuple[Tensor, ...], outputs: tuple[Tensor, ...]):
        """The outputs that node `index` pretends to have."""
        return outputs

    def run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        end = len(self.graph)
        return self.capture(inputs, (end,))[end]

    def capture(self, inputs: Sequence[Tensor], cuts: Iterable[int]) -> States:
        return capture(self.graph, self.parameters, inputs, list(cuts), self.tamper)

    def publish(self, store: TensorStore, tensor: Tensor) -> bytes:
        return store.put_tensor(tensor)


class AlteredOutput(Traced):
    """An honest run whose first embedding is then moved by 1e-3 of its norm: the last operator lies."""

    def tamper(self, index, node, operands, outputs):
        if index != len(self.graph) - 1:
            return outputs
        embedding = outputs[0].clone()
        direction = torch.randn(embedding.shape[-1], generator=torch.Generator().manual_seed(1))
        embedding[0] += 1e-3 * embedding[0].norm() * direction / direction.norm()
        return (embedding,)


class SwappedWeights(Traced):
    """A variant such as fine-tuning leaves: the matrices of one layer moved by 1e-3 relative."""

    def __init__(self, bundle: ModelBundle):
        super().__init__(bundle, moved(bundle, matrices(bundle.graph, LAYER), 1e-3))


class NudgedWeights(Traced):
    """The widest matrices moved by 3e-5: sums stay inside the provable bound, so the committee decides."""

    def __init__(self, bundle: ModelBundle):
        candidates = matrices(bundle.graph, "encoder.layer.")
        width = max(bundle.parameters[index].shape[-1] for index in candidates)
        widest = [index for index in candidates if bundle.parameters[index].shape[-1] == width]
        super().__init__(bundle, moved(bundle, widest, 3e-5))


class Int8Weights(Traced):
    """All matrices rounded to int8 with one scale per output channel."""

    def __init__(self, bundle: ModelBundle):
        super().__init__(bundle, int8_parameters(bundle))


class Bf16Matmuls(Traced):
    """Every contraction with operands rounded to bfloat16, accumulated in float32."""

    def tamper(self, index, node, operands, outputs):
        if node.operator != CONTRACTION:
            return outputs
        a, b, *bias = (tensor.to(torch.bfloat16).to(torch.float32) for tensor in operands)
        if node.target.startswith("aten.linear"):
            return (torch.nn.functional.linear(a, b, *bias),)
        return (a @ b,)


class SkippedLayer(Traced):
    """One transformer layer left out: its output is its input, the states inside it are for show."""

    def __init__(self, bundle: ModelBundle):
        super().__init__(bundle)
        inside = [i for i, name in enumerate(bundle.graph.names) if LAYER in name]
        self.first, self.last = inside[0], inside[-1]
        self._input: Tensor | None = None

    def tamper(self, index, node, operands, outputs):
        if index == self.first:
            self._input = operands[0]
        return (self._input.clone(),) if index == self.last else outputs


class PassingValue(Traced):
    """An honest-looking trace in which a value changes while it only passes through a cut.

    Up to the cut and from it on every operator is computed honestly; between two cuts the residual stream of
    one layer is replaced.
    """

    def __init__(self, bundle: ModelBundle):
        super().__init__(bundle)
        inside = [i for i, name in enumerate(self.graph.names) if LAYER in name]
        self.cut = inside[len(inside) // 2]
        produced = set(self.graph.nodes[self.cut - 1].outputs)
        floating = [
            place
            for place, value in enumerate(self.graph.live(self.cut))
            if value not in produced and self.graph.types[value].dtype.torch.is_floating_point
        ]
        self.place = floating[-1]

    def capture(self, inputs: Sequence[Tensor], cuts: Iterable[int]) -> States:
        wanted = set(cuts)
        states = capture(
            self.graph, self.parameters, inputs, {c for c in wanted if c < self.cut} | {self.cut}
        )
        state = list(states[self.cut])
        state[self.place] = state[self.place] * 1.01

        def keep(cut: int, values: list[Tensor]) -> None:
            if cut in wanted:
                states[cut] = tuple(value.contiguous() for value in values)

        executor = Executor(self.graph, self.parameters)
        executor.advance(self.cut, restore(self.graph, self.cut, state), len(self.graph), None, keep)
        return states


class AnotherRun(Honest):
    """Answers with the output, and with the boundaries, of a run on other texts."""

    def run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return super().run(others(inputs))

    def capture(self, inputs: Sequence[Tensor], cuts: Iterable[int]) -> States:
        return super().capture(others(inputs), cuts)


class FallsSilent(Bf16Matmuls):
    """Claims, and never answers a challenge."""


CHEATS = {
    "altered-output": AlteredOutput,
    "swapped-weights": SwappedWeights,
    "int8-weights": Int8Weights,
    "nudged-weights": NudgedWeights,
    "bf16-matmuls": Bf16Matmuls,
    "skipped-layer": SkippedLayer,
    "passing-value": PassingValue,
    "falls-silent": FallsSilent,
    "another-run": AnotherRun,
}


def moved(bundle: ModelBundle, matrices: Sequence[int], distance: float) -> list[Tensor]:
    """The parameters, some of them with every element moved by a random share of it of this size."""
    noise = torch.Generator().manual_seed(2)
    parameters = list(bundle.parameters)
    for index in matrices:
        weight = parameters[index]
        parameters[index] = weight * (1 + distance * torch.randn(weight.shape, generator=noise))
    return parameters


def others(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The same texts in another order."""
    return tuple(tensor.roll(1, dims=0) for tensor in inputs)
