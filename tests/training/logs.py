"""Rounding logs with entries that no honest trainer writes, and a step whose log matters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tao.graph import Graph
from tao.graph.log_format import ELEMENT_BITS, END, empty
from training.steps import Tape

BOUNDARY = 2.0**-23
"""Its sigmoid is 1/2 + 2^-25 - 2^-69 / 48: devices may round it up."""


def logistic(capacity: int = 64) -> tuple[Graph, list[Tensor], tuple[Tensor, ...]]:
    """Sigmoids, every other of which is all but a midpoint."""
    tape = Tape(capacity)
    x = tape.input(torch.tensor([BOUNDARY, 0.3] * 8))
    y = tape("sigmoid.default", x)
    return tape.finish(y, tape("mul.Tensor", y, y)), tape.parameters, (x.tensor,)


def same(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    return all(torch.equal(_bits(x), _bits(y)) for x, y in zip(a, b, strict=True))


def _bits(x: Tensor) -> Tensor:
    return x.view(torch.int32) if x.dtype == torch.float32 else x


def without_entries(log: Tensor) -> Tensor:
    return empty(log.shape[1])


def with_entry(log: Tensor, node: int, element: int, value: float) -> Tensor:
    """The log with one entry more, or another value for it."""
    entries = {k: v for k, v in zip(*log.tolist(), strict=True) if k != END}
    entries[node << ELEMENT_BITS | element] = _bits(torch.tensor(value)).item() & 0xFFFFFFFF
    changed = without_entries(log)
    changed[:, : len(entries)] = torch.tensor(sorted(entries.items())).T
    return changed


def node_of(graph: Graph, operator: str) -> int:
    return next(i for i, node in enumerate(graph.nodes) if node.operator == f"rounded.{operator}")
