"""A differentiable run of a canonical graph in which every operator's outputs may be replaced."""

from collections.abc import Callable, Sequence

from torch import Tensor

from tao.execution.layout import lay_out, view_operand
from tao.graph.canonical import Graph, Node
from tao.graph.literals import fill
from tao.graph.operators import COPY, resolve
from tao.model import ModelBundle

Visit = Callable[[int, Node, list[Tensor], tuple[Tensor, ...]], Sequence[Tensor]]
"""(node index, node, operands as the call sees them, outputs) -> the outputs to go on with."""


def call(graph: Graph, node: Node, operands: list[Tensor]) -> tuple[Tensor, ...]:
    """The node's outputs in use, by the kernels of this process."""
    if node.target == COPY:
        return (lay_out(operands[0], graph.layouts[node.outputs[0]]),)
    args, kwargs = fill(node.args, node.kwargs, operands)
    result = resolve(node.target)(*args, **kwargs)
    return (result,) if isinstance(result, Tensor) else tuple(result[slot] for slot in node.slots)


def forward(bundle: ModelBundle, inputs: Sequence[Tensor], visit: Visit) -> tuple[Tensor, ...]:
    """The graph's outputs; with a `visit` that changes nothing they have the bits of `Executor.run`."""
    graph = bundle.graph
    values: dict[int, Tensor] = dict(zip(graph.live(0), inputs, strict=True))
    for index, tensor in enumerate(bundle.parameters):
        value = graph.value_of_parameter(index)
        values[value] = lay_out(tensor.detach(), graph.layouts[value])
    for index, node in enumerate(graph.nodes):
        operands = [view_operand(values[operand.value], operand) for operand in node.operands]
        outputs = visit(index, node, operands, call(graph, node, operands))
        for value, output in zip(node.outputs, outputs, strict=True):
            values[value] = lay_out(output, graph.layouts[value])
        for value in graph.releases[index]:
            del values[value]
    return tuple(values[value] for value in graph.outputs)
