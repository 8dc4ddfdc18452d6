"""The operators a graph may hold, and the canonical form of their calls.

The tables are explicit: what a graph means must not depend on the tags of the installed torch, and nothing
outside them is ever looked up for a graph that came from elsewhere. All are functional and deterministic
up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._ops import OpOverload

import tao.graph.library  # noqa: F401  (defines our own operators)
from tao.errors import UnsupportedOperator
from tao.graph.literals import encode

CONTRACTION = "contraction"
COPY = "copy"
EMBEDDING = "aten.embedding.default"
ATTENTION = "aten.scaled_dot_product_attention.default"
LOG = "tao.log.default"
SAMPLE = "tao.sample.default"
KEEP = "tao.keep.default"
EMBEDDING_GRADIENT = "tao.embedding_gradient.default"
CONTRACTIONS = frozenset(f"aten.{name}.default" for name in ("linear", "matmul", "mm", "bmm", "addmm"))


def overloads(text: str) -> frozenset[str]:
    """Canonical names from words such as `add.Tensor` or `exp`, which means `exp.default`."""
    return frozenset(f"aten.{word if '.' in word else word + '.default'}" for word in text.split())


POINTWISE = overloads("""
    abs acos acosh add.Tensor add.Scalar addcdiv addcmul asin asinh atan atan2 atanh bitwise_and.Tensor
    bitwise_and.Scalar bitwise_not bitwise_or.Tensor bitwise_or.Scalar bitwise_xor.Tensor
    bitwise_xor.Scalar ceil celu clamp clamp.Tensor clamp_max clamp_max.Tensor clamp_min
    clamp_min.Tensor copysign.Tensor copysign.Scalar cos cosh div.Tensor div.Scalar div.Tensor_mode
    div.Scalar_mode elu eq.Tensor eq.Scalar erf erfc exp exp2 expm1 floor fmax fmin fmod.Tensor
    fmod.Scalar frac ge.Tensor ge.Scalar gelu gelu_backward gt.Tensor gt.Scalar hardsigmoid hardshrink
    hardswish hardtanh isinf isnan le.Tensor le.Scalar leaky_relu lerp.Scalar lerp.Tensor log log10 log1p log2
    logaddexp logical_and logical_not logical_or logical_xor lt.Tensor lt.Scalar masked_fill.Scalar
    max.other maximum min.other minimum mish mul.Tensor mul.Scalar nan_to_num ne.Tensor ne.Scalar neg
    pow.Tensor_Tensor pow.Tensor_Scalar pow.Scalar reciprocal relu relu6 remainder.Tensor
    remainder.Scalar round rsqrt rsub.Scalar selu sgn sigmoid sigmoid_backward sign silu silu_backward
    sin sinh softplus softshrink sqrt square sub.Tensor sub.Scalar tan tanh tanh_backward
    threshold_backward trunc where.self where.ScalarOther where.ScalarSelf xlogy.Tensor
    __and__.Tensor __or__.Tensor __xor__.Tensor _to_copy
""")
"""Output element o depends on those elements of the operands that broadcasting puts at o, and no others."""

OTHERS = overloads("""
    linear matmul mm bmm addmm baddbmm mv dot outer embedding conv1d conv2d conv3d convolution
    conv_transpose1d conv_transpose2d.input conv_transpose3d.input layer_norm native_layer_norm
    group_norm native_group_norm rms_norm instance_norm _native_batch_norm_legit_no_training
    _native_batch_norm_legit.no_stats softmax.int log_softmax.int _softmax _log_softmax
    scaled_dot_product_attention glu prelu
    where.Scalar masked_fill.Tensor logit __and__.Scalar __or__.Scalar
    __xor__.Scalar sum sum.dim_IntList mean mean.dim prod prod.dim_int amax amin aminmax
    any any.dim any.dims all all.dim all.dims max max.dim min min.dim argmax argmin var.dim
    var.correction var_mean.correction std.dim std.correction norm.ScalarOpt_dim norm.Scalar
    linalg_vector_norm logsumexp cumsum cumprod diff sort sort.stable topk argsort cat stack hstack
    vstack flip roll repeat repeat_interleave.self_int tile tril triu diag_embed pad constant_pad_nd
    reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
    replication_pad3d pixel_shuffle pixel_unshuffle im2col col2im gather index.Tensor index_select
    index_put index_add scatter.src scatter.value scatter_add scatter_reduce.two select_scatter
    slice_scatter one_hot bucketize.Tensor searchsorted.Tensor take_along_dim max_pool1d max_pool2d
    max_pool3d max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d
    _adaptive_avg_pool3d adaptive_max_pool2d upsample_nearest1d.vec upsample_nearest2d.vec
    upsample_nearest3d.vec upsample_nearest2d upsample_bilinear2d upsample_linear1d.vec
    upsample_bilinear2d.vec upsample_bicubic2d.vec grid_sampler_2d affine_grid_generator
    cosine_similarity einsum cdist convolution_backward native_layer_norm_backward
    native_group_norm_backward embedding_dense_backward avg_pool2d_backward
    _adaptive_avg_pool2d_backward max_pool2d_with_indices_backward _softmax_backward_data
    _log_softmax_backward_data copy
""")

TRAINING = frozenset((LOG, SAMPLE, KEEP, EMBEDDING_GRADIENT))
"""Operators of our own that only a training step has (tao.graph.library)."""

SUPPORTED = POINTWISE | OTHERS | TRAINING

CONTENT_FREE = overloads("zeros_like ones_like full_like new_zeros new_ones new_full fill.Scalar zero")
"""Read the shape and dtype of their tensor, never its elements."""

FACTORIES = CONTENT_FREE | overloads("""
    arange arange.start arange.start_step full zeros ones scalar_tensor eye linspace tril_indices
    triu_indices lift_fresh_copy
""")
"""Allowed where constants are folded; they never are nodes."""

ASSERTIONS = overloads("_assert_tensor_metadata _assert_async.msg _assert_scalar sym_constrain_range")

IDENTITIES = overloads("alias detach lift_fresh lift_fresh_copy")

_UNCOMMITTED = frozenset(
    "device layout pin_memory memory_format non_blocking"  # where and how, not what
    " cudnn_enable cudnn_enabled padding_idx scale_grad_by_freq sparse".split()  # nothing on a forward pass
)


def name_of(target: OpOverload) -> str:
    """The canonical name of an overload, such as `aten.relu.default`."""
    return str(target)


def resolve(name: str) -> OpOverload:
    """The overload of a supported canonical name; raises UnsupportedOperator for every other one."""
    if name not in SUPPORTED:
        raise UnsupportedOperator(f"operator {name} is not in the set of supported operators")
    namespace, packet, overload = name.split(".")
    try:
        return getattr(getattr(getattr(torch.ops, namespace), packet), overload)
    except AttributeError as error:
        raise UnsupportedOperator(f"operator {name} does not exist in torch {torch.__version__}") from error


def normalise(target: OpOverload, args: tuple, kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments of a call in canonical form: positional in schema order up to the last that differs from its
    default, keyword-only where they differ from it. What does not change the function is left out."""
    positional: list[tuple[Any, bool]] = []
    keywords: dict[str, Any] = {}
    for index, argument in enumerate(target._schema.arguments):
        given = index < len(args) or argument.name in kwargs
        value = args[index] if index < len(args) else kwargs.get(argument.name, argument.default_value)
        if argument.name in _UNCOMMITTED and (argument.kwarg_only or argument.has_default_value()):
            given, value = False, argument.default_value
        is_default = not given or (argument.has_default_value() and _equal(value, argument.default_value))
        if not argument.kwarg_only:
            positional.append((value, is_default))
        elif not is_default:
            keywords[argument.name] = value
    while positional and positional[-1][1]:
        positional.pop()
    return [value for value, _ in positional], keywords


def _equal(value: Any, default: Any) -> bool:
    if value is None or default is None:
        return value is default
    return encode(value) == encode(default)


def check_call(name: str, args: list[Any]) -> None:
    """Raises UnsupportedOperator for calls that draw random numbers."""
    if name == ATTENTION and len(args) > 4 and args[4]:
        raise UnsupportedOperator("it drops attention weights at random; set its dropout_p to 0")
