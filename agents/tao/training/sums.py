"""Correctly rounded sums: the nearest number of the record grid to the exact real sum, ties to even, +0 for 0.

A float64 sum f of exact terms is within a bound of the exact sum S (`tao.training.zones`); where no rounding
boundary is as near, RN(f) = RN(S). What is left is decided here, from the terms, so that neither the order of
summation nor the device matters.

On the CPU elements of products are added up again in twice the precision, which decides nearly all of them
(`tao.training.dots`). Of others every term is cut at a multiple of a last bit of T = sum |x|: the upper parts
add up exactly, and so do those of what the lower ones leave (Rump, Ogita and Oishi, 2008, "Accurate
floating-point summation", 3). Two cuts leave about 2^-100 T. What they do not decide has its sign from
`math.fsum`, which is exact.

Rounding S to odd in float64 and then to the grid is rounding S to the grid (Boldo and Melquiond, 2008,
"Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd").
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tao.training.dots import dots
from tao.training.kernels import Piece
from tao.training.rounding import nearest, round_to_grid
from tao.training.zones import UNIT_ROUNDOFF, bounded_total, gamma

_BIAS, _FRACTION_BITS = 1023, 52
"""Of the encoding of float64."""
_CUTS = 2
"""Their exact sums are two numbers, `high` and `low`, whatever cancels."""


def settle(piece: Piece, bits: int, out: Tensor) -> bool:
    """Round a piece of sums into `out`, contiguous float32; whether all of them are finite."""
    values, near, finite = round_to_grid(piece.f, piece.zone(), bits, out)
    near = near[piece.f.reshape(-1)[near].isfinite()]
    if not len(near):
        return finite
    flat, is_open = values.view(-1), torch.ones_like(near, dtype=torch.bool)
    if piece.factors is not None and near.device.type == "cpu":
        high, low, lost = dots(*piece.factors, near)
        flat[near], is_open = _decide(*_two_sum(high, low), 0.0, lost, bits)
    if bool(is_open.any()):
        flat[near[is_open]] = torch.cat([nearest_sum(terms, bits) for terms in piece.terms(near[is_open])])
    # What f overflows to or not is its order's, so what was decided counts.
    return bool((flat[near] if finite else flat).isfinite().all())


def nearest_sum(terms: Tensor, bits: int) -> Tensor:
    """RN(S) of each row of terms, finite float64[n, K] of magnitudes that are zero or from 2^-298 to 2^256.

    Returns float32[n]."""
    values = torch.empty(len(terms), dtype=torch.float32, device=terms.device)
    rows = torch.arange(len(terms), device=terms.device)
    high = low = terms.new_zeros(len(terms))  # what has been cut off, exactly
    total = _total(terms)
    for _ in range(_CUTS):
        terms, upper = _cut(terms, total)
        high, low = _two_sum(high, upper)
        rest, total = terms.sum(-1), _total(terms)
        middle, tail = _two_sum(low, rest)
        first, second = _two_sum(high, middle)
        # What the sum of the rest and that of `tail` and this number itself lose.
        count = terms.shape[-1]
        lost = bounded_total(total, count) * gamma(max(count - 1, 0)) + tail.abs() * (4 * UNIT_ROUNDOFF)
        values[rows], is_open = _decide(first, second, tail, lost, bits)
        if not bool(is_open.any()):
            return values
        rows, terms, high, low, total = (x[is_open] for x in (rows, terms, high, low, total))
    parts = torch.cat([high[:, None], low[:, None], terms], -1).tolist()
    first = [math.fsum(row) for row in parts]
    rest = [math.fsum([*row, -f]) for row, f in zip(parts, first, strict=True)]
    first, rest = (torch.tensor(x, dtype=torch.float64, device=terms.device) for x in (first, rest))
    values[rows] = nearest(_to_odd(first, rest), bits)
    return values


def _decide(
    first: Tensor, second: Tensor, tail: Tensor | float, lost: Tensor, bits: int
) -> tuple[Tensor, Tensor]:
    """RN(S) for |S - (first + second + tail)| <= lost and first = fl(first + second), and where that is not known."""
    below = nearest(_to_odd(first, second + (tail - lost)), bits)
    above = nearest(_to_odd(first, second + (tail + lost)), bits)
    reach = abs(tail) + lost
    return below, (below != above) | (reach > first.abs() * (UNIT_ROUNDOFF / 4))


def _total(terms: Tensor) -> Tensor:
    return torch.linalg.vector_norm(terms, 1, dim=-1)


def _cut(terms: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """What is below a last bit of the total, of each term, and the exact sum of the rest."""
    # A power of two by its encoding: ldexp of some versions of torch has them in float32, which ends below 2^128.
    power = (torch.frexp(total).exponent.long() + (_BIAS + 1) << _FRACTION_BITS).view(torch.float64)
    cutter = (power * 1.5)[:, None]
    upper = (terms + cutter).sub_(cutter)
    return terms - upper, upper.sum(-1)


def _two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """fl(a + b), and what that is off by (Knuth)."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


def _to_odd(x: Tensor, rest: Tensor) -> Tensor:
    """x + rest rounded to odd, for a rest of less than the distance to the next number: only its sign counts."""
    word = x.view(torch.int64)
    away = torch.where((rest > 0) == (x > 0), 1, -1)
    inexact = (rest != 0) & (word & 1 == 0)
    return (word + away * inexact).view(torch.float64)
