"""Proofs for the adjudicators of training: which element, by which rule, and the openings that show it.

ABI encodings are those of the structs `RoundedProof.Proof`, `ElementProof.Proof` and
`TrainingAdjudicator.LogProof`. A logged node has the step's log as its last operand and its number in the
step's graph as its last attribute; a sum has neither.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import torch
from eth_abi import encode
from torch import Tensor

from tao.errors import UnsupportedOperator
from tao.graph.log_format import ELEMENT_BITS
from tao.graph.operators import KEEP, SAMPLE
from tao.graph.rounding import ROUNDED_CONTRACTION, ROUNDED_EMBEDDING_GRADIENT, ROUNDED_SUM
from tao.model import ModelBundle
from tao.numerics.dot import window_exponent
from tao.numerics.float32 import ONE, float_bits, is_finite, to_float
from tao.proofs import Plan, fits, in_pieces, require_piecewise
from tao.proofs.leaf import Leaf
from tao.tensors.tree import TensorTree
from tao.training import rules
from tao.training.rules import Zone

VALUE, CONTRADICTION, OMISSION, BREAKDOWN = range(4)
"""The rules."""

DRAWS = frozenset({SAMPLE, KEEP})

_ROUNDED = "rounded.aten."
ELEMENTARY = {f"{_ROUNDED}{name}.default": name for name in rules.ROUNDOFFS}
ARITHMETIC = {
    f"{_ROUNDED}{name}": name
    for name in (
        *(f"{word}.Tensor" for word in ("add", "sub", "mul", "div")),
        *(f"{word}.Scalar" for word in ("add", "sub", "rsub", "mul", "div")),
        "sqrt.default",
        "reciprocal.default",
    )
}
SUMS = frozenset({ROUNDED_CONTRACTION, ROUNDED_SUM, ROUNDED_EMBEDDING_GRADIENT})
LOGGED = frozenset(ELEMENTARY)
ROUNDED = SUMS | LOGGED | frozenset(ARITHMETIC)

Read = tuple[int, int, int]
"""Operand, first element and length of a run that an element is made of."""

_OPENING = "(bytes,bytes32[],bytes32[])"
_OUTPUT = "(bytes,bytes32[])"
_EMPTY = (b"", [])
_EVIDENCE = f"(uint256,uint256,{_OPENING}[])"


def key(leaf: Leaf, element: int) -> int:
    """Of an element of a logged node in its step's log."""
    return leaf.node.attributes[-1] << ELEMENT_BITS | element


def log_of(leaf: Leaf) -> Tensor:
    """The log that a logged node reads, int64 [2, capacity]."""
    return leaf.operands[-1]


def slot_of(keys: Tensor, wanted: int) -> tuple[int, bool]:
    """The column of the first key that is not below the wanted one, and whether it is that."""
    column = int(torch.searchsorted(keys.contiguous(), wanted))
    return column, column < len(keys) and int(keys[column]) == wanted


def rounded_proof(
    bundle: ModelBundle,
    node_index: int,
    state_before: Sequence[Tensor],
    outputs: Sequence[Tensor],
    element: int,
    rule: int = VALUE,
) -> bytes:
    """The `RoundedProof.Proof` about one element of a rounded node by one of the rules, ABI-encoded.

    state_before: the values live before the node, in the order of `Graph.live`. outputs: the node's only
    output, as claimed. element: row-major index into it. Raises ModelError for tensors that are not the
    graph's, UnsupportedOperator where the operator is none of these, or none that the rule is about, or the log
    does not bear the rule out, and InvalidTensor outside the output.
    """
    leaf = _rounded(bundle, node_index, state_before, outputs, rule)
    hint, read = _evidence_of(leaf, element, rule)
    return _encoded(leaf, element, rule, hint, read)


def rounded_plan(
    bundle: ModelBundle,
    node_index: int,
    state_before: Sequence[Tensor],
    outputs: Sequence[Tensor],
    element: int,
    rule: int = VALUE,
) -> Plan:
    """What decides an element however many lanes it sums: `rounded_proof` where that fits a transaction.

    Arguments and errors as there; UnsupportedOperator also where the lanes cannot be posted piece by piece, or are
    more than its contract sums.
    """
    leaf = _rounded(bundle, node_index, state_before, outputs, rule)
    hint, read = _evidence_of(leaf, element, rule)
    runs = [[each[1:] for each in read if each[0] == i] for i in range(len(leaf.operands))]
    if fits(leaf, runs):
        return Plan(leaf, (), _encoded(leaf, element, rule, hint, read))
    require_piecewise(leaf)
    return in_pieces(leaf, runs, hint, _encoded(leaf, element, rule, hint, []))


def _rounded(
    bundle: ModelBundle, node_index: int, state_before: Sequence[Tensor], outputs: Sequence[Tensor], rule: int
) -> Leaf:
    leaf = Leaf.of(bundle, node_index, state_before, outputs)
    operator = leaf.node.operator
    if operator not in {VALUE: ROUNDED, BREAKDOWN: SUMS}.get(rule, LOGGED):
        raise UnsupportedOperator(f"node {node_index} is {operator}, which rule {rule} does not decide")
    return leaf


def _evidence_of(leaf: Leaf, element: int, rule: int) -> tuple[int, list[Read]]:
    """The hint of a proof by a rule, and what it opens of the operands, the log aside."""
    if rule == CONTRADICTION:
        return 0, []
    read = reads(leaf, element)
    if rule == BREAKDOWN and leaf.node.operator != ROUNDED_EMBEDDING_GRADIENT:
        return _first_broken(leaf, read)
    return _hint(leaf, element), read


def _first_broken(leaf: Leaf, read: list[Read]) -> tuple[int, list[Read]]:
    """The number of the first lane that is not finite, as RoundedProof counts them, and that lane."""
    for operand, first, lanes in read:
        broken = next((i for i, x in enumerate(leaf.bits(operand, first, lanes)) if not is_finite(x)), None)
        if broken is not None:
            return operand * lanes + broken, [(operand, first + broken, 1)]
    return 0, [(0, read[0][1], 1)]


def _encoded(leaf: Leaf, element: int, rule: int, hint: int, read: list[Read]) -> bytes:
    output = _EMPTY if rule in (OMISSION, BREAKDOWN) else leaf.open_output(element)
    slot, openings = _log_openings(leaf, element, rule) if rule in (CONTRADICTION, OMISSION) else (0, [])
    values = (element, hint, [leaf.open_operand(*each) for each in read], output, (rule, slot, openings))
    return encode([f"(uint256,uint256,{_OPENING}[],{_OUTPUT},{_EVIDENCE})"], [values])


def draw_proof(
    bundle: ModelBundle,
    node_index: int,
    state_before: Sequence[Tensor],
    outputs: Sequence[Tensor],
    element: int,
) -> bytes:
    """The `ElementProof.Proof` about one element of a sample or a dropout mask; as `rounded_proof`."""
    leaf = Leaf.of(bundle, node_index, state_before, outputs)
    if leaf.node.operator not in DRAWS:
        raise UnsupportedOperator(f"node {node_index} is {leaf.node.operator}, which draws nothing")
    openings = [leaf.open_operand(i, 0, tensor.numel()) for i, tensor in enumerate(leaf.operands)]
    return encode([f"(uint256,{_OPENING}[],{_OUTPUT})"], [(element, openings, leaf.open_output(element))])


def log_proof(log: Tensor, slot: int, of_order: bool) -> bytes:
    """The `LogProof` that column `slot` of a log and the next are out of order, or that it is no entry."""
    tree, capacity = TensorTree(log), log.shape[1]
    first, second = (tree.open(element) for element in (slot, slot + (1 if of_order else capacity)))
    openings = [(opening.data, list(opening.path)) for opening in (first, second)]
    return encode([f"(uint256,bool,{_OUTPUT},{_OUTPUT})"], [(slot, of_order, *openings)])


# ---- what an element is made of ----


def reads(leaf: Leaf, element: int) -> list[Read]:
    """The runs of its operands that an output element of a rounded node is made of, the log aside."""
    operator, lanes = leaf.node.operator, leaf.node.reduction
    if operator == ROUNDED_EMBEDDING_GRADIENT:
        return _scattered(leaf, element)
    if operator == ROUNDED_CONTRACTION:
        return [(i, leaf.first(i, element), lanes) for i in (0, 1)]
    if operator == ROUNDED_SUM:
        return [(0, leaf.first(0, element), lanes)]
    inputs = len(leaf.operands) - (operator in LOGGED)
    return [(i, leaf.first(i, element), 1) for i in range(inputs)]


def zone(leaf: Leaf, element: int) -> Zone | None:
    """What the contract knows of an element of a rounded node; None where it decides nothing."""
    operator, hint = leaf.node.operator, _hint(leaf, element)
    if operator == ROUNDED_EMBEDDING_GRADIENT:
        terms = _terms(leaf, element)
        return rules.contraction(terms, [ONE] * len(terms), hint)
    x, *others = (leaf.bits(*each) for each in reads(leaf, element))
    if operator == ROUNDED_CONTRACTION:
        return rules.contraction(x, others[0], hint)
    if operator == ROUNDED_SUM:
        return rules.row(x, hint)
    if operator in ELEMENTARY:
        return rules.elementary(ELEMENTARY[operator], x[0], rules.RADIUS)
    name = ARITHMETIC[operator]
    if name.endswith(".Scalar"):
        return rules.arithmetic(name, x[0], number(leaf.node.attributes))
    if not others:
        return rules.arithmetic(name, x[0])
    return rules.arithmetic(name, x[0], to_float(*others[0]))


def words(number: float) -> tuple[int, int]:
    """The attributes of a number of the call: the high and the low word of its binary64 encoding."""
    return struct.unpack(">II", struct.pack(">d", number))


def number(attributes: Sequence[int]) -> float:
    """The number that the first two attributes are."""
    return struct.unpack(">d", struct.pack(">II", *attributes[:2]))[0]


def _scattered(leaf: Leaf, element: int) -> list[Read]:
    """The run of grad that the element's terms are in, then each row of the indices."""
    indices = leaf.operands[1]
    columns = indices.shape[-1]
    rows = [(1, start, columns) for start in range(0, indices.numel(), columns)]
    return [(0, leaf.first(0, element), leaf.node.reduction), *rows]


def _terms(leaf: Leaf, element: int) -> list[int]:
    """Of the run, the numbers at the places that looked up the element's row."""
    (row, *_) = leaf.coordinates(element)
    first = leaf.first(0, element)
    places = (leaf.operands[1].flatten() == row).nonzero().flatten()
    return float_bits(leaf.elements[0][first : first + leaf.node.reduction][places])


def _hint(leaf: Leaf, element: int) -> int:
    operator = leaf.node.operator
    if operator not in SUMS:
        return 0
    if operator == ROUNDED_EMBEDDING_GRADIENT:
        terms = _terms(leaf, element)
        return window_exponent(terms, [ONE] * len(terms))
    lanes = [leaf.bits(*each) for each in reads(leaf, element)]
    return window_exponent(*lanes) if len(lanes) == 2 else rules.term_window(*lanes)


def _log_openings(leaf: Leaf, element: int, rule: int) -> tuple[int, list]:
    log = log_of(leaf)
    operand, capacity = len(leaf.operands) - 1, log.shape[1]
    slot, found = slot_of(log[0], key(leaf, element))
    if found != (rule == CONTRADICTION):
        raise UnsupportedOperator(f"the log has {'an' if found else 'no'} entry for element {element}")
    columns = [slot, capacity + slot] if found else [c for c in (slot - 1, slot) if 0 <= c < capacity]
    return slot, [leaf.open_operand(operand, column, 1) for column in columns]
