"""Projected gradient descent on the margin of every sample, over the outputs of all operators at once.

The margin is almost linear in deviations of a few units in the last place, so a step moves every element
across its whole range: one step is nearly the optimum, the others follow what curvature there is.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.attack.accumulated import States, cuts, exceedances
from benchmarks.attack.forward import forward
from benchmarks.attack.regions import Region
from tao.graph.canonical import Node
from tao.model import ModelBundle

Logits = Callable[[Sequence[Tensor]], Tensor]
"""The graph's outputs to float64 [samples, classes]."""

_RETRIES = 6

Key = tuple[int, int]
"""Node and output slot."""


def runner_up(logits: Tensor, label: Tensor) -> Tensor:
    """The likeliest class of each sample other than its label."""
    return logits.scatter(1, label[:, None], -torch.inf).argmax(1)


def margins(logits: Tensor, label: Tensor, target: Tensor | None = None) -> Tensor:
    """How far each sample's label is ahead of its target, or of the best other class where there is none."""
    other = runner_up(logits, label) if target is None else target
    return (logits.gather(1, label[:, None]) - logits.gather(1, other[:, None]))[:, 0]


@dataclass(frozen=True)
class Outcome:
    """The smallest margin of each sample over all restarts, as a float32 execution that the region accepts.

    clean: the margins of the honest run, before: float64 [samples]. excess: the largest of any operator.
    """

    clean: Tensor
    attacked: Tensor
    excess: float

    @property
    def flipped(self) -> Tensor:
        return self.attacked < 0


@dataclass(frozen=True)
class Search:
    """An attack on one claim. seed: of the random restarts; the first starts at the honest run."""

    bundle: ModelBundle
    inputs: tuple[Tensor, ...]
    logits: Logits
    region: Region
    steps: int = 4
    restarts: int = 2
    seed: int = 0

    def run(self, targeted: bool) -> Outcome:
        """Attack every sample: towards its runner-up, or away from its label."""
        reaches: dict[Key, Tensor] = {}
        samples = 0

        def survey(index: int, node: Node, operands: list[Tensor], outputs: tuple[Tensor, ...]):
            for output, slot, value in zip(outputs, node.slots, node.outputs, strict=True):
                # What has no sample along its first dimension belongs to all claims at once.
                if output.is_floating_point() and output.dim() > 1 and len(output) == samples:
                    reach = self.region.reach(index, node, operands, output, slot)
                    if reach.any():
                        reaches[index, value] = reach
            return outputs

        with torch.no_grad():
            samples = len(self.logits(forward(self.bundle, self.inputs, lambda _, __, ___, own: own)))
            clean = self.logits(forward(self.bundle, self.inputs, survey)).detach()
        label = clean.argmax(1)
        target = runner_up(clean, label) if targeted else None
        attacked, excess = margins(clean, label, target), 0.0
        for restart in range(self.restarts):
            deltas = self._descend(reaches, label, target, restart)
            found, worst = self._claim(deltas)
            attacked, excess = torch.minimum(attacked, margins(found, label, target)), max(excess, worst)
        return Outcome(margins(clean, label, target), attacked, excess)

    def _descend(
        self, reaches: dict[Key, Tensor], label: Tensor, target: Tensor | None, restart: int
    ) -> dict[Key, Tensor]:
        generator = torch.Generator().manual_seed(self.seed + restart)

        def start(reach: Tensor) -> Tensor:
            if restart == 0:
                return torch.zeros_like(reach)
            return reach * (2 * torch.rand(reach.shape, generator=generator) - 1)

        deltas = {key: start(reach) for key, reach in reaches.items()}
        for _ in range(self.steps):
            honest: dict[Key, Tensor] = {}

            def disturb(index, node, operands, outputs, deltas=deltas, honest=honest):
                changed = list(outputs)
                for place, value in enumerate(node.outputs):
                    if (index, value) in deltas:
                        honest[index, value] = outputs[place].detach()
                        changed[place] = outputs[place] + deltas[index, value].requires_grad_()
                return changed

            margin = margins(self.logits(forward(self.bundle, self.inputs, disturb)), label, target)
            gradients = torch.autograd.grad(margin.sum(), list(deltas.values()), allow_unused=True)
            for key, gradient in zip(list(deltas), gradients, strict=True):
                if gradient is None:
                    deltas[key] = torch.zeros_like(reaches[key])
                    continue
                gradient = gradient.nan_to_num(0.0)
                moved = deltas[key].detach() - 2 * reaches[key] * gradient.sign()
                deltas[key] = self.region.project(key[0], honest[key], reaches[key], moved, gradient)
        return deltas

    def _claim(self, deltas: dict[Key, Tensor]) -> tuple[Tensor, float]:
        """Logits of an execution that the region accepts, and its largest excess.

        Where segments count, a sample that exceeds one is scaled down, at last to the honest run.
        """
        if not self.region.segments:
            logits, worst, _ = self._execute(deltas)
            return logits, worst
        wanted, samples = cuts(self.bundle), len(next(iter(deltas.values())))
        share, before = torch.ones(samples, dtype=torch.float64), torch.full((samples,), torch.inf).double()
        for last in range(_RETRIES, -1, -1):
            scaled = {key: delta * _along(share, delta) for key, delta in deltas.items()}
            logits, worst, states = self._execute(scaled, wanted)
            excess = exceedances(self.bundle, states, samples)
            rejected = excess > 1
            if not (rejected & (share > 0)).any():
                break
            # What does not fall hangs on numbers moved by their last bit, which stay as they are when half is left.
            less = torch.where(excess > 0.95 * before, 0.5, 0.9 / excess)
            share, before = torch.where(rejected, share * less if last > 1 else 0.0, share), excess
        return logits, worst

    def _execute(
        self, deltas: dict[Key, Tensor], wanted: Collection[int] = ()
    ) -> tuple[Tensor, float, States]:
        """Logits of an execution of admitted float32 outputs only, its largest excess, and its states."""
        worst, graph = 0.0, self.bundle.graph
        values = dict(zip(graph.live(0), self.inputs, strict=True))
        states: States = {}

        def keep(cut: int) -> None:
            if cut in wanted:
                states[cut] = tuple(values[value].contiguous() for value in graph.live(cut))

        def admit(index: int, node: Node, operands: list[Tensor], outputs: tuple[Tensor, ...]):
            nonlocal worst
            claimed = list(outputs)
            for place, (slot, value) in enumerate(zip(node.slots, node.outputs, strict=True)):
                if (index, value) in deltas:
                    arguments = index, node, operands, outputs[place], slot, deltas[index, value].detach()
                    claimed[place], excess = self.region.admit(*arguments)
                    worst = max(worst, excess)
            keep(index)
            values.update(zip(node.outputs, claimed, strict=True))
            for value in graph.releases[index]:
                values.pop(value, None)
            return claimed

        with torch.no_grad():
            logits = self.logits(forward(self.bundle, self.inputs, admit))
        keep(len(graph))
        return logits, worst, states


def _along(share: Tensor, delta: Tensor) -> Tensor:
    """The share of each sample, to multiply a deviation by."""
    return share.to(delta.dtype).view(-1, *[1] * (delta.dim() - 1))
