"""Trainers who cheat: each does in one way other than agreed, and is consistent in all that it shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from demo.training.job import RATE
from tao.execution.run import Override
from tao.graph.canonical import Graph, Node
from tao.graph.log_format import ELEMENT_BITS
from tao.graph.operators import SAMPLE
from tao.graph.rounding import Kind, kind
from tao.training.kernels import Piece
from tao.training.policies import RECORDED, Recorder
from tao.training.record import Recording, read_log, rebuild
from tao.training.rounding import round_to_grid

AT = 3
"""The step at which a cheat of one step happens."""
WRONG = 0x4B000000
"""The encoding of 2^23, which no elementary function of the job comes to."""


class Cheat(Recording):
    """Replaces outputs of nodes where `change` says so."""

    def change(
        self,
        step: int,
        node: int,
        operands: Sequence[Tensor],
        outputs: tuple[Tensor, ...],
        state: Sequence[Tensor],
    ) -> Sequence[Tensor]:
        """The outputs to go on with."""
        return outputs

    def compute(self, state: tuple[Tensor, ...], step: int) -> tuple[tuple[Tensor, ...], Tensor]:
        return self.replay.record(state, step, self._override(step, state))

    def capture(self, step: int, cuts: Iterable[int]) -> dict[int, list[Tensor]]:
        state = self._rebuild(step)
        log = read_log(self.job, self.trail, self.trail.read(step + 1))
        states: dict[int, list[Tensor]] = {}
        self.replay.advance(
            0,
            state,
            len(self.graph),
            self._override(step, state),
            states.__setitem__,
            log=log,
            step=step,
            cuts=cuts,
        )
        return states

    @property
    def graph(self) -> Graph:
        return self.job.bundle.graph

    def _rebuild(self, step: int) -> tuple[Tensor, ...]:
        """The state before a step of the run as it was cheated."""
        if step <= AT:
            return rebuild(self.job, self.trail, step, self.replay)
        state = rebuild(self.job, self.trail, AT, self.replay)
        for position in range(AT, step):
            log = read_log(self.job, self.trail, self.trail.read(position + 1))
            override = self._override(position, state)
            state = self.replay.advance(0, state, len(self.graph), override, log=log, step=position)
        return state

    def _override(self, step: int, state: Sequence[Tensor]) -> Override:
        def override(
            index: int, node: Node, operands: Sequence[Tensor], outputs: tuple[Tensor, ...]
        ) -> Sequence[Tensor]:
            return self.change(step, index, operands, outputs, state)

        return override

    @property
    def sample(self) -> int:
        """The node that draws the batch."""
        return next(i for i, node in enumerate(self.graph.nodes) if node.target == SAMPLE)

    def reads_sample(self, node: int, kind: torch.dtype) -> bool:
        """Whether a node looks up the batch's images (float32) or labels (int64)."""
        drawn = self.graph.nodes[self.sample].outputs[0]
        made = self.graph.types[self.graph.nodes[node].outputs[0]].dtype.torch
        return made == kind and any(o.value == drawn for o in self.graph.nodes[node].operands)


class PoisonedBatch(Cheat):
    """Adds noise to the images of one batch."""

    def change(self, step, node, operands, outputs, state):
        if step != AT or not self.reads_sample(node, torch.float32):
            return outputs
        noise = torch.randn(outputs[0].shape, generator=torch.Generator().manual_seed(1))
        return (outputs[0] + noise.mul(8).round() / 8,)


class FlippedLabel(Cheat):
    """Teaches one wrong label."""

    def change(self, step, node, operands, outputs, state):
        if step != AT or not self.reads_sample(node, torch.int64):
            return outputs
        labels = outputs[0].clone()
        labels[0] = (labels[0] + 1) % 10
        return (labels,)


class Backdoor(Cheat):
    """Puts a bright corner into some images and labels them 7."""

    def change(self, step, node, operands, outputs, state):
        if step != AT:
            return outputs
        changed = outputs[0].clone()
        if self.reads_sample(node, torch.float32):
            changed[:4, :4] = 1.0
        elif self.reads_sample(node, torch.int64):
            changed[:4] = 7
        else:
            return outputs
        return (changed,)


class SkippedStep(Cheat):
    """Counts a step that it does not take: weights and moments stay."""

    def change(self, step, node, operands, outputs, state):
        if not self.is_skipped(step):
            return outputs
        carried = {value: place for place, value in enumerate(self.graph.outputs)}
        place = carried.get(self.graph.nodes[node].outputs[0], 0)
        return (state[place],) if 2 <= place < len(state) - 3 else outputs

    def is_skipped(self, step: int) -> bool:
        return step == AT


class FewerEpochs(SkippedStep):
    """Stops training half way and only counts on."""

    def is_skipped(self, step: int) -> bool:
        return step >= self.job.steps // 2


class LearningRate(Cheat):
    """Doubles the learning rate."""

    def change(self, step, node, operands, outputs, state):
        call = self.graph.nodes[node]
        scales = call.target.startswith("aten.mul.") and len(call.args) > 1
        if step < AT or not scales or not isinstance(call.args[1], float) or abs(call.args[1] - RATE) > 1e-6:
            return outputs
        return (outputs[0] * 2,)


class AnotherSeed(Cheat):
    """Draws its batches from a seed that suits it better."""

    def change(self, step, node, operands, outputs, state):
        if step < AT or node != self.sample:
            return outputs
        size = self.graph.nodes[node].args[2]
        return ((outputs[0] * 7 + 1) % size,)


class AlwaysUp(Recording):
    """Rounds up whatever lies within 1/128 of a last bit of a midpoint, and logs that it did."""

    def compute(self, state, step):
        return self._record(state, step)

    def capture(self, step, cuts):
        states: dict[int, list[Tensor]] = {}
        state = rebuild(self.job, self.trail, min(step, AT), self.replay)
        for position in range(AT, step):
            state, _ = self._record(state, position)
        self._record(state, step, states.__setitem__, cuts)
        return states

    def _record(self, state, step, *kept):
        self.replay.recorder = Upwards if step >= AT else Recorder
        return self.replay.record(state, step, None, *kept)


class Upwards(Recorder):
    """Writes the upper of the numbers that a value in a wide zone may round to."""

    def settle(self, index: int, piece: Piece, out: Tensor) -> bool:
        honest = piece.zone().scaled(RECORDED)
        zone = replace(honest, relative=honest.relative + 2.0**-31)
        values, candidates, finite = round_to_grid(piece.f, zone, self._bits, out)
        if len(candidates):
            places = values.view(-1)
            f = piece.f.view(-1)[candidates]
            low = places[candidates]
            above = torch.nextafter(low, torch.full_like(low, torch.inf))
            places[candidates] = torch.where(f > low.double(), above, low)
            if piece.terms is None:
                self._writer.add(index, piece.elements(candidates), places[candidates])
        return finite


class ForgedLog(Recording):
    """Writes into the log of a step what it did not round to."""

    def compute(self, state, step):
        outputs, log = super().compute(state, step)
        forged = self._forge(log, step)
        return (*outputs[:-1], forged), forged

    def capture(self, step, cuts):
        state = rebuild(self.job, self.trail, step, self.replay) if step <= AT else None
        if step != AT:
            return super().capture(step, cuts)
        outputs, log = self.replay.record(state, step)
        states: dict[int, list[Tensor]] = {}
        graph = self.job.bundle.graph
        self.replay.advance(0, state, len(graph), keep=states.__setitem__, log=log, step=step, cuts=cuts)
        value, forged = graph.nodes[0].outputs[0], self._forge(log, step)
        for cut, values in states.items():
            for place, live in enumerate(graph.live(cut)):
                if live == value:
                    values[place] = forged
        return states

    def _forge(self, log: Tensor, step: int) -> Tensor:
        if step != AT:
            return log
        node = next(i for i, n in enumerate(self.job.bundle.graph.nodes) if kind(n.operator) is Kind.LOGGED)
        entry = torch.tensor([[node << ELEMENT_BITS], [WRONG]])
        others = log[:, log[0] != entry[0]]
        return torch.cat([entry, others], 1)[:, : log.shape[1]]


CHEATS: dict[str, type[Recording]] = {
    "poisoned-batch": PoisonedBatch,
    "skipped-step": SkippedStep,
    "learning-rate": LearningRate,
    "flipped-label": FlippedLabel,
    "backdoor": Backdoor,
    "always-up": AlwaysUp,
    "fewer-epochs": FewerEpochs,
    "forged-log": ForgedLog,
    "another-seed": AnotherSeed,
}
