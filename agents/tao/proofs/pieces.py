"""Sums too long for one transaction: pieces of their rows are posted first, and the proof then names them.

A piece covers the same lanes of every row that an element sums, one or two, and lies in one aligned subtree
of each (see IPartialSums). How rows are cut depends on nothing but the tensors' types and the rows' places,
so that whoever posts a row, and whoever goes on after a restart, cuts it alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from eth_abi import encode

from tao.graph.operators import CONTRACTION
from tao.graph.rounding import ROUNDED_CONTRACTION, ROUNDED_SUM
from tao.graph.rows import NORMS, SOFTMAXES, SUMS
from tao.graph.windows import CONVOLUTIONS
from tao.numerics.dot import MAX_LANES
from tao.proofs.leaf import Leaf
from tao.proofs.reads import Runs
from tao.tensors.codec import CHUNK
from tao.tensors.keccak import keccak
from tao.tensors.tree import tag

ROUNDED = frozenset({ROUNDED_CONTRACTION, ROUNDED_SUM})
PRODUCTS = frozenset({*CONVOLUTIONS, CONTRACTION, ROUNDED_CONTRACTION})

LONGEST: dict[str, int] = {
    **dict.fromkeys(PRODUCTS, MAX_LANES),
    **dict.fromkeys(SUMS | NORMS | ROUNDED, 1 << 21),
    **dict.fromkeys(SOFTMAXES, 1 << 18),
}
"""Lanes that an element may sum piece by piece, by operator."""

MAX_POSTED = 126_000
"""Bytes of a transaction's calldata: nodes refuse transactions above 128 KiB."""

MAX_GAS = 12_000_000
"""Gas of a posting by estimate, so that the sender's margin stays below the cap of 2^24 on a transaction."""

_CHUNKS = 64  # of the rows of a piece together
_WORD = 32


@dataclass(frozen=True)
class Piece:
    """`lanes` neighbouring elements of each of `runs`, (operand, first element), summed with `hint`; recorded
    under `key` (see IPartialSums.sumsOf)."""

    key: bytes
    hint: int
    lanes: int
    runs: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, leaf: Leaf, hint: int, lanes: int, runs: tuple[tuple[int, int], ...]) -> Piece:
        """The piece with its key, that of an IPartialSums.Range."""
        key = tag("sums") + b"".join(word.to_bytes(_WORD, "big") for word in (hint, lanes))
        for operand, first in runs:
            key += tensor_of(leaf, operand) + first.to_bytes(_WORD, "big")
        return cls(keccak(key.ljust(7 * _WORD, b"\0")), hint, lanes, runs)


@dataclass(frozen=True)
class Posting:
    """One transaction: IPartialSums.post of `pieces`, each ABI-encodable, with an estimate of its gas."""

    pieces: list[tuple]
    keys: list[bytes]
    lanes: int
    gas: int


def rows_of(leaf: Leaf) -> int:
    """The number of operands that the lanes of an element lie in: 2 where they are multiplied."""
    return 2 if leaf.node.operator in PRODUCTS else 1


def cut(leaf: Leaf, runs: Runs) -> Iterator[tuple[int, tuple[tuple[int, int], ...]]]:
    """Lanes and places, (operand, first element), of each piece of the rows, in order."""
    rows = rows_of(leaf)
    block = _CHUNKS // rows * CHUNK // 4
    for each in zip(*runs[:rows], strict=True):
        length = each[0][1]
        # A piece ends where any of its rows comes to the end of an aligned block.
        ends = {0, length}
        for operand, (first, _) in enumerate(each):
            column = first % leaf.type_of(operand).row_length
            ends.update(range(block - column % block, length, block))
        for begin, end in pairwise(sorted(ends)):
            yield end - begin, tuple((i, first + begin) for i, (first, _) in enumerate(each))


def is_affordable(leaf: Leaf, runs: Runs) -> bool:
    """Whether a transaction has the gas for all lanes of an element at once."""
    lanes = sum(length for _, length in runs[0])
    return leaf.node.operator not in ROUNDED or _gas_of_lanes(leaf, lanes) <= MAX_GAS


def pieces_of(leaf: Leaf, runs: Runs, hint: int) -> tuple[Piece, ...]:
    """The pieces of all rows of an element. hint: the proof's, but of a softmax the maximum's bits."""
    return tuple(Piece.of(leaf, hint, lanes, places) for lanes, places in cut(leaf, runs))


def tensor_of(leaf: Leaf, operand: int) -> bytes:
    """What names an operand in keys: the hash of its commitment and type."""
    return keccak(tag("sums") + leaf.tree(operand).commitment + leaf.type_of(operand).pack())


def postings(leaf: Leaf, missing: Iterable[Piece]) -> Iterator[Posting]:
    """The transactions that post these pieces, each as full as calldata and gas allow."""
    for batch in _batches(leaf, ((piece.lanes, piece.runs, piece) for piece in missing)):
        chosen = [piece for *_, piece in batch]
        yield Posting(
            [_value(leaf, piece) for piece in chosen],
            [piece.key for piece in chosen],
            sum(piece.lanes for piece in chosen),
            sum(_gas(leaf, *each[:2]) for each in batch) + _GAS_BASE,
        )


def estimate(leaf: Leaf, items: Iterable[tuple[int, tuple[tuple[int, int], ...]]]) -> tuple[int, int]:
    """Transactions in which pieces, given by lanes and places, are posted, and about how much gas."""
    batches = list(_batches(leaf, items))
    return len(batches), sum(_GAS_BASE + sum(_gas(leaf, *each) for each in batch) for batch in batches)


def recorded(
    leaf: Leaf, found: Iterable[Piece], points: Sequence[tuple[bytes, list[bytes], list[bytes]]], proof: bytes
) -> bytes:
    """The proof that names pieces where `proof`, the operator's own, leaves the rows out."""
    types = "(uint256[],(bytes32,bytes32[])[],(bytes,bytes32[],bytes32[])[],bytes)"
    lanes = [piece.lanes for piece in found]
    sources = [leaf.source(i) for i in range(rows_of(leaf))]
    return encode(["bytes32", types], [tag("recorded"), (lanes, sources, list(points), proof)])


def _batches(leaf: Leaf, items: Iterable[tuple]) -> Iterator[list[tuple]]:
    """Groups of (lanes, places, ...) that fit a transaction each."""
    batch: list[tuple] = []
    size, gas = _CALL, _GAS_BASE
    for item in items:
        more, costs = _size(leaf, *item[:2]), _gas(leaf, *item[:2])
        if batch and (size + more > MAX_POSTED or gas + costs > MAX_GAS):
            yield batch
            batch, size, gas = [], _CALL, _GAS_BASE
        batch.append(item)
        size, gas = size + more, gas + costs
    if batch:
        yield batch


def _value(leaf: Leaf, piece: Piece) -> tuple:
    """IPartialSums.Piece."""
    opened = [(i, first, leaf.tree(i).open(first, piece.lanes)) for i, first in piece.runs]
    runs = [(leaf.type_of(i).pack(), first, opening.data, list(opening.path)) for i, first, opening in opened]
    return piece.hint, piece.lanes, runs


_CALL = 4 + 2 * _WORD  # selector, offset and length of the list


def _size(leaf: Leaf, lanes: int, places: tuple[tuple[int, int], ...]) -> int:
    """Bytes of a piece in the calldata."""
    size = 5 * _WORD  # offset, hint, lanes, offset and length of the runs
    for operand, first in places:
        packed = -(-(2 + 4 * len(leaf.type_of(operand).shape)) // _WORD)
        size += (8 + packed) * _WORD + leaf.opened_bytes(operand, first, lanes)
    return size


_GAS_BASE = 30_000
_GAS_PIECE = 70_000
_GAS_BYTE = 18
_GAS_LANE = {"products": 200, "softmax": 420, "row": 120, "rounded products": 1_130, "rounded row": 400}
"""Measured: what a lane costs in the contract, apart from its calldata, rounded up. Lanes of zeros and subnormal
numbers cost some times more than others. Of rounded sums that, too, is in the figure: as those below the window are
counted apart, a transaction full of them would exceed the cap."""


def _gas(leaf: Leaf, lanes: int, places: tuple[tuple[int, int], ...]) -> int:
    bytes_given = _size(leaf, lanes, places)
    return max(_GAS_PIECE + _GAS_BYTE * bytes_given + _gas_of_lanes(leaf, lanes), 40 * bytes_given)


def _gas_of_lanes(leaf: Leaf, lanes: int) -> int:
    operator = leaf.node.operator
    kind = "products" if operator in PRODUCTS else "softmax" if operator in SOFTMAXES else "row"
    return _GAS_LANE[f"rounded {kind}" if operator in ROUNDED else kind] * lanes
