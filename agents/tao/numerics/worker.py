"""A device's own side: answers what its parent asks of a model it holds (see `tao.numerics.process`)."""

import os
import sys
from collections.abc import Iterable

from torch import Tensor

from tao.errors import NoResult
from tao.execution import Executor
from tao.execution.replay import restore
from tao.model import ModelBundle
from tao.numerics import variants
from tao.numerics.measure import compare_segment
from tao.numerics.process import receive, send
from tao.numerics.runtimes import override_of
from tao.tensors.store import TensorStore


class Worker:
    """A model on this device: a method for each request."""

    def __init__(self, bundle: ModelBundle, runtime: str = "", device: str = "cpu") -> None:
        """runtime, device: of the variant. Tensors in requests and answers are on the CPU whatever the device,
        and values stay on it in between."""
        self.device = device
        self.bundle, self.graph, self.parameters = bundle, bundle.graph, self._moved(bundle.parameters)
        self.override = override_of(runtime, self.graph)
        self.executor = Executor(self.graph, self.parameters)
        self.state: dict[int, Tensor] = {}
        self.cut = 0

    def run(self, inputs: list[Tensor]) -> list[Tensor]:
        return _answer(self._advance(0, self._moved(inputs), len(self.graph)))

    def judge(self, inputs: list[Tensor], claimed: list[Tensor]) -> tuple[float, float]:
        try:
            own = tuple(self.run(inputs))
        except NoResult:
            own = None
        found = compare_segment(self.bundle, 0, tuple(inputs), len(self.graph), tuple(claimed), own)
        return found.drift, found.excess

    def begin(self, inputs: list[Tensor]) -> None:
        self.cut, self.state = 0, dict(zip(self.graph.live(0), self._moved(inputs), strict=True))

    def step(self) -> list[Tensor]:
        before = restore(self.graph, self.cut, [self.state[value] for value in self.graph.live(self.cut)])
        after = self._advance(self.cut, before, self.cut + 1)
        results = dict(zip(self.graph.live(self.cut + 1), after, strict=True))
        return _answer(results[value] for value in self._produced())

    def hold(self, outputs: list[Tensor]) -> None:
        self.state.update(zip(self._produced(), self._moved(outputs), strict=True))
        self.cut += 1
        self.state = {value: self.state[value] for value in self.graph.live(self.cut)}

    def segment(self, end: int) -> list[Tensor]:
        state = restore(self.graph, self.cut, [self.state[value] for value in self.graph.live(self.cut)])
        after = self._advance(self.cut, state, end)
        held = set(self.graph.live(self.cut))
        return _answer(y for value, y in zip(self.graph.live(end), after, strict=True) if value not in held)

    def _moved(self, tensors: Iterable[Tensor]) -> list[Tensor]:
        return [tensor.to(self.device) for tensor in tensors]

    def _advance(self, start: int, state: list[Tensor], stop: int) -> tuple[Tensor, ...]:
        return self.executor.advance(start, state, stop, self.override)

    def _produced(self) -> list[int]:
        """Values that the next node computes and a later one, or the result, needs."""
        needed = self.graph.live(self.cut + 1)
        return [value for value in self.graph.nodes[self.cut].outputs if value in needed]


def _answer(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [tensor.contiguous().cpu() for tensor in tensors]


def main(name: str, store_url: str, model_id: str) -> None:
    """Serve requests until standard input ends."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print must not mix with answers
    variants.configure_torch(name)
    bundle = ModelBundle.load(TensorStore(store_url), bytes.fromhex(model_id))
    variant = variants.variant(name)
    worker = Worker(bundle, variant.runtime, variant.device)
    while True:
        try:
            request, *arguments = receive(requests)
        except EOFError:
            return
        send(answers, getattr(worker, request)(*arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
