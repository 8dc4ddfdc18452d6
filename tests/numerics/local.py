"""Devices inside this process: the worker's code, with kernels that a test changes."""

from typing import Any

from tao.execution.run import Override
from tao.model import ModelBundle
from tao.numerics.process import Remote
from tao.numerics.worker import Worker


class LocalDevice(Remote):
    """A worker in this process. override: replaces the outputs of operators."""

    def __init__(self, name: str, bundle: ModelBundle, override: Override | None = None) -> None:
        self.name, self.description = name, "in this process"
        self.worker = Worker(bundle)
        self.worker.override = override
        self.requests: list[str] = []

    def start(self, request: str, *arguments: Any) -> None:
        self.requests.append(request)
        self._answer = getattr(self.worker, request)(*arguments)

    def finish(self) -> Any:
        return self._answer

    def close(self) -> None:
        pass


def reordered(seed: int, ulps: float = 1.0) -> Override:
    """Honest kernels of another order: every inexact element off by about an ulp, the same on each call."""
    import torch

    generator = torch.Generator()

    def override(index, node, operands, outputs):
        def nudge(y):
            generator.manual_seed(seed * 10_007 + index)
            return y * (1 + ulps * 2.0**-24 * torch.randn(y.shape, generator=generator))

        exact = "relu" in node.target or node.target == "copy"
        return [y if exact or not y.is_floating_point() else nudge(y) for y in outputs]

    return override
