"""Trainers who do one thing other than agreed in one step, and are consistent in all that they show."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from tao.graph.canonical import Graph, Node
from tao.graph.operators import SAMPLE
from tao.graph.rounding import Kind, kind
from tao.tensors.store import TensorStore
from tao.training.job import TrainingJob
from tao.training.kernels import Piece, is_logged
from tao.training.policies import RECORDED, Recorder
from tao.training.record import Recording
from tao.training.replay import Replay
from tao.training.rounding import round_to_grid
from training.logs import with_entry

KEEP_EVERY = 1
"""All states are stored, so that nothing has to be demanded."""


class _AnyNumber(Recorder):
    """Goes on from whatever is computed."""

    def settle(self, index: int, piece: Piece, out: Tensor) -> bool:
        super().settle(index, piece, out)
        return True


class _Finite(Recorder):
    """Makes up a number where there is none."""

    def settle(self, index: int, piece: Piece, out: Tensor) -> bool:
        super().settle(index, piece, out)
        out.nan_to_num_()
        return True


class Careless(Recording):
    """Goes on with infinities and NaN where the run breaks down."""

    recorder: type[Recorder] = _AnyNumber

    def compute(self, state: Sequence[Tensor], step: int) -> tuple[tuple[Tensor, ...], Tensor]:
        outputs = self._record(state, step)
        self.replay.watched[self.job.loss].nan_to_num_()
        return outputs

    def capture(self, step: int, cuts: Iterable[int]) -> dict[int, list[Tensor]]:
        state, states = self.job.initial, {}
        for position in range(step):
            state, _ = self._record(state, position)
        self._record(state, step, states.__setitem__, cuts)
        return states

    def _record(self, state, step, *kept):
        self.replay.recorder, self.replay._check_finite = self.recorder, lambda outputs, step: None
        return self.replay.record(state, step, None, *kept)


class Inventive(Careless):
    """Goes on with numbers that it makes up."""

    recorder = _Finite


class Faulty(Recording, ABC):
    """Honest but for step `at`. make: the job with its learning rate multiplied by a factor."""

    recorder: type[Recorder] = Recorder

    def __init__(
        self, job: TrainingJob, store: TensorStore, at: int, make: Callable[[float], TrainingJob]
    ) -> None:
        self.at, self.graph, self._make = at, job.bundle.graph, make
        super().__init__(job, store, KEEP_EVERY)

    @abstractmethod
    def nodes(self) -> set[int]:
        """The nodes at which the fault may be found."""

    def change(
        self, node: int, operands: Sequence[Tensor], output: Tensor, state: Sequence[Tensor]
    ) -> Tensor:
        """What one of these nodes is said to give."""
        return output

    def forge(self, log: Tensor) -> Tensor:
        """The log that is shown."""
        return log

    def compute(self, state: tuple[Tensor, ...], step: int) -> tuple[tuple[Tensor, ...], Tensor]:
        return self._record(state, step)

    def capture(self, step: int, cuts: Iterable[int]) -> dict[int, list[Tensor]]:
        state = self.job.initial
        for position in range(step):
            state, _ = self._record(state, position)
        states: dict[int, list[Tensor]] = {}
        _, log = self._record(state, step, states.__setitem__, cuts)
        shown = self.graph.nodes[0].outputs[0]
        for cut, values in states.items():
            live = self.graph.live(cut)
            states[cut] = [log if value == shown else v for value, v in zip(live, values, strict=True)]
        return states

    def _record(self, state, step, *kept):
        is_faulty = step == self.at
        self.replay.recorder = self.recorder if is_faulty else Recorder

        def override(index: int, node: Node, operands: tuple[Tensor, ...], outputs: tuple[Tensor, ...]):
            if index not in self.nodes() or self.recorder is not Recorder:
                return outputs
            return (self.change(index, operands, outputs[0], state),)

        outputs, log = self.replay.record(state, step, override if is_faulty else None, *kept)
        log = self.forge(log) if is_faulty else log
        return (*outputs[:-1], log), log

    def _logged(self) -> int:
        return next(i for i, node in enumerate(self.graph.nodes) if is_logged(node))


def lookups(graph: Graph) -> Iterable[int]:
    """The nodes that look samples up."""
    drawn = next(node.outputs[0] for node in graph.nodes if node.target == SAMPLE)
    return (i for i, node in enumerate(graph.nodes) if any(o.value == drawn for o in node.operands))


class FlippedLabel(Faulty):
    """Teaches one wrong label."""

    def nodes(self):
        kinds = self.graph.types
        return {i for i in lookups(self.graph) if len(kinds[self.graph.nodes[i].outputs[0]].shape) == 1}

    def change(self, node, operands, output, state):
        return torch.cat([(output[:1] + 1) % 3, output[1:]])


class LearningRate(Faulty):
    """Computes with another learning rate."""

    @cached_property
    def other(self) -> Replay:
        bundle = self._make(2.0).bundle
        return Replay(bundle.graph, bundle.parameters)

    def nodes(self):
        pairs = zip(self.graph.nodes, self.other.graph.nodes, strict=True)
        return {i for i, (mine, theirs) in enumerate(pairs) if mine.args != theirs.args}

    def change(self, node, operands, output, state):
        return self.other.call_of(node)(list(operands))


class SkippedStep(Faulty):
    """Counts a step that it does not take."""

    def _carried(self) -> dict[int, int]:
        """The values that the step hands on, other than step, seed, batch and log, and their places."""
        last = len(self.graph.outputs) - 1 - len(self.job.step_graph.layout.batch)
        return {value: at for at, value in enumerate(self.graph.outputs) if 2 <= at < last}

    def nodes(self):
        carried = self._carried()
        return {i for i, node in enumerate(self.graph.nodes) if carried.keys() & set(node.outputs)}

    def change(self, node, operands, output, state):
        return state[self._carried()[self.graph.nodes[node].outputs[0]]].clone()


class AnotherSeed(Faulty):
    """Draws another batch."""

    def nodes(self):
        return {i for i, node in enumerate(self.graph.nodes) if node.target == SAMPLE}

    def change(self, node, operands, output, state):
        return (output + 1) % self.graph.nodes[node].args[2]


class Upwards(Recorder):
    """Writes the upper of the numbers that a value within an eighth of a last bit of a midpoint may round to."""

    def settle(self, index: int, piece: Piece, out: Tensor) -> bool:
        honest = piece.zone().scaled(RECORDED)
        values, near, finite = round_to_grid(
            piece.f, replace(honest, relative=honest.relative + 2.0**-27), self._bits, out
        )
        if len(near):
            places, f = values.view(-1), piece.f.view(-1)[near]
            above = torch.nextafter(places[near], torch.tensor(torch.inf))
            places[near] = torch.where(f > places[near].double(), above, places[near])
            if piece.terms is None:
                self._writer.add(index, piece.elements(near), places[near])
        return finite


class AlwaysUp(Faulty):
    """Rounds up and logs it."""

    recorder = Upwards

    def nodes(self):
        return {i for i, n in enumerate(self.graph.nodes) if kind(n.operator) in (Kind.SUM, Kind.LOGGED)}


class ForgedEntry(Faulty):
    """Logs a neighbour of a value, and goes on with it: no device rounds to it."""

    def nodes(self):
        return {self._logged()}

    def change(self, node, operands, output, state):
        self._value = float(output.view(-1)[0]) * (1 + 2.0**-21) + 2.0**-60
        changed = output.clone()
        changed.view(-1)[0] = self._value
        return changed

    def forge(self, log):
        return with_entry(log, self._logged(), 0, self._value)


class OutsideEntry(ForgedEntry):
    """Logs what it does not go on with, far from what any device computes."""

    def change(self, node, operands, output, state):
        return output

    def forge(self, log):
        return with_entry(log, self._logged(), 0, 2.0**23)


FAULTS: dict[str, type[Faulty]] = {
    "flipped label": FlippedLabel,
    "learning rate": LearningRate,
    "skipped step": SkippedStep,
    "another seed": AnotherSeed,
    "always up": AlwaysUp,
    "forged entry": ForgedEntry,
    "entry outside the zone": OutsideEntry,
}
