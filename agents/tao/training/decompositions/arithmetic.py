"""Pointwise functions and their gradients, and products of matrices."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tao.training.decompositions.register import Table, register

TABLE: Table = {}
_SQRT_HALF, _SQRT_2_OVER_PI, _CUBIC = math.sqrt(0.5), math.sqrt(2 / math.pi), 0.044715


def _mixed(*numbers: Any) -> bool:
    """Whether tensors of integers meet floats, so that they are promoted to float32."""
    tensors = [n for n in numbers if isinstance(n, Tensor)]
    floats = any(t.is_floating_point() for t in tensors) or any(isinstance(n, float) for n in numbers)
    return floats and any(not t.is_floating_point() for t in tensors)


def _promoted(*numbers: Any) -> list[Any]:
    return [n.to(torch.float32) if isinstance(n, Tensor) else n for n in numbers]


@register(TABLE, "add.Tensor", "add.Scalar")
def add(a: Any, b: Any, alpha: float = 1) -> Tensor:
    if _mixed(a, b):
        a, b = _promoted(a, b)
    elif alpha == 1:
        return NotImplemented
    return a + (b if alpha == 1 else b * alpha)


@register(TABLE, "sub.Tensor", "sub.Scalar")
def sub(a: Any, b: Any, alpha: float = 1) -> Tensor:
    if _mixed(a, b):
        a, b = _promoted(a, b)
    elif alpha == 1:
        return NotImplemented
    return a - (b if alpha == 1 else b * alpha)


@register(TABLE, "rsub.Tensor", "rsub.Scalar")
def rsub(a: Tensor, b: Any, alpha: float = 1) -> Tensor:
    a = a if alpha == 1 else a * alpha
    return b - a if isinstance(b, Tensor) else -a + b


@register(TABLE, "mul.Tensor", "mul.Scalar")
def mul(a: Any, b: Any) -> Tensor:
    if not _mixed(a, b):
        return NotImplemented
    a, b = _promoted(a, b)
    return a * b


@register(TABLE, "div.Tensor", "div.Scalar")
def div(a: Any, b: Any) -> Tensor:
    if all(t.is_floating_point() for t in (a, b) if isinstance(t, Tensor)):
        return NotImplemented
    a, b = _promoted(a, b)
    return a / b


@register(TABLE, "addcmul")
def addcmul(a: Tensor, b: Tensor, c: Tensor, value: float = 1) -> Tensor:
    return a + (b * c if value == 1 else b * c * value)


@register(TABLE, "addcdiv")
def addcdiv(a: Tensor, b: Tensor, c: Tensor, value: float = 1) -> Tensor:
    return a + (b / c if value == 1 else b / c * value)


@register(TABLE, "lerp.Scalar", "lerp.Tensor")
def lerp(a: Tensor, b: Tensor, weight: Any) -> Tensor:
    return a + (b - a) * weight


@register(TABLE, "square")
def square(x: Tensor) -> Tensor:
    return x * x


@register(TABLE, "rsqrt")
def rsqrt(x: Tensor) -> Tensor:
    return x.sqrt().reciprocal()


@register(TABLE, "pow.Tensor_Scalar")
def power(x: Tensor, exponent: float) -> Tensor:
    if exponent == 0.5:
        return x.sqrt()
    if exponent == -0.5:
        return rsqrt(x)
    if exponent != int(exponent) or abs(exponent) > 64:
        return NotImplemented
    if exponent == 0:
        return torch.ones_like(x)
    result, base, left = None, x, abs(int(exponent))
    while left:
        if left & 1:
            result = base if result is None else result * base
        left >>= 1
        base = base * base if left else base
    return result.clone() if exponent > 0 else result.reciprocal()


@register(TABLE, "pow.Scalar")
def power_of_number(base: float, x: Tensor) -> Tensor:
    if not (base > 0 and x.is_floating_point()):
        return NotImplemented
    return (x * math.log(base)).exp()


@register(TABLE, "log1p")
def log1p(x: Tensor) -> Tensor:
    return (x + 1).log()


@register(TABLE, "expm1")
def expm1(x: Tensor) -> Tensor:
    return x.exp() - 1


@register(TABLE, "sgn", "sign")
def sign(x: Tensor) -> Tensor:
    return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)


@register(TABLE, "sigmoid_backward")
def sigmoid_backward(g: Tensor, y: Tensor) -> Tensor:
    return g * (y * (1 - y))


@register(TABLE, "tanh_backward")
def tanh_backward(g: Tensor, y: Tensor) -> Tensor:
    return g * (1 - y * y)


@register(TABLE, "threshold_backward")
def threshold_backward(g: Tensor, x: Tensor, threshold: float) -> Tensor:
    return torch.where(x <= threshold, 0.0, g)


@register(TABLE, "silu")
def silu(x: Tensor) -> Tensor:
    return x * x.sigmoid()


@register(TABLE, "silu_backward")
def silu_backward(g: Tensor, x: Tensor) -> Tensor:
    s = x.sigmoid()
    return g * (s + x * s * (1 - s))


@register(TABLE, "gelu")
def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    if approximate == "none":
        return x * 0.5 * ((x * _SQRT_HALF).erf() + 1)
    return x * 0.5 * ((x + x * x * x * _CUBIC) * _SQRT_2_OVER_PI).tanh().add(1)


@register(TABLE, "gelu_backward")
def gelu_backward(g: Tensor, x: Tensor, approximate: str = "none") -> Tensor:
    if approximate == "none":
        density = (x * x * -0.5).exp() * (1 / math.sqrt(2 * math.pi))
        return g * (((x * _SQRT_HALF).erf() + 1) * 0.5 + x * density)
    t = ((x + x * x * x * _CUBIC) * _SQRT_2_OVER_PI).tanh()
    slope = (x * x * (3 * _CUBIC) + 1) * _SQRT_2_OVER_PI
    return g * ((t + 1) * 0.5 + x * 0.5 * (1 - t * t) * slope)


@register(TABLE, "leaky_relu")
def leaky_relu(x: Tensor, slope: float = 0.01) -> Tensor:
    return torch.where(x > 0, x, x * slope)


@register(TABLE, "leaky_relu_backward")
def leaky_relu_backward(g: Tensor, x: Tensor, slope: float, self_is_result: bool) -> Tensor:
    return torch.where(x > 0, g, g * slope)


@register(TABLE, "elu")
def elu(x: Tensor, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Tensor:
    falling = (torch.clamp(x * input_scale, max=0.0).exp() - 1) * (alpha * scale)
    return torch.where(x > 0, x * scale, falling)


@register(TABLE, "elu_backward")
def elu_backward(
    g: Tensor, alpha: float, scale: float, input_scale: float, is_result: bool, x: Tensor
) -> Tensor:
    if is_result:
        return torch.where(x > 0, g * scale, g * ((x + alpha * scale) * input_scale))
    falling = torch.clamp(x * input_scale, max=0.0).exp() * (alpha * scale * input_scale)
    return torch.where(x > 0, g * scale, g * falling)


@register(TABLE, "softplus")
def softplus(x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    scaled = x * beta
    return torch.where(scaled > threshold, x, (torch.clamp(scaled, max=threshold).exp() + 1).log() / beta)


@register(TABLE, "softplus_backward")
def softplus_backward(g: Tensor, x: Tensor, beta: float, threshold: float) -> Tensor:
    scaled = x * beta
    return torch.where(scaled > threshold, g, g * scaled.sigmoid())


@register(TABLE, "log_sigmoid_forward")
def log_sigmoid_forward(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.clamp(x, max=0.0) - ((-x.abs()).exp() + 1).log(), x.new_zeros(1)


@register(TABLE, "log_sigmoid_backward")
def log_sigmoid_backward(g: Tensor, x: Tensor, buffer: Tensor) -> Tensor:
    return g * (-x).sigmoid()


@register(TABLE, "addmm", "baddbmm")
def addmm(bias: Tensor, a: Tensor, b: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    product = torch.bmm(a, b) if a.dim() == 3 else torch.mm(a, b)
    product = product if alpha == 1 else product * alpha
    return product + (bias if beta == 1 else bias * beta)


@register(TABLE, "mv")
def mv(a: Tensor, v: Tensor) -> Tensor:
    return torch.mm(a, v[:, None])[:, 0]


@register(TABLE, "dot")
def dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.mm(a[None], b[:, None])[0, 0]
