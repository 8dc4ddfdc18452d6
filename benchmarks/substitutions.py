"""What a server computes with to save work: numbers and weights of fewer bits."""

from __future__ import annotations

import torch
from torch import Tensor

from tao.graph.canonical import Graph
from tao.graph.operators import CONTRACTION
from tao.model import ModelBundle


def tf32(x: Tensor) -> Tensor:
    """Rounded to 10 bits of the significand, ties to even."""
    bits = x.contiguous().view(torch.int32)
    return ((bits + 0xFFF + (bits >> 13 & 1)) & ~0x1FFF).view(torch.float32)


def int8(weight: Tensor) -> Tensor:
    """Weights [outputs, ...] rounded to 8 bits with one scale for each output, as cheap serving does."""
    rows = weight.flatten(1)
    scale = rows.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
    return ((rows / scale).round() * scale).view_as(weight)


def int8_parameters(bundle: ModelBundle) -> tuple[Tensor, ...]:
    """A model's parameters with the matrices of all contractions rounded to 8 bits."""
    chosen = matrices(bundle.graph)
    return tuple(int8(p) if index in chosen else p for index, p in enumerate(bundle.parameters))


def matrices(graph: Graph, path: str = "") -> list[int]:
    """Indices of the parameters that contractions of modules under `path` use as matrices."""
    found = {
        graph.parameter_of(node.operands[1].value)
        for name, node in zip(graph.names, graph.nodes, strict=True)
        if node.operator == CONTRACTION and path in name
    }
    return sorted(found - {None})
