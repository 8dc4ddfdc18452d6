"""A process that runs a model under one kernel variant, and the handle by which its parent asks it to.

Kernels are chosen when torch is loaded, so each variant needs a process of its own. Requests and answers are
lists that `torch.save` writes, preceded by their length, on the child's standard input and output.
"""

import io
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, BinaryIO, Self

import torch
from torch import Tensor

from tao.execution import Executor
from tao.execution.replay import restore
from tao.model import ModelBundle
from tao.numerics import variants
from tao.numerics.drift import drift_ratio
from tao.numerics.variants import VariantError
from tao.tensors.store import TensorStore

# Idle pools of threads must not spin: there are more processes than cores.
_PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}


def _send(stream: BinaryIO, message: Any) -> None:
    buffer = io.BytesIO()
    torch.save(message, buffer)
    stream.write(buffer.getbuffer().nbytes.to_bytes(8, "big"))
    stream.write(buffer.getbuffer())
    stream.flush()


def _receive(stream: BinaryIO) -> Any:
    """The next message. Raises EOFError when the other side is gone, be it in the middle of one."""
    length = int.from_bytes(stream.read(8), "big")
    data = stream.read(length)
    if not data or len(data) < length:
        raise EOFError("the other process has ended")
    return torch.load(io.BytesIO(data), weights_only=True)


class VariantProcess:
    """Runs a stored model under one kernel variant; a context manager. Raises VariantError if it dies."""

    def __init__(self, name: str, store: TensorStore, model_id: bytes) -> None:
        self.name = name
        command = [sys.executable, "-m", "tao.numerics.process", name, store.url, model_id.hex()]
        environment = {**variants.environment(name), **_PASSIVE}
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )

    def _ask(self, request: str, *arguments: Any) -> Any:
        try:
            _send(self._child.stdin, [request, *arguments])
            return _receive(self._child.stdout)
        except (EOFError, BrokenPipeError) as error:
            raise VariantError(
                f"The process of kernel variant {self.name!r} ended; see its messages."
            ) from error

    def run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The model's outputs."""
        return tuple(self._ask("run", list(inputs)))

    def drift(self, inputs: Sequence[Tensor], claimed: Sequence[Tensor]) -> float:
        """The drift ratio of claimed outputs against this variant's float32 and float64 replays."""
        return self._ask("drift", list(inputs), list(claimed))

    def begin(self, inputs: Sequence[Tensor]) -> None:
        """Hold these inputs as the state at cut 0."""
        self._ask("begin", list(inputs))

    def step(self) -> tuple[Tensor, ...]:
        """This variant's outputs of the next node, computed from the state held."""
        return tuple(self._ask("step"))

    def hold(self, outputs: Sequence[Tensor]) -> None:
        """Let these be the outputs of the node just stepped, and move the state behind it."""
        self._ask("hold", list(outputs))

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):  # it ended before it read everything
            self._child.stdin.close()
        self._child.stdout.close()
        self._child.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def processes(
    names: Sequence[str], bundle: ModelBundle, store: TensorStore
) -> Iterator[list[VariantProcess]]:
    """One process per variant, each with the model, which is saved in the store for them to load."""
    model_id = bundle.save(store)
    with ExitStack() as stack:
        yield [stack.enter_context(VariantProcess(name, store, model_id)) for name in names]


def step_together(
    workers: Sequence[VariantProcess], nodes: int, inputs: Sequence[Tensor]
) -> Iterator[list[tuple[Tensor, ...]]]:
    """For each node in turn, every worker's outputs from the same state: the one the first worker's run has.

    So deviations are those of one operator alone; they do not accumulate. Holds one state per worker.
    """
    for worker in workers:
        worker.begin(inputs)
    for _ in range(nodes):
        outputs = [worker.step() for worker in workers]
        yield outputs
        for worker in workers:
            worker.hold(outputs[0])


class _Worker:
    """The child's side of VariantProcess: a method for each request."""

    def __init__(self, bundle: ModelBundle) -> None:
        self.graph, self.parameters = bundle.graph, bundle.parameters
        self.executor = Executor(self.graph, self.parameters)
        self.state: dict[int, Tensor] = {}
        self.cut = 0

    def run(self, inputs: list[Tensor]) -> list[Tensor]:
        return [output.contiguous() for output in self.executor.run(inputs)]

    def drift(self, inputs: list[Tensor], claimed: list[Tensor]) -> float:
        # Made anew each time: its parameters, twice the size, need not stay.
        double = Executor(self.graph, self.parameters, torch.float64).run(inputs)
        return drift_ratio(claimed, self.executor.run(inputs), double)

    def begin(self, inputs: list[Tensor]) -> None:
        self.cut, self.state = 0, dict(zip(self.graph.live(0), inputs, strict=True))

    def step(self) -> list[Tensor]:
        before = restore(self.graph, self.cut, [self.state[value] for value in self.graph.live(self.cut)])
        after = self.executor.advance(self.cut, before, self.cut + 1)
        results = dict(zip(self.graph.live(self.cut + 1), after, strict=True))
        return [results[value].contiguous() for value in self._produced()]

    def hold(self, outputs: list[Tensor]) -> None:
        self.state.update(zip(self._produced(), outputs, strict=True))
        self.cut += 1
        self.state = {value: self.state[value] for value in self.graph.live(self.cut)}

    def _produced(self) -> list[int]:
        """Values that the next node computes and a later one, or the result, needs."""
        needed = self.graph.live(self.cut + 1)
        return [value for value in self.graph.nodes[self.cut].outputs if value in needed]


def main(name: str, store_url: str, model_id: str) -> None:
    """Serve requests until standard input ends."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print must not mix with answers
    variants.configure_torch(name)
    worker = _Worker(ModelBundle.load(TensorStore(store_url), bytes.fromhex(model_id)))
    while True:
        try:
            request, *arguments = _receive(requests)
        except EOFError:
            return
        _send(answers, getattr(worker, request)(*arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
