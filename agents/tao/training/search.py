"""The search for an element of a claimed training step that an adjudicator refutes, and the rule for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tao.errors import UnsupportedOperator
from tao.graph.log_format import ELEMENT_BITS, END
from tao.graph.operators import KEEP, LOG, SAMPLE
from tao.model import ModelBundle
from tao.numerics.float32 import is_finite
from tao.proofs import Plan
from tao.proofs.leaf import Leaf
from tao.training import proofs
from tao.training.proofs import BREAKDOWN, CONTRADICTION, OMISSION, VALUE

_CANDIDATES = 64
"""Elements that are looked at exactly, for each rule."""


@dataclass(frozen=True)
class Fault:
    """What the plan's proof shows to be wrong: an output element by a rule, or a column of the log."""

    element: int
    rule: int
    plan: Plan

    @property
    def proof(self) -> bytes:
        """ABI-encoded."""
        return self.plan.proof


def find_fault(
    bundle: ModelBundle,
    node_index: int,
    state_before: Sequence[Tensor],
    outputs: Sequence[Tensor],
    results: Tensor | None = None,
    tolerance: Tensor | None = None,
) -> Fault | None:
    """An element of a node of a training step that its adjudicator refutes, None where none is found.

    state_before, outputs: as for `tao.proofs.element_proof`. results: the node's output as this machine has
    it, float64 before rounding (of a sum, its rounded values), or the draws; not needed for a log. tolerance:
    of each result at least tau, float64; without it omissions are not looked for. Raises ModelError for
    tensors that are not the graph's.
    """
    leaf = Leaf.of(bundle, node_index, state_before, outputs)
    operator, given = leaf.node.operator, (bundle, node_index, state_before, outputs)
    if operator == LOG:
        return _of_log(leaf)
    if operator in (SAMPLE, KEEP):
        if operator == SAMPLE and not _is_counted(leaf):
            return None
        differs = (leaf.output != results).flatten().nonzero().flatten().tolist()
        return _fault(leaf, differs[0], proofs.draw_proof(*given, differs[0])) if differs else None
    if operator not in proofs.ROUNDED or results is None:
        return None
    found = _of_rounding(leaf, results.flatten(), None if tolerance is None else tolerance.flatten())
    for element, rule in found:
        try:
            return Fault(element, rule, proofs.rounded_plan(*given, element, rule))
        except UnsupportedOperator:
            continue  # too long; or a log out of order may not show what it holds, and is at fault itself
    return None


def _is_counted(leaf: Leaf) -> bool:
    """Whether all positions of a sample are int64 numbers, without which no contract decides it."""
    step, count = int(leaf.operands[0]), leaf.node.attributes[1]
    return step >= 0 and (step + 1) * count < 1 << 63


def _fault(leaf: Leaf, element: int, proof: bytes) -> Fault:
    return Fault(element, VALUE, Plan(leaf, (), proof))


def _of_log(leaf: Leaf) -> Fault | None:
    keys, values = log = leaf.output
    unordered = (keys[:-1] >= keys[1:]) & ~((keys[:-1] == END) & (keys[1:] == END))
    broken = (keys < 0) | (values < 0) | (values >= torch.where(keys == END, 1, 1 << 32))
    for wrong, of_order in ((unordered, True), (broken, False)):
        if wrong.any():
            slot = int(wrong.byte().argmax())
            return _fault(leaf, slot, proofs.log_proof(log, slot, of_order))
    return None


def _of_rounding(leaf: Leaf, results: Tensor, tolerance: Tensor | None) -> Iterator[tuple[int, int]]:
    claimed = leaf.output.detach().contiguous().flatten()
    logged = leaf.node.operator in proofs.LOGGED
    entries = torch.zeros(0, dtype=torch.int64)
    if logged:
        keys, values = proofs.log_of(leaf)
        first = leaf.node.attributes[-1] << ELEMENT_BITS
        mine = (keys >= first) & (keys < first + len(claimed))
        entries, values = keys[mine] - first, values[mine]
        encodings = claimed.view(torch.int32).to(torch.int64) & 0xFFFFFFFF
        contradicted = entries[encodings[entries] != values][:_CANDIDATES].tolist()
        yield from ((element, CONTRADICTION) for element in contradicted)
    yield from _excluded(leaf, claimed, results)
    if logged and tolerance is not None:
        yield from ((element, OMISSION) for element in _omitted(leaf, results, tolerance, entries))


def _excluded(leaf: Leaf, claimed: Tensor, results: Tensor) -> Iterator[tuple[int, int]]:
    """Elements to which nothing rounds, those farthest off first, and the rule that says so."""
    rounded, is_sum = results.to(torch.float32), leaf.node.operator in proofs.SUMS
    differs = (claimed != rounded) & ~(claimed.isnan() & rounded.isnan())
    if is_sum:
        differs |= (claimed == 0) & claimed.signbit()
    if leaf.node.operator not in proofs.ARITHMETIC:  # a recording ends there
        differs |= ~(claimed.isfinite() & rounded.isfinite())
    distance = (claimed.double() - results).abs() / results.abs()
    distance = torch.where(distance.isnan(), torch.inf, distance)
    for element in _best(torch.where(differs, distance, -1.0), -1.0):
        zone, y = proofs.zone(leaf, element), int(claimed[element].view(torch.int32)) & 0xFFFFFFFF
        if zone is None:  # nothing is known but that a recording would end there
            if leaf.node.operator in proofs.LOGGED and not is_finite(y):
                yield element, VALUE
        elif zone.excludes(y):
            yield element, BREAKDOWN if is_sum and zone.mid is None else VALUE


def _omitted(leaf: Leaf, results: Tensor, tolerance: Tensor, entries: Tensor) -> Iterator[int]:
    """Results whose rounding is in doubt, those nearest to where it changes first."""
    low, high = (results - tolerance).to(torch.float32), (results + tolerance).to(torch.float32)
    doubtful = (low != high) & results.isfinite() & tolerance.isfinite()
    doubtful[entries] = False
    middle = (low.double() + high.double()) / 2
    nearness = 1 - (middle - results).abs() / tolerance
    for element in _best(torch.where(doubtful, nearness, -torch.inf), -torch.inf):
        zone = proofs.zone(leaf, element)
        if zone is not None and zone.is_split:
            yield element


def _best(scores: Tensor, least: float) -> list[int]:
    best = scores.topk(min(_CANDIDATES, len(scores)))
    return [index for score, index in zip(*map(Tensor.tolist, best), strict=True) if score > least]
