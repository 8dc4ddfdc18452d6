"""Other runtimes that compute an operator in the place of ATen: TorchInductor and ONNX Runtime.

Each operator is compiled or exported by itself, at the shapes and strides of its operands, and kept for its
next call. The rest of the run, which values stand where, is the executor's.
"""

import io
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tao.execution.run import Override
from tao.graph.canonical import Graph, Node
from tao.graph.literals import fill
from tao.graph.operators import COPY, resolve

Compiled = Callable[..., Tensor | Sequence[Tensor]]

BY_ONNXRUNTIME = frozenset(
    f"aten.{name}"
    for name in (
        "linear.default", "matmul.default", "conv1d.default", "conv2d.default", "softmax.int",
        "layer_norm.default", "gelu.default", "tanh.default",
    )
)  # fmt: skip
"""Operators that ONNX Runtime computes; all others remain ATen's."""


def override_of(runtime: str, graph: Graph) -> Override | None:
    """What replaces the outputs of ATen's kernels in a variant of this runtime; None where nothing does."""
    return None if not runtime else _Runtime({"inductor": _inductor, "onnxruntime": _onnxruntime}[runtime])


class _Runtime:
    """Compiles each distinct call once."""

    def __init__(self, compile_call: Callable[[nn.Module, Sequence[Tensor], Node], Compiled | None]) -> None:
        self._compile = compile_call
        self._calls: dict[tuple, Compiled | None] = {}

    def __call__(
        self, index: int, node: Node, operands: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> Sequence[Tensor]:
        if node.target == COPY:
            return outputs
        shapes = tuple((x.dtype, tuple(x.shape), x.stride()) for x in operands)
        key = (node.target, repr(node.args), repr(node.kwargs), shapes)
        if key not in self._calls:
            self._calls[key] = self._compile(_Call(node), operands, node)
        call = self._calls[key]
        if call is None:
            return outputs
        result = call(*operands)
        return (result,) if isinstance(result, Tensor) else tuple(result[slot] for slot in node.slots)


class _Call(nn.Module):
    """A node's call as a function of its operands."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node, self.target = node, resolve(node.target)

    def forward(self, *operands: Tensor):
        args, kwargs = fill(self.node.args, self.node.kwargs, list(operands))
        return self.target(*args, **kwargs)


def _inductor(call: nn.Module, operands: Sequence[Tensor], node: Node) -> Compiled:
    # All calls share the code of `_Call.forward`, and the compilations of one code are limited.
    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = 1 << 16
    return torch.compile(call, fullgraph=True, dynamic=False)


def _onnxruntime(call: nn.Module, operands: Sequence[Tensor], node: Node) -> Compiled | None:
    if node.target not in BY_ONNXRUNTIME or any(x.dtype != torch.float32 for x in operands):
        return None
    import onnxruntime

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's age; the newer one needs more packages
        torch.onnx.export(call, tuple(operands), file, opset_version=17, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def run(*tensors: Tensor) -> Tensor:
        values = {name: x.contiguous().numpy() for name, x in zip(names, tensors, strict=True)}
        return torch.from_numpy(session.run(None, values)[0])

    return run
