"""The search for an output element that the node's adjudicator refutes, or that exceeds theta."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from tao.errors import UnsupportedOperator
from tao.graph.attributes import float32_word
from tao.graph.canonical import Graph, Node
from tao.graph.literals import fill, substitute
from tao.graph.operators import CONTRACTION, COPY, overloads, resolve
from tao.graph.resizing import ADAPTIVE, BILINEAR
from tao.graph.rows import BATCH_NORMS, NORMS, SOFTMAXES, SUMS, VECTOR_NORM
from tao.graph.windows import AVG_POOL, CONVOLUTIONS
from tao.numerics.bounds import bound
from tao.numerics.bounds.rule import SMALLEST_NORMAL
from tao.numerics.contraction import node_excess, node_theta
from tao.numerics.dot import THETA_ONE, accusable, refuted, window_exponent
from tao.numerics.float32 import float_bits
from tao.proofs.leaf import Leaf
from tao.proofs.positions import POSITIONS, misplaced
from tao.proofs.reads import reads
from tao.tensors import DType

_CANDIDATES = 4


def candidates(leaf: Leaf) -> Iterable[int]:
    """Row-major indices of output elements that the operator's adjudicator should refute, best first."""
    if leaf.node.operator == CONTRACTION:
        return _outside_the_contraction(leaf)
    if leaf.node.operator in POSITIONS:
        return misplaced(leaf)
    if leaf.node.operator in EXACT:
        return _inexact(leaf)
    return _outside_tolerance(leaf)


def accusable_candidates(leaf: Leaf, theta: int) -> Iterable[int]:
    """Row-major indices of output elements that exceed theta, a Q16.16 number above 0, the furthest first."""
    ratio = node_theta(leaf.node, list(leaf.operands), leaf.output.detach()).flatten()
    for element in _worst(ratio * (THETA_ONE / theta)):
        claimed, a, b, bias = _lanes(leaf, element)
        padding = [0] * (leaf.node.reduction - len(a))
        if accusable(claimed, a + padding, b + padding, bias, window_exponent(a, b, bias), theta):
            yield element


def _outside_the_contraction(leaf: Leaf) -> Iterable[int]:
    ratio = node_excess(leaf.node, list(leaf.operands), leaf.output.detach()).flatten()
    for element in _worst(ratio):
        claimed, a, b, bias = _lanes(leaf, element)
        if refuted(claimed, a, b, bias, window_exponent(a, b, bias)):
            yield element


def _lanes(leaf: Leaf, element: int) -> tuple[int, list[int], list[int], int | None]:
    """FP32 encodings of an element of a contraction or convolution, of what it multiplies and of its bias."""
    runs = reads(leaf, element)
    a, b = ([bits for run in runs[i] for bits in leaf.bits(i, *run)] for i in (0, 1))
    bias = leaf.bits(2, *runs[2][0])[0] if len(runs) == 3 else None
    return float_bits(leaf.output.flatten()[element])[0], a, b, bias


def _outside_tolerance(leaf: Leaf) -> Iterable[int]:
    """Elements outside their bound, the furthest first."""
    if not leaf.is_float32:
        return ()  # the bounds are those of float32; the committee decides the others
    try:
        (rule, *_) = bound(leaf.node.target, leaf.node.args, leaf.node.kwargs, leaf.viewed())
    except UnsupportedOperator:
        return ()
    return _worst(rule.excess(leaf.output.detach()).flatten())


def _worst(ratio: Tensor) -> Iterable[int]:
    best = ratio.topk(min(_CANDIDATES, len(ratio)))
    return [index for value, index in zip(*map(Tensor.tolist, best), strict=True) if value > 1]


def _inexact(leaf: Leaf) -> Iterable[int]:
    """Elements that are not the exact result, nor one with subnormal numbers taken for zero where kernels may do so:
    what the contract would let stand must not be disputed."""
    target, claimed = leaf.node.target, leaf.output.detach()
    try:
        wrong = _differ(claimed, _exact(leaf, _unchanged, _unchanged))
        if target in _PADS:  # the number around them is rounded to their type
            wrong &= _differ(claimed, _exact(leaf, _unchanged, _flushed_number))
        elif target not in _MOVES:
            wrong &= _differ(_flushed(claimed), _flushed(_exact(leaf, _flushed, _flushed_number)))
    except (RuntimeError, IndexError):
        return ()  # operands that the operator refuses, such as indices outside a table, show nothing
    return wrong.flatten().nonzero()[:_CANDIDATES].flatten().tolist()


def _exact(leaf: Leaf, tensor: Callable[[Tensor], Tensor], number: Callable[[Any], Any]) -> Tensor:
    """The operator's result, of operands and numbers that go through functions first."""
    tensors = [tensor(operand) for operand in leaf.viewed()]
    if leaf.node.target == COPY:
        return tensors[0].reshape(leaf.shape)
    kwargs = {name: substitute(value, number) for name, value in leaf.node.kwargs.items()}
    args, kwargs = fill(substitute(leaf.node.args, number), kwargs, tensors)
    with torch.no_grad():
        found = resolve(leaf.node.target)(*args, **kwargs)
    return found if isinstance(found, Tensor) else found[leaf.node.slots[0]]


def _differ(claimed: Tensor, expected: Tensor) -> Tensor:
    """Where elements differ; zeros of either sign are equal, and all NaNs."""
    differs = claimed != expected
    return differs & ~(claimed.isnan() & expected.isnan()) if claimed.is_floating_point() else differs


def _flushed(x: Tensor) -> Tensor:
    """Zeros in the place of subnormal numbers; float16's are normal where kernels compute with them."""
    if not x.is_floating_point() or x.dtype == torch.float16:
        return x
    return torch.where(x.abs() < torch.finfo(x.dtype).smallest_normal, 0.0, x)


def _flushed_number(leaf: Any) -> Any:
    return 0.0 if isinstance(leaf, float) and abs(leaf) < SMALLEST_NORMAL else leaf


def _unchanged(leaf: Any) -> Any:
    return leaf


EXACT = overloads("""
    relu neg abs clamp clamp_min clamp_max hardtanh relu6 maximum minimum max.other min.other where.self
    where.ScalarOther where.ScalarSelf masked_fill.Scalar eq.Tensor ne.Tensor lt.Tensor le.Tensor gt.Tensor
    ge.Tensor eq.Scalar ne.Scalar lt.Scalar le.Scalar gt.Scalar ge.Scalar logical_and logical_or logical_xor
    logical_not bitwise_and.Tensor bitwise_or.Tensor bitwise_xor.Tensor bitwise_not __and__.Tensor
    __or__.Tensor __xor__.Tensor _to_copy cat pad constant_pad_nd upsample_nearest2d.vec upsample_nearest2d
    embedding gather index.Tensor index_select max_pool2d amax amin max min argmax argmin
""") | {COPY}
"""Decided by the bits."""

_PADS = overloads("pad constant_pad_nd")
_MOVES = (
    _PADS
    | {COPY}
    | overloads("""
    cat upsample_nearest2d.vec upsample_nearest2d embedding gather index.Tensor index_select
""")
)
"""Of these nothing is computed, and every bit stays."""

INEXACT = overloads("""
    add.Tensor add.Scalar sub.Tensor sub.Scalar rsub.Scalar mul.Tensor mul.Scalar div.Tensor div.Scalar
    reciprocal exp log tanh erf sin cos sqrt rsqrt sigmoid silu gelu pow.Tensor_Scalar leaky_relu hardswish
""").union(
    SOFTMAXES,
    NORMS,
    BATCH_NORMS,
    SUMS,
    CONVOLUTIONS,
    ADAPTIVE,
    BILINEAR,
    [VECTOR_NORM, AVG_POOL, CONTRACTION],
)
"""Decided by a bound."""

ADJUDICATED = EXACT | INEXACT
"""The operators of which an element can be decided on chain, where their operands are of its types."""

_ON_TRUTHS = overloads("""
    logical_and logical_or logical_xor logical_not bitwise_and.Tensor bitwise_or.Tensor bitwise_xor.Tensor
    bitwise_not __and__.Tensor __or__.Tensor __xor__.Tensor
""")
_WITH_NUMBER = overloads("""
    clamp clamp_min clamp_max hardtanh relu6 masked_fill.Scalar where.ScalarOther where.ScalarSelf pad
    constant_pad_nd
""")
_BESIDE_NUMBER = overloads("eq.Scalar ne.Scalar lt.Scalar le.Scalar gt.Scalar ge.Scalar")
_POWER = "aten.pow.Tensor_Scalar"
_EXPONENTS = frozenset(map(float32_word, (*range(2, 9), 0.5, -0.5, -1.0)))


def is_decided(node: Node) -> bool:
    """Whether a contract decides elements of a node: it knows the operator and what an element reads, and of
    powers the exponent."""
    if node.operator == _POWER and not _EXPONENTS.issuperset(node.attributes):
        return False
    return node.operator in ADJUDICATED and None not in node.maps


def is_decided_in(graph: Graph, node: Node) -> bool:
    """`is_decided`, of a node whose operands and outputs are of the types that a graph gives them."""
    if not is_decided(node):
        return False
    operands = {graph.types[operand.value].dtype for operand in node.operands}
    outputs = {graph.types[value].dtype for value in node.outputs}
    if node.operator in INEXACT:  # bounds are those of float32
        return operands | outputs <= {DType.FLOAT32}
    if node.operator in _ON_TRUTHS:
        return operands == {DType.BOOL}
    if node.operator in _WITH_NUMBER:
        return outputs == {DType.FLOAT32}
    others = {DType.BOOL, DType.FLOAT16, DType.BFLOAT16, DType.FLOAT64}
    return node.operator not in _BESIDE_NUMBER or others.isdisjoint(operands)
