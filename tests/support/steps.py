"""Single nodes of training steps as models, with the tensors around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from support.wire import Contract, Wire
from tao.graph.canonical import Graph, Node, Operand
from tao.graph.log_format import ELEMENT_BITS, empty
from tao.graph.maps import IndexMap
from tao.graph.views import View
from tao.model import ModelBundle
from tao.proofs import leaf_claim
from tao.tensors.codec import TensorType
from tao.tensors.tree import commit
from tao.training.sums import nearest_sum

NUMBER = 5
"""Of the logged nodes here in their step's graph."""


@dataclass(frozen=True)
class Step:
    """A node, what is live before it and what it is claimed to give."""

    bundle: ModelBundle
    before: tuple[Tensor, ...]
    output: Tensor

    @classmethod
    def of(
        cls,
        operator: str,
        operands: Sequence[Tensor],
        maps: Sequence[IndexMap | None],
        output: Tensor,
        reduction: int = 0,
        attributes: Sequence[int] = (),
    ) -> Step:
        """The operands stand behind another live value, and are read whole."""
        before = (torch.zeros(3), *operands)
        types = tuple(TensorType.of(tensor) for tensor in (*before, output))
        views = [View.whole(t.shape) for t in types[1:-1]]
        node = Node(
            operator,
            operator,
            (),
            {},
            tuple(Operand(i + 1, view) for i, view in enumerate(views)),
            tuple(maps),
            (len(before),),
            (0,),
            reduction,
            tuple(attributes),
        )
        count = len(types)
        graph = Graph(types, len(before), 0, (node,), (count - 1,), (None,) * count, (operator,))
        return cls(ModelBundle(graph.checked(), ()), before, output)

    @property
    def given(self) -> tuple[ModelBundle, int, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The first arguments of the builders of proofs."""
        return self.bundle, 0, self.before, (self.output,)

    def claiming(self, element: int, value: Any) -> Step:
        """With another output element."""
        output = self.output.clone()
        output.view(-1)[element] = value
        return replace(self, output=output)

    def logging(self, log: Tensor) -> Step:
        """With another log of the same capacity."""
        return replace(self, before=(*self.before[:-1], log))

    def leaf(self) -> tuple:
        claim = leaf_claim(self.bundle, 0, list(map(commit, self.before)), [commit(self.output)])
        weights = (self.bundle.weights_root, len(self.bundle.parameters))
        return (claim["record"], claim["stateBefore"], claim["outputs"], *weights)

    def refuted(self, wire: Wire, contract: Contract, proof: bytes) -> bool:
        """The adjudicator's verdict; raises Reverted."""
        return wire.call(contract, "refutes", self.leaf(), proof, gas=100_000_000)

    def cost(self, wire: Wire, sender: str, contract: Contract, proof: bytes) -> int:
        """Gas of a whole transaction that carries the proof to its adjudicator."""
        data = contract.data("refutes", self.leaf(), proof)
        return int(wire.rpc("eth_estimateGas", {"from": sender, "to": contract.address, "data": data}), 16)


def log(entries: dict[int, int], capacity: int = 8) -> Tensor:
    """Of element and encoding of entries of the node here, as the trainer keeps it."""
    keys = sorted(entries)
    result = empty(capacity)
    result[0, : len(keys)] = torch.tensor([NUMBER << ELEMENT_BITS | element for element in keys])
    result[1, : len(keys)] = torch.tensor([entries[element] for element in keys])
    return result


def contraction(a: Tensor, b: Tensor) -> Step:
    """a [M, K] times b [N, K], transposed."""
    lanes = a.shape[1]
    terms = a.double()[:, None] * b.double()
    output = nearest_sum(terms.view(-1, lanes), 24).view(len(a), len(b))
    maps = (IndexMap((lanes, 0), 1, 0), IndexMap((0, lanes), 1, 0))
    return Step.of("rounded.contraction", (a, b), maps, output, lanes)


def row_sum(x: Tensor) -> Step:
    """Of the rows of x."""
    lanes = x.shape[1]
    maps = (IndexMap((lanes,), 1, 0),)
    return Step.of("rounded.aten.sum.dim_IntList", (x,), maps, nearest_sum(x.double(), 24), lanes)


def elementwise(
    name: str,
    x: Sequence[Tensor],
    results: Tensor,
    attributes: tuple[int, ...] = (),
    kept: Tensor | None = None,
) -> Step:
    """Of vectors; results are float64; kept is the log of a logged one."""
    maps = [IndexMap((1,), 0, 0) for _ in x]
    operands = list(x)
    if kept is not None:
        operands, maps, attributes = [*operands, kept], [*maps, None], (*attributes, NUMBER)
    return Step.of(f"rounded.aten.{name}", operands, maps, results.float(), attributes=attributes)


def embedding_gradient(grad: Tensor, indices: Tensor, rows: int) -> Step:
    """Of a table of `rows` rows."""
    places, width = grad.shape
    chosen = indices.flatten() == torch.arange(rows)[:, None]
    terms = chosen[:, None] * grad.double().T
    output = nearest_sum(terms.reshape(-1, places), 24).view(rows, width)
    maps = (IndexMap((0, places), 1, 0), None)
    columns = grad.T.contiguous()
    return Step.of("rounded.tao.embedding_gradient.default", (columns, indices), maps, output, places)
