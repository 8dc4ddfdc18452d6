"""How far a conforming device's float64 result of a logged node may be from the exact real value.

    |f - S| <= tau,    u = 2^-53,  gamma_n = n u / (1 - n u)

for operands on a grid of float32 numbers. tau is a proven bound for every order of summation, with or without
FMA, blocked, split or by atomics, and for elementary functions as accurate as the table says. Two devices
differ by at most 2 tau; a value is logged iff a midpoint of the record grid lies within 2 tau of it.

What evaluating a bound loses in float64 is added to it, so that it is never below the formula: a device that
proves an omission with the formula itself finds no honest recorder without an entry.

Single operations (add, sub, mul, div, sqrt, reciprocal) have no zone. Their float64 result, rounded to a
float32 number, is the correctly rounded one (Figueroa, 1995: 53 >= 2 * 24 + 2), on every device alike.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tao.training.rounding import Zone, nearest

UNIT_ROUNDOFF = 2.0**-53
SMALLEST_NORMAL = 2.0**-1022
_SLACK = 1 + 2.0**-40
_REDUCIBLE = 2.0**30
_GATHERED = 1 << 16
"""Lanes gathered at a time, so that what is computed with them stays in the cache."""

RELATIVE = {"exp": 6, "log": 4, "tanh": 6, "erf": 6, "sigmoid": 10, "sin": 6, "cos": 6}
"""Relative errors of the elementary functions in units of u, as `tao.numerics.bounds` has them for float32:
what the documented worst cases of CPU and CUDA libraries need (2 ulp is 4 u)."""


def gamma(n: int) -> float:
    """What n roundings may do to a term of a sum, relatively (Higham, Accuracy and Stability, lemma 3.1)."""
    return n * UNIT_ROUNDOFF / (1 - n * UNIT_ROUNDOFF)


def contraction(a: Tensor, b: Tensor) -> Zone:
    """Of a @ b, float64[..., M, K] and float64[..., K, N] of float32 numbers:

        tau_ij = gamma_(K-1) |a_i| |b_j|

    Products of two float32 numbers are exact in float64 (48 bits, at least 2^-298), so only the K - 1
    additions round: gamma_(K-1) sum |a_ik b_kj| (Higham, 4.2), by Cauchy-Schwarz at most the above. An upper
    bound of the sum for each element costs as much as the product itself; the norms cost as much as reading
    the operands."""
    lanes = a.shape[-1]
    scale = gamma(max(lanes - 1, 0))
    rows = _norms(a, -1).mul_(scale * _evaluated(lanes))
    columns = _norms(b, -2).mul_(_evaluated(lanes))
    return Zone(absolute=columns.flatten(0, -2) if columns.dim() > 2 else columns, rows=rows.flatten())


def contraction_crosses(a: Tensor, b: Tensor, elements: Tensor, bits: int) -> Tensor:
    """Whether RN(S - tau) and RN(S + tau) may differ at elements of a @ b, with S itself and

        tau = gamma_(K-1) sum |a_ik b_kj|

    the test that a contract does with exact numbers: true wherever that one is. a, b: as in `contraction`;
    elements: row-major indices.

    Every product is cut at a multiple of a last bit of T = sum |a_ik b_kj|: the upper parts add up exactly,
    and the lower ones lose K^2 u^2 T (Rump, Ogita and Oishi, 2008, "Accurate floating-point summation", 3).
    """
    lanes, length, width = a.shape[-1], a.shape[-2], b.shape[-1]
    rows = elements // width
    columns = rows // length * width + elements % width
    # Both are read by rows; if that is of most of them, they had better lie so.
    a, b = (x if len(elements) * 8 < x.numel() // lanes else x.contiguous() for x in (a, b.mT))
    a, b = a.reshape(-1, lanes), b.reshape(-1, lanes)
    crosses = []
    at_once = max(_GATHERED // max(lanes, 1), 1)
    for some_rows, some_columns in zip(rows.split(at_once), columns.split(at_once), strict=True):
        products = a[some_rows].mul_(b[some_columns])
        total = torch.linalg.vector_norm(products, 1, dim=-1)
        cutter = torch.ldexp(torch.full_like(total, 1.5), torch.frexp(total).exponent + 1)[:, None]
        upper = (products + cutter).sub_(cutter)
        s = upper.sum(-1) + products.sub_(upper).sum(-1)
        lost = total * (16 * (lanes * UNIT_ROUNDOFF) ** 2) + s.abs() * (4 * UNIT_ROUNDOFF)
        reach = total.mul_(gamma(max(lanes - 1, 0)) * _evaluated(lanes)).add_(lost)
        crosses.append(nearest(s - reach, bits) != nearest(s + reach, bits))
    return torch.cat(crosses)


def summation(magnitudes: Tensor, terms: int) -> Zone:
    """Of sums of `terms` numbers, given T = sum |x|, in float64 and any order, for each:

        tau = gamma_(n-1) T    (Higham, 4.2)

    A sum of one number is exact.
    """
    scale = gamma(max(terms - 1, 0)) * _evaluated(terms)
    return Zone(absolute=magnitudes.flatten() * scale)


def elementary(name: str, x: Tensor) -> Zone:
    """Of a function in `RELATIVE` at x, float64:

        tau = c u |S| + 2 MIN,  MIN = 2^-1022

    stated by f, which costs (1 + 2 c u). MIN is for results below it, which devices may flush. Nothing is
    known of sin and cos beyond 2^30, where reductions of the argument differ: their zone is infinite there.
    """
    zone = Zone(relative=RELATIVE[name] * UNIT_ROUNDOFF * _SLACK, absolute=2 * SMALLEST_NORMAL)
    if name in ("sin", "cos"):
        far = x.abs() > _REDUCIBLE
        if bool(far.any()):
            beyond = torch.where(far, torch.inf, zone.absolute)
            return Zone(relative=zone.relative, absolute=beyond.flatten())
    return zone


def _norms(x: Tensor, dim: int) -> Tensor:
    """2-norms along a dimension; the library's own kernel is slow across strides."""
    if x.stride(dim) == 1:
        return torch.linalg.vector_norm(x, dim=dim)
    return (x * x).sum(dim).sqrt_()


def _evaluated(terms: int) -> float:
    """Makes a sum of nonnegative terms, or its root, at least the exact one, whatever their order."""
    return _SLACK + 2 * (terms + 8) * UNIT_ROUNDOFF
