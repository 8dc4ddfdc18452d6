"""What a sound adjudicator may refute, in exact fractions, from docs/protocol.md section 4."""

from __future__ import annotations

from fractions import Fraction
from math import isfinite, isnan

import numpy as np

from support.encoding import Tensor
from support.graphs import SUM, Network

UNIT_ROUNDOFF = Fraction(1, 2**24)
SMALLEST_NORMAL = Fraction(1, 2**126)


def _positions(
    network: Network, node: int, operand: int, element: int, shape: tuple[int, ...], lane: int
) -> int:
    index_map = network.records[node].operands[operand].map
    coordinates = np.unravel_index(element, shape)
    start = sum(int(c) * stride for c, stride in zip(coordinates, index_map.strides, strict=True))
    return start + index_map.offset + lane * index_map.lane_stride


def lanes(
    network: Network, node: int, operands: list[Tensor], shape: tuple[int, ...], element: int
) -> list[list]:
    """The values each operand contributes to the element, lane by lane."""
    count = network.records[node].reduction
    runs = []
    for index, operand in enumerate(operands):
        flat = operand.array.ravel()
        length = count if index < 2 and count else 1
        runs.append([float(flat[_positions(network, node, index, element, shape, k)]) for k in range(length)])
    return runs


def contraction_bound(runs: list[list[float]]) -> tuple[Fraction, Fraction, Fraction]:
    """(S, T, bound) of one element: the exact sum, the sum of magnitudes, the largest honest deviation."""
    terms = [(Fraction(a), Fraction(b)) for a, b in zip(runs[0], runs[1], strict=True)]
    products = [a * b for a, b in terms]
    biases = [Fraction(c) for c in runs[2]] if len(runs) > 2 else []
    n = len(products) + len(biases)
    exact = sum(products, Fraction(0)) + sum(biases, Fraction(0))
    total = sum(map(abs, products), Fraction(0)) + sum(map(abs, biases), Fraction(0))
    factors = terms + [(c, Fraction(1)) for c in biases]
    subnormal = sum((abs(a * b) for a, b in factors if min(abs(a), abs(b)) < SMALLEST_NORMAL), Fraction(0))
    return exact, total, gamma(n) * total + 2 * subnormal + (2 * n + 1) * SMALLEST_NORMAL


def sum_bound(runs: list[list[float]]) -> tuple[Fraction, Fraction, Fraction]:
    """As `contraction_bound`, of an element that is the sum of one run."""
    terms = [Fraction(a) for a in runs[0]]
    n, total = len(terms), sum(map(abs, terms), Fraction(0))
    subnormal = sum((abs(a) for a in terms if abs(a) < SMALLEST_NORMAL), Fraction(0))
    return sum(terms, Fraction(0)), total, gamma(n - 1) * total + n * SMALLEST_NORMAL + subnormal


def gamma(n: int) -> Fraction:
    """n u / (1 - n u)."""
    return n * UNIT_ROUNDOFF / (1 - n * UNIT_ROUNDOFF)


BOUNDS = {"contraction": contraction_bound, SUM: sum_bound}


def is_refuted(network: Network, node: int, before: list[Tensor], output: Tensor, element: int) -> bool:
    """Whether the claimed element lies outside what any honest execution can give."""
    operands = network.operands(node, before)
    claimed = float(output.array.ravel()[element])
    operator = network.nodes[node].operator
    runs = lanes(network, node, operands, output.array.shape, element)
    if operator in BOUNDS:
        if not all(isfinite(value) for run in runs for value in run):
            return False
        exact, total, bound = BOUNDS[operator](runs)
        if not isfinite(claimed):
            return total + bound < 2**127
        return abs(Fraction(claimed) - exact) > bound
    value = runs[0][0]
    exact = {
        "copy": lambda v: v,
        "aten.neg.default": lambda v: -v,
        "aten.relu.default": lambda v: v if v > 0 or isnan(v) else 0.0,
    }[operator](value)
    if operator != "copy" and max(abs(exact), abs(claimed)) < float(SMALLEST_NORMAL):
        return False  # kernels may take subnormal numbers for zero
    return not (claimed == exact or (isnan(claimed) and isnan(exact)))
