"""The exact sums over ranges of lanes as the adjudicators record them (see IPartialSums), computed off the chain.

What a piece of 4,096 lanes costs the chain a million gas is here a few array operations, so both sides of a dispute
know the sums over any part of a row: one to assert them, the other to find the first that is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tao.graph.rounding import ROUNDED_EMBEDDING_GRADIENT
from tao.graph.rows import BATCH_NORMS, NORMS, SOFTMAXES
from tao.numerics.float32 import INFINITY, WINDOW
from tao.proofs.leaf import Leaf
from tao.proofs.pieces import ROUNDED
from tao.protocol.views import Sums

SQUARED = NORMS.union(BATCH_NORMS)
"""Operators whose adjudicator sums squares; it decides some by no sums, but does not refuse to sum for them."""

COUNTED = ROUNDED | {ROUNDED_EMBEDDING_GRADIENT}
"""Operators whose adjudicator counts what is below the window."""

_WINDOWS = {1: range(1, 255), 2: range(2, 509)}  # by the number of rows
_LOG2_E_63 = 0xB8AA3B295C17F0BB
_LN_2_103 = 0x58B90BFBE8E7BCD5E4F1D9CC01
_FIFTEEN = 15 << 80


def sums_over(leaf: Leaf, hint: int, firsts: Sequence[int], lo: int, hi: int) -> Sums | None:
    """The sums over lanes [lo, hi) of the range that begins at `firsts`, an element of each of the operator's rows.

    None where the contract has none for them: lanes that are not finite or above the window, or above a softmax's
    maximum, and hints out of range.
    """
    lanes = [_bits(leaf.elements[i][first + lo : first + hi]) for i, first in enumerate(firsts)]
    return exact_sums(leaf.node.operator, hint, lanes)


def exact_sums(operator: str, hint: int, lanes: Sequence[np.ndarray]) -> Sums | None:
    """As `sums_over`, of FP32 encodings: uint32 [lanes], one array or, where products are summed, two."""
    if operator in SOFTMAXES:
        return _exponentials(hint, lanes[0])
    if hint not in _WINDOWS[len(lanes)]:
        return None
    negative = np.zeros(len(lanes[0]), dtype=bool)
    subnormal = negative.copy()
    exponent = np.zeros(len(lanes[0]), dtype=np.int64)
    mantissa = np.ones(len(lanes[0]), dtype=np.int64)
    for bits in lanes:
        raw = (bits >> 23 & 0xFF).astype(np.int64)
        if bool((raw == 255).any()):
            return None
        negative ^= bits >> 31 != 0
        subnormal |= raw == 0
        exponent += np.maximum(raw, 1)
        mantissa *= bits & 0x7FFFFF | (raw > 0).astype(np.int64) << 23
    shift = exponent - hint
    counted = (shift >= 0) & (mantissa != 0)
    if bool((shift[counted] > WINDOW).any()):
        return None
    positive = _shifted(mantissa, shift, counted & ~negative)
    other = _shifted(mantissa, shift, counted & negative)
    if operator in COUNTED:
        third = int(((shift < 0) & (mantissa != 0)).sum())
    elif operator in SQUARED:
        third = _shifted(mantissa**2, 2 * shift, counted)
    else:
        third = _shifted(mantissa, shift, counted & subnormal)
    return positive, other, third


def _shifted(terms: np.ndarray, shift: np.ndarray, chosen: np.ndarray) -> int:
    """Sum of the chosen terms, int64 below 2^48, times 2^shift. Halves of 24 bits add up exactly in float64: of up
    to 2^29 lanes."""
    terms, shift = terms[chosen], shift[chosen]
    total = 0
    for half, place in ((terms & 0xFFFFFF, 0), (terms >> 24, 24)):
        sums = np.bincount(shift, weights=half.astype(np.float64))
        total += sum(int(each) << exponent + place for exponent, each in enumerate(sums))
    return total


def _exponentials(maximum: int, bits: np.ndarray) -> Sums | None:
    """S and W as ExponentialSums has them, truncation by truncation."""
    if maximum >> 32 or maximum & INFINITY == INFINITY:
        return None
    top, total, weighted = _fixed(maximum), 0, 0
    for lane in bits.tolist():
        if lane & 0x7FFFFFFF > INFINITY:
            return None
        d = top - _fixed(lane)
        if d < 0:
            return None
        if d >> 109:
            continue
        k = d * _LOG2_E_63 >> 166
        h = d - k * _LN_2_103 >> 28
        square = h * h >> 80
        even = _FIFTEEN + 6 * square
        odd = h * (_FIFTEEN + square) >> 80
        p = (even - odd << 80) // (even + odd)
        for _ in range(3):
            p = p * p >> 80
        p = p * p >> 80 + k
        total += p
        weighted += p * d
    return total, 0, weighted


def _fixed(bits: int) -> int:
    """A number in units of 2^-103, truncated towards zero; an infinity is larger than every number."""
    value = ((bits & 0x7FFFFF | 0x800000) << 208) >> 255 - (bits >> 23 & 0xFF)
    return -value if bits >> 31 else value


def _bits(numbers: Tensor) -> np.ndarray:
    return numbers.contiguous().view(torch.int32).numpy().view(np.uint32)
