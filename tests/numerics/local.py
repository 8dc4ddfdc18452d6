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


def shuffled(bundle: ModelBundle, seed: int) -> LocalDevice:
    """Honest kernels that sum in another order: products and norms over elements of a row taken at random."""
    import torch
    from torch.nn import functional

    def override(index, node, operands, outputs):
        x = operands[0]
        order = (
            torch.randperm(x.shape[-1], generator=torch.Generator().manual_seed(seed)) if x.dim() else None
        )
        match node.target:
            case "aten.linear.default":
                weight = operands[1][:, order].contiguous()
                return [functional.linear(x[..., order].contiguous(), weight, *operands[2:])]
            case "aten.sum.dim_IntList" | "aten.mean.dim" if node.args[1] == [-1]:
                reduce = torch.sum if "sum" in node.target else torch.mean
                return [reduce(x[..., order].contiguous(), -1, keepdim=len(node.args) > 2 and node.args[2])]
            case "aten.layer_norm.default":
                scales = [each[order] for each in operands[1:]]
                moved = functional.layer_norm(x[..., order].contiguous(), x.shape[-1:], *scales)
                return [torch.empty_like(moved).index_copy_(-1, order, moved)]
            case _:
                return outputs

    return LocalDevice(f"shuffled-{seed}", bundle, override)


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
