"""Proofs for the adjudicators: which output element is provably wrong, and the openings that show it.

ABI encodings are those of the `Proof` structs of ContractionAdjudicator and of the library ElementProof.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from eth_abi import encode
from torch import Tensor

from tao.errors import UnsupportedOperator
from tao.graph.windows import CONVOLUTIONS, MAX_POOL
from tao.model import ModelBundle
from tao.proofs.hints import hint
from tao.proofs.leaf import Leaf
from tao.proofs.reads import Runs, reads
from tao.proofs.search import CALIBRATED, EXACT, INEXACT, accusable_candidates, candidates

ADJUDICATED = EXACT | INEXACT
"""The operators of which an element can be decided on chain, where their operands are of its types."""

MAX_OPENED = 120_000
"""Bytes of openings: nodes refuse transactions above 128 KiB."""

_OPENING = "(bytes,bytes32[],bytes32[])"
_OUTPUT = "(bytes,bytes32[])"
_NOTHING = (b"", [], [])


def element_proof(
    bundle: ModelBundle,
    node_index: int,
    state_before: Sequence[Tensor],
    outputs: Sequence[Tensor],
    element: int,
) -> bytes:
    """The `Proof` about one element that the operator's adjudicator takes for every question, ABI-encoded.

    state_before: the values live before the node, in the order of `Graph.live`. outputs: the node's only
    output, as claimed. element: row-major index into it. Raises ModelError for tensors that are not the
    graph's, UnsupportedOperator where no adjudicator decides the operator, InvalidTensor outside the output
    and where an index is looked up that its table does not have.
    """
    operator = bundle.graph.nodes[node_index].operator
    if operator not in ADJUDICATED:
        raise UnsupportedOperator(f"node {node_index} is {operator}, which no adjudicator decides")
    leaf = Leaf.of(bundle, node_index, state_before, outputs)
    runs = reads(leaf, element)
    openings = [[leaf.open_operand(i, *run) for run in each] for i, each in enumerate(runs)]
    output = leaf.open_output(element)
    if operator == MAX_POOL:
        return encode([f"(uint256,{_OPENING}[],{_OUTPUT})"], [(element, openings[0], output)])
    if operator in CONVOLUTIONS:
        a, b, *bias = openings
        fields = f"uint256,uint256,{_OPENING}[],{_OPENING}[],{_OPENING}[],{_OUTPUT}"
        return encode([f"({fields})"], [(element, hint(leaf, runs), a, b, [o for (o,) in bias], output)])
    single = [each[0] if each else _NOTHING for each in openings]
    if leaf.node.reduction:
        values = (element, hint(leaf, runs), single, output)
        return encode([f"(uint256,uint256,{_OPENING}[],{_OUTPUT})"], [values])
    return encode([f"(uint256,{_OPENING}[],{_OUTPUT})"], [(element, single, output)])


def find_refutable_element(
    bundle: ModelBundle, node_index: int, state_before: Sequence[Tensor], outputs: Sequence[Tensor]
) -> int | None:
    """Row-major index of the output element furthest outside its bound, or of the first that is not exact.

    None where no element is provably wrong, where no adjudicator decides the operator, and where the openings
    would not fit a transaction. Arguments as for `element_proof`; raises ModelError for tensors that are not
    the graph's.
    """
    node = bundle.graph.nodes[node_index]
    if node.operator not in ADJUDICATED or None in node.maps:
        return None
    leaf = Leaf.of(bundle, node_index, state_before, outputs)
    return _first_that_fits(leaf, candidates(leaf))


def find_accusable_element(
    bundle: ModelBundle,
    node_index: int,
    state_before: Sequence[Tensor],
    outputs: Sequence[Tensor],
    theta: int,
) -> int | None:
    """Row-major index of the output element furthest beyond the node's calibrated constant theta (Q16.16).

    None where no element is provably beyond it, where theta is 0 or the operator is no contraction and no
    convolution that is decided on chain, and where the openings would not fit a transaction. The proof is
    that of `element_proof`. Arguments and errors as for `find_refutable_element`.
    """
    node = bundle.graph.nodes[node_index]
    if node.operator not in CALIBRATED or None in node.maps or theta == 0:
        return None
    leaf = Leaf.of(bundle, node_index, state_before, outputs)
    return _first_that_fits(leaf, accusable_candidates(leaf, theta))


def _first_that_fits(leaf: Leaf, elements: Iterable[int]) -> int | None:
    return next((element for element in elements if _opened_bytes(leaf, element) <= MAX_OPENED), None)


def _opened_bytes(leaf: Leaf, element: int) -> int:
    runs: Runs = reads(leaf, element)
    return sum(leaf.opened_bytes(i, *run) for i, each in enumerate(runs) for run in each)


def leaf_claim(
    bundle: ModelBundle,
    node_index: int,
    state_before_commitments: Sequence[bytes],
    output_commitments: Sequence[bytes],
) -> dict[str, Any]:
    """The fields of `IDisputeGame.LeafClaim` for node `node_index`."""
    return {
        "record": bundle.graph.records[node_index],
        "graphProof": bundle.graph.proof(node_index),
        "stateBefore": list(state_before_commitments),
        "outputs": list(output_commitments),
    }
