"""Names of operators where values are rounded to float32 from float64 (docs/protocol.md, section 2).

A graph with a log is one of a training step. Each of its operators is exact (the inference name and
adjudicator), single (one correctly rounded IEEE operation), a sum (the exact real one, correctly rounded) or
logged (its rounding may be in the log, the operand that its call does not use).
"""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from enum import Enum

from tao.errors import UnsupportedOperator
from tao.graph.attributes import float32_number
from tao.graph.maps import Call, Meaning
from tao.graph.operators import CONTRACTION, COPY, EMBEDDING, EMBEDDING_GRADIENT, KEEP, LOG, SAMPLE, overloads
from tao.tensors.codec import DType

PREFIX = "rounded."
ROUNDED_CONTRACTION = PREFIX + CONTRACTION
ROUNDED_SUM = PREFIX + "aten.sum.dim_IntList"
ROUNDED_EMBEDDING_GRADIENT = PREFIX + EMBEDDING_GRADIENT


class Kind(Enum):
    """How the elements of a node's output come about."""

    EXACT = "exact"
    SINGLE = "single"
    SUM = "sum"
    LOGGED = "logged"


SINGLE = overloads("""
    add.Tensor add.Scalar sub.Tensor sub.Scalar mul.Tensor mul.Scalar div.Tensor div.Scalar sqrt reciprocal
""")
"""One correctly rounded operation, equal on every device in float64; alpha is 1."""

SUMS = overloads("sum.dim_IntList") | {CONTRACTION, EMBEDDING_GRADIENT}
"""Sums of terms that float64 holds exactly. The nearest float32 number to the real sum, ties to even and every
zero +0, is the same in any order of summation."""

LOGGED = overloads("exp log tanh erf sigmoid sin cos")
"""Two devices may differ in the last bits, so the trainer logs roundings near a boundary."""

EXACT = overloads("""
    cat constant_pad_nd gather index.Tensor index_select amax relu neg abs clamp clamp_min clamp_max hardtanh
    relu6 maximum minimum max.other min.other where.self where.ScalarOther where.ScalarSelf
    masked_fill.Scalar eq.Tensor ne.Tensor lt.Tensor le.Tensor gt.Tensor ge.Tensor eq.Scalar ne.Scalar
    lt.Scalar le.Scalar gt.Scalar ge.Scalar logical_and logical_or logical_xor logical_not
    bitwise_and.Tensor bitwise_or.Tensor bitwise_xor.Tensor bitwise_not __and__.Tensor __or__.Tensor
    __xor__.Tensor _to_copy
""") | {COPY, EMBEDDING, LOG, SAMPLE, KEEP}
"""Bit equality on every device, for all types that a training step holds. Zeros of maxima, minima, clamps and relu
are +0 in one."""

EXTREMA = overloads("""
    amax maximum minimum max.other min.other clamp clamp_min clamp_max hardtanh relu relu6
""")
"""Which of two zeros these give is the kernel's, even the vector's or the scalar's part of one."""

_ON_INTEGERS = overloads("add.Tensor add.Scalar sub.Tensor sub.Scalar mul.Tensor mul.Scalar")
_TYPES = (DType.BOOL, DType.UINT8, DType.INT32, DType.INT64, DType.FLOAT32)


def rounded(call: Call, meaning: Meaning, number: int = 0) -> Meaning:
    """The meaning of a call in a graph with a log, as node `number` of it.

    Of a single call with a number, that number is two words, the high and the low one of its binary64
    encoding. A logged call has no map for the log, and as last attribute the node's number, which the log's
    keys begin with. Raises UnsupportedOperator for calls that are neither exact, single, sums nor logged.
    """
    types = [*call.types, *call.outputs]
    strange = next((t.dtype for t in types if t.dtype not in _TYPES), None)
    if strange is not None:
        raise UnsupportedOperator(f"a training step cannot hold {strange.name.lower()}; use float32")
    name = meaning.operator
    on_integers = all(t.dtype is not DType.FLOAT32 for t in types) and name in _ON_INTEGERS
    exact = name in EXACT or on_integers
    floats = call.is_float32 or name == EMBEDDING_GRADIENT  # of which the indices are integers
    if None in meaning.maps or not (exact or (floats and name in SINGLE | SUMS | LOGGED)):
        raise UnsupportedOperator(
            "a training step holds exact, single and logged operators and sums only, and it is none of these"
        )
    if exact:
        return meaning
    if call.kwargs.get("alpha", 1) != 1:
        raise UnsupportedOperator("it scales by alpha and adds: two roundings; write it as two calls")
    operator, attributes = PREFIX + name, meaning.attributes
    if name in LOGGED:
        return replace(
            meaning, operator=operator, maps=(*meaning.maps, None), attributes=(*attributes, number)
        )
    if name.endswith(".Scalar"):
        alpha = attributes[1:]
        attributes = (*struct.unpack(">II", struct.pack(">d", _in_float32(call.args[1]))), *alpha)
    return replace(meaning, operator=operator, attributes=attributes)


def _in_float32(number: float) -> float:
    """As kernels get a number of a call: the nearest float32 one. Raises UnsupportedOperator for finite ones beyond
    the largest."""
    nearest = float32_number(number)
    if math.isinf(nearest) and not (isinstance(number, float) and math.isinf(number)):
        raise UnsupportedOperator(f"its number {number} is beyond float32")
    return nearest


def kind(operator: str) -> Kind:
    """The kind of a node of a training step by its operator."""
    if not operator.startswith(PREFIX):
        return Kind.EXACT
    name = operator.removeprefix(PREFIX)
    return Kind.SUM if name in SUMS else Kind.LOGGED if name in LOGGED else Kind.SINGLE
