"""Proofs for the adjudicators, encoded by hand from what their proof structs say."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from eth_abi import encode

from support.encoding import Tensor
from support.graphs import Network

OPERAND = "(bytes,bytes32[],bytes32[])"
OUTPUT = "(bytes,bytes32[])"
LOWEST_WINDOW, SPAN = 2, 63


@dataclass(frozen=True)
class Proof:
    """An adjudicator's proof in parts, so that a test can spoil any of them."""

    element: int
    operands: tuple[tuple[bytes, list[bytes], list[bytes]], ...]
    output: tuple[bytes, list[bytes]]
    window: int | None = field(default=None)

    @property
    def encoded(self) -> bytes:
        if self.window is None:
            return encode(
                [f"(uint256,{OPERAND}[],{OUTPUT})"], [(self.element, list(self.operands), self.output)]
            )
        values = (self.element, self.window, list(self.operands), self.output)
        return encode([f"(uint256,uint256,{OPERAND}[],{OUTPUT})"], [values])

    def with_operand(self, index: int, opening: tuple[bytes, list[bytes], list[bytes]]) -> Proof:
        operands = list(self.operands)
        operands[index] = opening
        return replace(self, operands=tuple(operands))


def _exponents(values: np.ndarray) -> np.ndarray:
    biased = values.view(np.uint32) >> 23 & 0xFF
    return np.maximum(biased, 1).astype(int)


def first_element(network: Network, node: int, operand: int, element: int, shape: tuple[int, ...]) -> int:
    """Where output element `element` begins to read an operand."""
    index_map = network.records[node].operands[operand].map
    coordinates = np.unravel_index(element, shape)
    return index_map.offset + sum(int(c) * s for c, s in zip(coordinates, index_map.strides, strict=True))


def prove(network: Network, node: int, before: list[Tensor], output: Tensor, element: int) -> Proof:
    """Open everything that element `element` of the node's output depends on."""
    record = network.records[node]
    tensors = network.operands(node, before)
    shape = output.array.shape
    starts = [first_element(network, node, i, element, shape) for i in range(len(tensors))]
    lengths = [record.reduction if i < 2 and record.reduction else 1 for i in range(len(tensors))]
    if record.operator == "aten.embedding.default":
        starts[0] += int(tensors[1].array.ravel()[starts[1]]) * record.attributes[0]
    openings = []
    for operand, tensor, start, length in zip(record.operands, tensors, starts, lengths, strict=True):
        _, data, path = tensor.open(start, length)
        weights = network.weight_path(operand.position) if operand.is_parameter else []
        openings.append((data, path, weights))
    window = None
    if record.reduction:
        runs = zip(tensors[:2], starts[:2], strict=True)
        largest = int(sum(_exponents(t.array.ravel()[s : s + record.reduction]) for t, s in runs).max())
        if len(tensors) == 3:
            largest = max(
                largest, int(_exponents(tensors[2].array.ravel()[starts[2] : starts[2] + 1])[0]) + 127
            )
        window = max(LOWEST_WINDOW, largest - SPAN)
    _, data, path = output.open(element)
    return Proof(element, tuple(openings), (data, path), window)
