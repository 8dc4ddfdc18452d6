"""How far a conforming device's float64 result of a sum or a logged node may be from the exact real value.

    |f - S| <= tau,    u = 2^-53,  gamma_n = n u / (1 - n u)

for operands on a grid of float32 numbers. tau is a proven bound for every order of summation, with or without
FMA, blocked, split or by atomics, and for elementary functions as accurate as the table says. A sum is
decided exactly where a midpoint of the record grid lies within tau of it (`tao.training.sums`). Elementary
functions of two devices differ by at most 2 tau; their value is logged iff a midpoint lies within 2 tau of it.

What evaluating a bound loses in float64 is added to it, so that it is never below the formula: a device that
proves an omission with the formula itself finds no honest recorder without an entry.

Single operations (add, sub, mul, div, sqrt, reciprocal) have no zone. Their float64 result, rounded to a
float32 number, is the correctly rounded one (Figueroa, 1995: 53 >= 2 * 24 + 2), on every device alike.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tao.training.rounding import Zones
from tao.training.rules import ROUNDOFFS

UNIT_ROUNDOFF = 2.0**-53
SMALLEST_NORMAL = 2.0**-1022
_SLACK = 1 + 2.0**-40
_REDUCIBLE = 2.0**30
_LANES = 1024
"""Squared at a time, so that they stay in the cache."""


def gamma(n: int) -> float:
    """What n roundings may do to a term of a sum, relatively (Higham, Accuracy and Stability, lemma 3.1)."""
    return n * UNIT_ROUNDOFF / (1 - n * UNIT_ROUNDOFF)


def contraction(rows: Tensor, columns: Tensor, additions: int) -> Zones:
    """Of a @ b, float64[..., M, K] and float64[..., K, N] of float32 numbers, where a product goes through no
    more than n additions:

        tau_ij = gamma_n |a_i| |b_j|

    rows, columns: at least the norms, float64[..., M] and float64[..., N]. Products of two float32 numbers are
    exact in float64 (48 bits, at least 2^-298), so only the additions round: gamma_n sum |a_ik b_kj| (Higham,
    4.2), by Cauchy-Schwarz at most the above. An upper bound of the sum for each element costs as much as the
    product itself; the norms cost as much as reading the operands."""
    return Zones(
        absolute=torch.atleast_2d(columns).flatten(0, -2), rows=rows.flatten() * (gamma(additions) * _SLACK)
    )


def summation(magnitudes: Tensor, terms: int) -> Zones:
    """Of sums of `terms` numbers, given T = sum |x|, in float64 and any order, for each:

        tau = gamma_(n-1) T    (Higham, 4.2)

    A sum of one number is exact.
    """
    return Zones(absolute=bounded_total(magnitudes.flatten(), terms) * gamma(max(terms - 1, 0)))


def elementary(name: str, x: Tensor) -> Zones:
    """Of a function in `ROUNDOFFS` at x, float64:

        tau = c u |S| + 2 MIN,  MIN = 2^-1022

    stated by f, which costs (1 + 2 c u). MIN is for results below it, which devices may flush. Of sin and cos
    beyond 2^30, where reductions of the argument differ, no more is known than that they are from -1 to 1: their
    zone is infinite there.
    """
    zone = Zones(relative=ROUNDOFFS[name] * UNIT_ROUNDOFF * _SLACK, absolute=2 * SMALLEST_NORMAL)
    if name in ("sin", "cos"):
        far = x.abs() > _REDUCIBLE
        if bool(far.any()):
            beyond = torch.where(far, torch.inf, zone.absolute)
            return Zones(relative=zone.relative, absolute=beyond.flatten())
    return zone


def norms(x: Tensor, dim: int) -> Tensor:
    """At least the 2-norms along a dimension, of float64 numbers."""
    if x.stride(dim) == 1:
        found = torch.linalg.vector_norm(x, dim=dim)
    else:  # across strides the library's kernel is slow
        found = sum(part.square().sum(dim) for part in x.split(_LANES, dim)).sqrt_()
    return bounded_total(found, x.shape[dim])


def bounded_total(total: Tensor, terms: int) -> Tensor:
    """At least the exact sum of nonnegative terms, or its root, given what some order of adding them makes of it."""
    return total * (_SLACK + 2 * (terms + 8) * UNIT_ROUNDOFF)
