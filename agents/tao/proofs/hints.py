"""What a proof tells the contract about the size of its sums. A bad hint can only lose the proof."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tao.graph.operators import CONTRACTION
from tao.graph.resizing import ADAPTIVE
from tao.graph.rows import NORMS, SOFTMAXES, SUMS, VECTOR_NORM
from tao.graph.windows import AVG_POOL, CONVOLUTIONS
from tao.numerics.dot import window_exponent
from tao.numerics.float32 import WINDOW
from tao.proofs.leaf import Leaf
from tao.proofs.reads import Runs


def hint(leaf: Leaf, runs: Runs) -> int:
    """The `hint` or `window` of the proof about an element that reads `runs`; 0 where the rule needs none."""
    return _HINTS.get(leaf.node.operator, lambda *_: 0)(leaf, runs)


def _products(leaf: Leaf, runs: Runs) -> int:
    """The lowest window of Float32Dot that holds every product and the bias."""
    lanes = [[bits for run in runs[i] for bits in leaf.bits(i, *run)] for i in range(len(runs))]
    (a, b), bias = lanes[:2], lanes[2][0] if len(lanes) == 3 else None
    return window_exponent(a, b, bias)


def _squares(leaf: Leaf, runs: Runs) -> int:
    lanes = leaf.bits(0, *runs[0][0])
    return window_exponent(lanes, lanes)


def _terms(leaf: Leaf, runs: Runs) -> int:
    """The lowest window of RowSums and Moments that holds every lane."""
    lanes = (leaf.elements[0][first : first + length].view(torch.int32) for first, length in runs[0])
    return max(1, *(int((bits >> 23 & 0xFF).max()) - WINDOW for bits in lanes))


def _largest(leaf: Leaf, runs: Runs) -> int:
    """The lane that holds the row's maximum."""
    first, length = runs[0][0]
    return int(leaf.elements[0][first : first + length].argmax())


_HINTS: dict[str, Callable[[Leaf, Runs], int]] = {
    CONTRACTION: _products,
    **dict.fromkeys(CONVOLUTIONS, _products),
    VECTOR_NORM: _squares,
    **dict.fromkeys((*SUMS, *NORMS, *ADAPTIVE, AVG_POOL), _terms),
    **dict.fromkeys(SOFTMAXES, _largest),
}
