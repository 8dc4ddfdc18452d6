"""A tiny network that knows every route of a dispute, and provers that cheat in it.

For tests and measurements."""

import json

import torch
from torch import nn

from tao.execution import capture, replay
from tao.model import ModelBundle, trace
from tao.numerics.profile import Device, NodeTolerance, Profile
from tao.numerics.statistics import GRID
from tao.roles.context import Context
from tao.roles.examination import Examination
from tao.roles.examiner import Examiner, answer_to
from tao.roles.member import MemberRole
from tao.roles.prover import Honest
from tao.roles.question import Question, Verdict
from tao.tensors import commit


class Tiny(nn.Module):
    """Linear layers for proofs, mish and softplus for votes, a sum around the mish for what passes by."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(12, 16), nn.Linear(16, 4)

    def forward(self, x):
        hidden = self.first(x)
        return nn.functional.softplus(self.second(nn.functional.mish(hidden).tanh() + hidden))


def tiny_bundle() -> ModelBundle:
    """The network, with a profile."""
    torch.manual_seed(7)
    return with_profile(trace(Tiny(), (torch.randn(2, 12),)))


def with_profile(bare: ModelBundle, theta: int = 0) -> ModelBundle:
    """The bundle with a profile of small thresholds, as if calibrated on devices that nearly agree.

    theta: of every operator, 0 for none."""
    tolerance = NodeTolerance((1e-7,) * len(GRID), (1e-6,) * len(GRID), theta)
    devices = (Device("one", ""), Device("two", ""))
    profile = Profile(bare.graph.root, (tolerance,) * len(bare.graph), devices, 1)
    return ModelBundle(bare.graph, bare.parameters, profile)


class InProcess(Examiner):
    """Judges at once, in this process: for models that are no stranger's."""

    def __init__(self, examination: Examination):
        self.examination = examination

    def start(self, question: Question) -> None:
        self._asked = question.record()

    def answer(self, seconds: float) -> Verdict:
        return self._read(json.dumps(answer_to(self.examination, self._asked)).encode())

    def stop(self) -> None:
        """Nothing goes on here."""


def member(context: Context, device: str = "", **options) -> MemberRole:
    """A member that judges in this process."""
    return MemberRole(context, device, examiner=InProcess(Examination(context.store, device)), **options)


def node(bundle: ModelBundle, operator: str) -> int:
    """The last node of this operator."""
    return max(index for index, node in enumerate(bundle.graph.nodes) if operator in node.operator)


def inputs(seed: int = 0) -> tuple[torch.Tensor, ...]:
    return (torch.randn(2, 12, generator=torch.Generator().manual_seed(seed)),)


class Cheat(Honest):
    """Adds `offset` to one element of the output of operator `node`, consistently in all it reveals."""

    stands_by = False

    def __init__(self, bundle: ModelBundle, node: int, offset: float = 0.05):
        super().__init__(bundle)
        self.bundle, self.node, self.offset = bundle, node, offset

    def run(self, given):
        last = len(self.bundle.graph)
        return self.capture(given, [last])[last]

    def capture(self, given, cuts):
        return capture(self.bundle.graph, self.bundle.parameters, given, cuts, override=self.alter)

    def alter(self, index, node, operands, outputs):
        if index != self.node:
            return outputs
        changed = outputs[0].clone()
        changed.view(-1)[1] += self.offset
        return (changed, *outputs[1:])


class Withholder(Cheat):
    """Cheats, stores what it claims and nothing else."""

    def publish(self, store, tensor):
        return store.put_tensor(tensor) if tensor.shape == (2, 4) else commit(tensor)


class Rewriter(Cheat):
    """Computes every operator right, but changes a value while it only passes by operator `node`."""

    def capture(self, given, cuts):
        graph, parameters = self.bundle.graph, self.bundle.parameters
        early = [cut for cut in cuts if cut <= self.node]
        states = capture(graph, parameters, given, [*early, self.node + 1])
        altered = list(states.pop(self.node + 1))
        passing = [
            position
            for position, value in enumerate(graph.live(self.node + 1))
            if value in graph.live(self.node)
        ]
        altered[passing[0]] = altered[passing[0]] + self.offset
        for cut in set(cuts) - set(early):
            states[cut] = tuple(replay(graph, parameters, self.node + 1, altered, cut))
        return states
