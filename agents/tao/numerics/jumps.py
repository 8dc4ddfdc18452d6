"""Operators whose results jump where their operands change by little: honest kernels need not agree on those.

A comparison, an argmax or a rounding to integers breaks ties: of two numbers that are nearly equal, other roundings
before it choose the other one, and all that follows from the choice is different, however exact the arithmetic.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tao.execution.run import Override
from tao.graph.canonical import Graph, Node
from tao.graph.operators import overloads

STEPS = overloads("""
    ceil floor round trunc sign sgn frac fmod.Tensor fmod.Scalar remainder.Tensor remainder.Scalar
    div.Tensor_mode div.Scalar_mode copysign.Tensor copysign.Scalar hardshrink atan2 threshold_backward
    grid_sampler_2d
""")
"""Those that give floating-point numbers."""

APART = 0.1
"""Share of its magnitude by which a result of STEPS differs where it jumped; from one whole number to another is always
a jump."""

Outcomes = dict[int, tuple[Tensor, ...]]
"""By node, what operators that jump gave."""


def jumping(graph: Graph, lo: int, hi: int) -> list[int]:
    """The nodes of the segment [lo, hi) whose results may jump."""
    return [index for index in range(lo, hi) if _jumps(graph, graph.nodes[index])]


def _jumps(graph: Graph, node: Node) -> bool:
    if not any(graph.types[operand.value].dtype.torch.is_floating_point for operand in node.operands):
        return False
    outputs = [graph.types[value].dtype.torch for value in node.outputs]
    return node.target in STEPS or not all(dtype.is_floating_point for dtype in outputs)


def differ(some: Outcomes, others: Outcomes) -> bool:
    """Whether any operator's choice is another one in the second."""
    return any(
        bool((_chosen(a, b) != a).logical_and_((a == a) | (b == b)).any())
        for index in some
        for a, b in zip(some[index], others[index], strict=True)
    )


def held(outcomes: Outcomes) -> Override:
    """Lets the operators choose as they did: puts in the integers, the booleans and the jumps of their outcomes.

    What else they give, such as the values of a topk, changes by as little as their operands do, and stays.
    """

    def override(
        index: int, node: Node, operands: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        if index not in outcomes:
            return outputs
        return [_chosen(own, other) for own, other in zip(outputs, outcomes[index], strict=True)]

    return override


def _chosen(own: Tensor, other: Tensor) -> Tensor:
    """`own` with the choices of `other`."""
    if not own.is_floating_point():
        return other
    change = (other - own).abs()
    whole = (own == own.round()) & (other == other.round()) & (change > 0)
    jumped = (change > APART * torch.maximum(own.abs(), other.abs())) | whole
    return torch.where(jumped, other.to(own.dtype), own)
