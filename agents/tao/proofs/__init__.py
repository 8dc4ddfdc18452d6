"""Proofs for the adjudicators: which output element is provably wrong, and the openings that show it.

ABI encodings are those of the `Proof` structs of ContractionAdjudicator, ConvolutionAdjudicator and
PoolingAdjudicator, and of the libraries ElementProof and RowProof. Where an element's operands exceed a
transaction, a `Plan` has pieces of them to be posted before its proof.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi import encode
from torch import Tensor

from tao.errors import UnsupportedOperator
from tao.graph.resizing import ADAPTIVE, BILINEAR
from tao.graph.rows import NORMS, SOFTMAXES
from tao.graph.windows import CONVOLUTIONS, POOLS
from tao.model import ModelBundle
from tao.numerics.contraction import has_theta
from tao.proofs.hints import hint
from tao.proofs.leaf import Leaf
from tao.proofs.pieces import (
    LONGEST,
    PRODUCTS,
    Piece,
    Posting,
    cut,
    estimate,
    is_affordable,
    pieces_of,
    postings,
    recorded,
    rows_of,
)
from tao.proofs.positions import POSITIONS
from tao.proofs.reads import Runs, reads
from tao.proofs.search import ADJUDICATED, accusable_candidates, candidates, is_decided_in

MAX_OPENED = 120_000
"""Bytes of openings."""
MAX_DATA = 127_000
"""Bytes of these and of the LeafClaim, with 32 of each value live before the operator: nodes refuse transactions above
128 KiB, and some 4,000 bytes are for the rest of the call."""
_AROUND = 7 * 32
"""Bytes that the ABI puts around an opening."""

_OPENING = "(bytes,bytes32[],bytes32[])"
_OUTPUT = "(bytes,bytes32[])"
_NOTHING = (b"", [], [])
_WHOLE = POSITIONS.union(POOLS, ADAPTIVE, BILINEAR)
"""Their only operand is opened at several places."""


def element_proof(
    bundle: ModelBundle,
    node_index: int,
    state_before: Sequence[Tensor],
    outputs: Sequence[Tensor],
    element: int,
) -> bytes:
    """The `Proof` about one element that the operator's adjudicator takes, ABI-encoded.

    state_before: the values live before the node, in the order of `Graph.live`. outputs: the node's only
    output, as claimed. element: row-major index into it. Raises ModelError for tensors that are not the
    graph's, UnsupportedOperator where no adjudicator decides the operator, InvalidTensor outside the output
    and where an index is looked up that its table does not have.
    """
    leaf = _leaf(bundle, node_index, state_before, outputs)
    return _proof(leaf, element, reads(leaf, element))


@dataclass(frozen=True)
class Plan:
    """The transactions that decide an element: pieces of its rows, where it takes any, and then its proof.

    whole: instead of the pieces, all lanes as one, whose sums can be asserted (see ISumGame), and the proof that names
    it; None where there are no pieces, or they do not follow one another in one row.
    """

    leaf: Leaf
    pieces: tuple[Piece, ...]
    proof: bytes
    whole: tuple[Piece, bytes] | None = None

    def postings(self, known: Container[bytes] = ()) -> Iterator[Posting]:
        """The transactions that post the pieces, without those of the given keys."""
        return postings(self.leaf, self._missing(known))

    def estimate(self, known: Container[bytes] = ()) -> tuple[int, int]:
        """How many transactions these are, and about how much gas."""
        return estimate(self.leaf, ((piece.lanes, piece.runs) for piece in self._missing(known)))

    def _missing(self, known: Container[bytes]) -> Iterator[Piece]:
        return (piece for piece in self.pieces if piece.key not in known)


def proof_plan(
    bundle: ModelBundle,
    node_index: int,
    state_before: Sequence[Tensor],
    outputs: Sequence[Tensor],
    element: int,
) -> Plan:
    """What decides an element however long its rows: `element_proof` where that fits a transaction.

    Arguments and errors as for `element_proof`; UnsupportedOperator also where the operator's rows cannot be
    posted piece by piece, or are longer than its contract sums.
    """
    leaf = _leaf(bundle, node_index, state_before, outputs)
    runs = reads(leaf, element)
    if fits(leaf, runs):
        return Plan(leaf, (), _proof(leaf, element, runs))
    require_piecewise(leaf)
    return _piecewise(leaf, element, runs)


def require_piecewise(leaf: Leaf) -> None:
    """Raises UnsupportedOperator where the rows that an element sums cannot be posted piece by piece."""
    if not _is_piecewise(leaf):
        raise UnsupportedOperator(
            f"an element of {leaf.node.operator} sums {leaf.node.reduction:,} lanes, which are opened neither in one"
            " transaction nor in several"
        )


def _leaf(
    bundle: ModelBundle, node_index: int, state_before: Sequence[Tensor], outputs: Sequence[Tensor]
) -> Leaf:
    operator = bundle.graph.nodes[node_index].operator
    if operator not in ADJUDICATED:
        raise UnsupportedOperator(f"node {node_index} is {operator}, which no adjudicator decides")
    return Leaf.of(bundle, node_index, state_before, outputs)


def _piecewise(leaf: Leaf, element: int, runs: Runs) -> Plan:
    operator, rows, scale = leaf.node.operator, runs[0][0], hint(leaf, runs)
    points: list[int] = []
    if operator in NORMS | SOFTMAXES:
        points.append(rows[0] + element % leaf.node.reduction)
    if operator in SOFTMAXES:
        points.append(rows[0] + scale)
    piece_hint = leaf.bits(0, points[1], 1)[0] if operator in SOFTMAXES else scale
    own = _proof(leaf, element, [[], [], *runs[2:]] if operator in PRODUCTS else [[], *runs[1:]], scale)
    return in_pieces(leaf, runs, piece_hint, own, [leaf.open_operand(0, at, 1) for at in points])


def in_pieces(leaf: Leaf, runs: Runs, scale: int, own: bytes, points: Sequence[tuple] = ()) -> Plan:
    """The plan whose proof names the pieces of an element's rows. own: the operator's proof without the rows. points:
    openings of single elements that it looks at besides their sums."""
    found = pieces_of(leaf, runs, scale)
    whole = None
    if len(runs[0]) == 1:
        places = tuple((i, runs[i][0][0]) for i in range(rows_of(leaf)))
        lanes = Piece.of(leaf, scale, runs[0][0][1], places)
        whole = lanes, recorded(leaf, [lanes], points, own)
    return Plan(leaf, found, recorded(leaf, found, points, own), whole)


def _is_piecewise(leaf: Leaf) -> bool:
    return leaf.node.reduction <= LONGEST.get(leaf.node.operator, 0)


def transactions(leaf: Leaf, element: int) -> int | None:
    """How many transactions decide an element, postings and proof; None where it cannot be decided.

    Values do not matter: the leaf's tensors may be on the meta device, unless its operator looks indices up.
    """
    if leaf.node.operator in POSITIONS:
        return 1
    runs = reads(leaf, element)
    if fits(leaf, runs):
        return 1
    return estimate(leaf, cut(leaf, runs))[0] + 1 if _is_piecewise(leaf) else None


def _proof(leaf: Leaf, element: int, runs: Runs, scale: int | None = None) -> bytes:
    """The operator's `Proof` with openings of the given runs. scale: its hint, from the runs if None."""
    operator = leaf.node.operator
    scale = hint(leaf, runs) if scale is None else scale
    openings = [[leaf.open_operand(i, *run) for run in each] for i, each in enumerate(runs)]
    output = leaf.open_output(element)
    if operator in POSITIONS:
        scale = runs[0][1][0] - leaf.first(0, element) if runs[0] else 0  # the better lane
    if operator in _WHOLE:
        return encode([f"(uint256,uint256,{_OPENING}[],{_OUTPUT})"], [(element, scale, openings[0], output)])
    if operator in CONVOLUTIONS:
        a, b, *bias = openings
        fields = f"uint256,uint256,{_OPENING}[],{_OPENING}[],{_OPENING}[],{_OUTPUT}"
        return encode([f"({fields})"], [(element, scale, a, b, [o for (o,) in bias], output)])
    single = [each[0] if each else _NOTHING for each in openings]
    if leaf.node.reduction:
        values = (element, scale, single, output)
        return encode([f"(uint256,uint256,{_OPENING}[],{_OUTPUT})"], [values])
    return encode([f"(uint256,{_OPENING}[],{_OUTPUT})"], [(element, single, output)])


def find_refutable_element(
    bundle: ModelBundle, node_index: int, state_before: Sequence[Tensor], outputs: Sequence[Tensor]
) -> int | None:
    """Row-major index of the output element furthest outside its bound, or of the first that is not exact.

    None where no element is provably wrong, where no adjudicator decides the operator, and where its rows are
    longer than the operator's can be, piece by piece. Arguments as for `element_proof`; raises ModelError for
    tensors that are not the graph's.
    """
    if not is_decided_in(bundle.graph, bundle.graph.nodes[node_index]):
        return None
    leaf = Leaf.of(bundle, node_index, state_before, outputs)
    if _is_piecewise(leaf):
        return next(iter(candidates(leaf)), None)
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
    if not has_theta(node) or theta == 0:
        return None
    leaf = Leaf.of(bundle, node_index, state_before, outputs)
    return _first_that_fits(leaf, accusable_candidates(leaf, theta))


def _first_that_fits(leaf: Leaf, elements: Iterable[int]) -> int | None:
    return next((e for e in elements if fits(leaf, reads(leaf, e))), None)


def fits(leaf: Leaf, runs: Runs) -> bool:
    """Whether one transaction holds openings of these runs, and has the gas to sum them."""
    opened = sum(leaf.opened_bytes(i, *run) + _AROUND for i, each in enumerate(runs) for run in each)
    return opened <= min(MAX_OPENED, MAX_DATA - leaf.claim_bytes) and is_affordable(leaf, runs)


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
