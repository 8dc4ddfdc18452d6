"""Devices that run a model in processes of their own, and the handles by which a parent asks them.

Kernels are chosen when torch is loaded, so each kernel variant needs a process of its own. Requests and
answers are lists that `torch.save` writes, preceded by their length, on the child's standard input and
output; what a child does with them is in `tao.numerics.worker`.
"""

import io
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, BinaryIO, Self

import torch
from torch import Tensor

from tao.graph.canonical import Graph
from tao.model import ModelBundle
from tao.numerics import variants
from tao.numerics.variants import VariantError
from tao.tensors.store import TensorStore

# Idle pools of threads must not spin: there are more processes than cores.
_PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}


def send(stream: BinaryIO, message: Any) -> None:
    """Write one message."""
    buffer = io.BytesIO()
    torch.save(message, buffer)
    stream.write(buffer.getbuffer().nbytes.to_bytes(8, "big"))
    stream.write(buffer.getbuffer())
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """The next message. Raises EOFError when the other side is gone, be it in the middle of one."""
    length = int.from_bytes(stream.read(8), "big")
    data = stream.read(length)
    if not data or len(data) < length:
        raise EOFError("the other process has ended")
    return torch.load(io.BytesIO(data), weights_only=True)


class Remote(ABC):
    """A device elsewhere that holds a model; a context manager. Every request may raise VariantError."""

    name: str
    description: str

    @abstractmethod
    def start(self, request: str, *arguments: Any) -> None:
        """Send a request, a method of `worker.Worker`; `finish` must follow."""

    @abstractmethod
    def finish(self) -> Any:
        """Wait for the answer to the request just started."""

    @abstractmethod
    def close(self) -> None:
        """Let the device go."""

    def _ask(self, request: str, *arguments: Any) -> Any:
        self.start(request, *arguments)
        return self.finish()

    def run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The model's outputs."""
        return tuple(self._ask("run", list(inputs)))

    def judge(self, inputs: Sequence[Tensor], claimed: Sequence[Tensor]) -> tuple[float, float]:
        """`SegmentMeasurement.drift` and `.excess` of claimed outputs against this device's own replays."""
        return tuple(self._ask("judge", list(inputs), list(claimed)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class VariantProcess(Remote):
    """Runs a stored model under one kernel variant of this machine."""

    def __init__(self, name: str, store: TensorStore, model_id: bytes) -> None:
        self.name, self.description = name, variants.describe(name)
        command = [sys.executable, "-m", "tao.numerics.worker", name, store.url, model_id.hex()]
        environment = {**variants.environment(name), **_PASSIVE}
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )

    def start(self, request: str, *arguments: Any) -> None:
        try:
            send(self._child.stdin, [request, *arguments])
        except BrokenPipeError as error:
            raise self._ended() from error

    def finish(self) -> Any:
        try:
            return receive(self._child.stdout)
        except EOFError as error:
            raise self._ended() from error

    def _ended(self) -> VariantError:
        return VariantError(f"The process of kernel variant {self.name!r} ended; see its messages.")

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):  # it ended before it read everything
            self._child.stdin.close()
        self._child.stdout.close()
        self._child.wait()


@contextmanager
def processes(
    names: Sequence[str], bundle: ModelBundle, store: TensorStore
) -> Iterator[list[VariantProcess]]:
    """One process per variant, each with the model, which is saved in the store for them to load."""
    model_id = bundle.save(store)
    with ExitStack() as stack:
        yield [stack.enter_context(VariantProcess(name, store, model_id)) for name in names]


def ask_all(devices: Sequence[Remote], request: str, *arguments: Any) -> list[Any]:
    """Every device's answer to one request; they work at the same time."""
    for device in devices:
        device.start(request, *arguments)
    return [device.finish() for device in devices]


def step_together(
    devices: Sequence[Remote],
    graph: Graph,
    inputs: Sequence[Tensor],
    at_cut: Callable[[int, tuple[Tensor, ...]], None] = lambda cut, state: None,
) -> Iterator[list[tuple[Tensor, ...]]]:
    """For each node in turn, every device's outputs from the same state: the one the first device's run has.

    So deviations are those of one operator alone; they do not accumulate. Holds one state per device.
    at_cut: is called before each node with its number and the values live there, while all devices hold them.
    """
    ask_all(devices, "begin", list(inputs))
    held = dict(zip(graph.live(0), inputs, strict=True))
    for cut, node in enumerate(graph.nodes):
        at_cut(cut, tuple(held[value] for value in graph.live(cut)))
        outputs = [tuple(answer) for answer in ask_all(devices, "step")]
        yield outputs
        ask_all(devices, "hold", list(outputs[0]))
        live = graph.live(cut + 1)
        held |= dict(zip([value for value in node.outputs if value in live], outputs[0], strict=True))
        held = {value: held[value] for value in live}
