"""How far a conforming FP32 kernel may be from the real function, per ATen operator.

    bound("aten.linear.default", [Slot(0), Slot(1), Slot(2)], {}, (x, weight, bias))

gives one `Bound` (or `Exact`) per output of the call. `tolerance` gives the bounds without the FP64
reference, which is what a whole forward pass can afford. Formulas and their assumptions stand in the
modules, one per family; the arithmetic they share in `rule`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from tao.errors import UnsupportedOperator
from tao.graph.literals import fill
from tao.graph.operators import COPY, resolve
from tao.numerics.bounds import (
    attention,
    contraction,
    elementwise,
    interpolation,
    normalisation,
    pooling,
    reductions,
    softmax,
)
from tao.numerics.bounds.rule import Bound, Exact, Kind, Rule

__all__ = ["Bound", "Exact", "Kind", "Rule", "bind", "bound", "is_supported", "tolerance"]


def _named(function: Callable, names: str) -> dict[str, Callable]:
    return {f"aten.{name if '.' in name else name + '.default'}": function for name in names.split()}


FAMILIES: dict[str, Callable] = {
    # elementwise
    **{name: f for word, f in elementwise.BY_NAME.items() for name in _named(f, word)},
    **_named(elementwise.gelu, "gelu"),
    **_named(elementwise.add, "add.Tensor add.Scalar"),
    **_named(elementwise.sub, "sub.Tensor sub.Scalar"),
    **_named(elementwise.rsub, "rsub.Scalar"),
    **_named(elementwise.mul, "mul.Tensor mul.Scalar"),
    **_named(elementwise.div, "div.Tensor div.Scalar"),
    **_named(elementwise.addcmul, "addcmul"),
    **_named(elementwise.leaky_relu, "leaky_relu"),
    **_named(elementwise.pow, "pow.Tensor_Tensor pow.Tensor_Scalar pow.Scalar"),
    # contractions
    **_named(contraction.linear, "linear"),
    **_named(contraction.matmul, "matmul"),
    **_named(contraction.mm, "mm bmm"),
    **_named(contraction.mv, "mv"),
    **_named(contraction.dot, "dot"),
    **_named(contraction.outer, "outer"),
    **_named(contraction.addmm, "addmm"),
    **_named(contraction.baddbmm, "baddbmm"),
    **_named(contraction.convolution, "convolution"),
    **_named(contraction.conv, "conv1d conv2d conv3d"),
    **_named(contraction.conv_transpose, "conv_transpose1d conv_transpose2d.input conv_transpose3d.input"),
    # reductions
    **_named(reductions.sum, "sum sum.dim_IntList"),
    **_named(reductions.mean, "mean mean.dim"),
    **_named(reductions.cumsum, "cumsum"),
    **_named(reductions.norm, "linalg_vector_norm"),
    **_named(reductions.norm_of_order_p, "norm.ScalarOpt_dim norm.Scalar"),
    # rows
    **_named(softmax.softmax, "softmax.int _softmax"),
    **_named(softmax.log_softmax, "log_softmax.int _log_softmax"),
    **_named(normalisation.layer_norm, "layer_norm"),
    **_named(normalisation.native_layer_norm, "native_layer_norm"),
    **_named(normalisation.group_norm, "group_norm"),
    **_named(normalisation.native_group_norm, "native_group_norm"),
    **_named(normalisation.rms_norm, "rms_norm"),
    **_named(normalisation.batch_norm_no_training, "_native_batch_norm_legit_no_training"),
    **_named(attention.scaled_dot_product_attention, "scaled_dot_product_attention"),
    # windows
    **_named(partial(pooling.avg_pool, rank=1), "avg_pool1d"),
    **_named(partial(pooling.avg_pool, rank=2), "avg_pool2d"),
    **_named(partial(pooling.avg_pool, rank=3), "avg_pool3d"),
    **_named(partial(pooling.adaptive_avg_pool, rank=1), "adaptive_avg_pool1d"),
    **_named(partial(pooling.adaptive_avg_pool, rank=2), "adaptive_avg_pool2d _adaptive_avg_pool2d"),
    **_named(partial(pooling.adaptive_avg_pool, rank=3), "adaptive_avg_pool3d _adaptive_avg_pool3d"),
    **_named(interpolation.upsample_linear1d, "upsample_linear1d.vec"),
    **_named(interpolation.upsample_bilinear2d, "upsample_bilinear2d upsample_bilinear2d.vec"),
}
"""The function that bounds each ATen overload. Its parameters have the schema's names (`input` for
`self`)."""

EXACT = frozenset(
    _named(
        lambda: None,
        """
    copy _to_copy embedding gather index.Tensor index_select take_along_dim where.self
    where.ScalarOther where.ScalarSelf where.Scalar masked_fill.Scalar masked_fill.Tensor cat stack hstack
    vstack flip roll repeat repeat_interleave.self_int tile tril triu diag_embed pad constant_pad_nd
    reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d
    pixel_shuffle pixel_unshuffle im2col scatter.src scatter.value select_scatter slice_scatter one_hot
    relu relu6 hardtanh clamp clamp.Tensor clamp_max clamp_max.Tensor clamp_min clamp_min.Tensor maximum
    minimum fmax fmin abs neg sign sgn ceil floor round trunc nan_to_num copysign.Tensor copysign.Scalar
    isinf isnan eq.Tensor eq.Scalar ne.Tensor ne.Scalar lt.Tensor lt.Scalar le.Tensor le.Scalar gt.Tensor
    gt.Scalar ge.Tensor ge.Scalar logical_and logical_not logical_or logical_xor bitwise_and.Tensor
    bitwise_and.Scalar bitwise_not bitwise_or.Tensor bitwise_or.Scalar bitwise_xor.Tensor
    bitwise_xor.Scalar __and__.Tensor __and__.Scalar __or__.Tensor __or__.Scalar __xor__.Tensor
    __xor__.Scalar
    amax amin aminmax max max.dim max.other min min.dim min.other argmax argmin
    any any.dim any.dims all all.dim all.dims
    sort sort.stable topk argsort bucketize.Tensor searchsorted.Tensor max_pool1d max_pool2d max_pool3d
    max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool2d upsample_nearest1d.vec
    upsample_nearest2d.vec upsample_nearest3d.vec upsample_nearest2d
""",
    )
)
"""Overloads that move, compare or select values, or convert them with round-to-nearest-even."""


def is_supported(target: str) -> bool:
    """Whether a canonical ATen name such as `aten.relu.default` has a bound."""
    return target == COPY or target in EXACT or target in FAMILIES


@cache
def _parameters(function: Callable) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def bind(target: str, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call of FAMILIES by name, those given. Raises UnsupportedOperator for those the family knows
    nothing about."""
    known, bound_arguments = _parameters(FAMILIES[target]), {}
    for position, argument in enumerate(resolve(target)._schema.arguments):
        name = "input" if argument.name == "self" else argument.name
        if position < len(args):
            given = args[position]
        elif argument.name in kwargs:
            given = kwargs[argument.name]
        else:
            continue
        if name in known:
            bound_arguments[name] = given
        elif name not in _IMMATERIAL and given != argument.default_value:
            raise UnsupportedOperator(f"operator {target} has no bound for its argument {argument.name}")
    return bound_arguments


_IMMATERIAL = frozenset({"cudnn_enable", "cudnn_enabled"})


def _check(target: str, operands: Sequence[Tensor]) -> None:
    for tensor in operands:
        if tensor.is_complex() or tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise UnsupportedOperator(f"operator {target} on {tensor.dtype} has no bound; only FP32 has")


def bound(
    target: str,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    operands: Sequence[Tensor],
    kind: Kind = "deterministic",
    *,
    failure: float = Rule.failure,
    with_value: bool = True,
) -> list[Bound | Exact | None]:
    """The bound of every output of an ATen call; None for an output that is always empty.

    target: canonical name, such as `aten.linear.default`. args, kwargs: the call's literals, with `Slot(i)`
    where operand i goes (or the tensors themselves). operands: tensors as the call sees them, on any device.
    kind, failure, with_value: as in `Rule`. Raises UnsupportedOperator where the target, one of its
    arguments or an operand's type has no bound.
    """
    if not is_supported(target):
        raise UnsupportedOperator(f"operator {target} has no bound")
    if target == COPY:
        return [Exact()]
    if target in EXACT:
        return [Exact() for _ in resolve(target)._schema.returns]
    _check(target, operands)
    arguments = bind(target, *fill(args, kwargs, [operand.detach() for operand in operands]))
    rule = Rule(kind, failure, with_value)
    with torch.no_grad():
        found = FAMILIES[target](**arguments, rule=rule)
    return list(found) if isinstance(found, list | tuple) else [found]


def tolerance(
    target: str,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    operands: Sequence[Tensor],
    kind: Kind = "deterministic",
    *,
    failure: float = Rule.failure,
) -> list[Tensor | Exact | None]:
    """The tolerances of `bound`, float32 or float64, without paying for the values."""
    found = bound(target, args, kwargs, operands, kind, failure=failure, with_value=False)
    return [item.tolerance if isinstance(item, Bound) else item for item in found]
