"""By how much kernels miss the real value, in the natural unit of each family: the calibrated constants.

The statistic of an element y, whose real value is f, is |y - f| / (u rho), less what flushing may cost. Where many
rounding errors add up, rho is the size that they have if they are independent and of mean zero, so that n of them add
up to sqrt(n) and not to n (Higham and Mary, SIAM J. Sci. Comput. 41, 2019):

| operator                                  | rho                                                  |
|-------------------------------------------|------------------------------------------------------|
| sums of products                          | sqrt(n) ||a b||_2 (see `tao.numerics.contraction`)   |
| sum, cumsum                               | sqrt(n) ||x||_2 over the n terms (so far)            |
| mean                                      | ||x||_2 / sqrt(n)                                    |
| 2-norm                                    | sqrt(n) |f|                                          |
| softmax                                   | (sqrt(n) + d) |f|, d = max x - x                     |
| log_softmax                               | sqrt(n) + |f|                                        |
| layer_norm, group_norm (r, m, z of a row) | |w| (sqrt(n) |z| + r (|x| + rms(x))) + |b|           |
| rms_norm                                  | sqrt(n) |f|                                          |
| all others (few roundings, or few terms)  | the proven bound over u, flushing included           |

A sum is the product with ones, and rounding its result is within rho, as |S| <= sqrt(n) ||x||_2. The terms of softmax
have relative errors that grow with the shift d (Blanchard, Higham and Higham, IMA J. Numer. Anal. 41, 2021); the mean
of a row is off by u rms(x) and its reciprocal deviation relatively by u sqrt(n).

Contracts decide sums of products by their constant; the others say how far honest kernels of a family are apart.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tao.errors import UnsupportedOperator
from tao.graph.canonical import Node
from tao.graph.literals import fill
from tao.graph.operators import CONTRACTION, overloads
from tao.graph.windows import CONVOLUTIONS
from tao.numerics.bounds import FAMILIES, Bound, bind, bound
from tao.numerics.bounds.normalisation import FP32_EPSILON
from tao.numerics.bounds.rule import SMALLEST_NORMAL, UNIT_ROUNDOFF
from tao.numerics.contraction import has_theta, node_theta, viewed


def _dims(input: Tensor, dim: int | list[int] | None) -> list[int]:
    """All where None or empty."""
    return [dim] if isinstance(dim, int) else list(dim or range(input.dim()))


def _length(input: Tensor, dim: int | list[int] | None) -> int:
    return math.prod(input.shape[d] for d in _dims(input, dim)) if input.dim() else 1


def _sum(input: Tensor, dim: int | list[int] | None = None, keepdim: bool = False, **_) -> Tensor:
    norm = torch.linalg.vector_norm(input.double(), 2, _dims(input, dim), keepdim)
    return math.sqrt(_length(input, dim)) * norm


def _mean(input: Tensor, dim: int | list[int] | None = None, keepdim: bool = False, **_) -> Tensor:
    return _sum(input, dim, keepdim) / max(_length(input, dim), 1)


def _cumsum(input: Tensor, dim: int, **_) -> Tensor:
    squares = input.double().square().cumsum(dim)
    return (torch.ones_like(squares).cumsum(dim) * squares).sqrt()


def _norm(
    input: Tensor, ord: float | None = 2, dim: int | list[int] | None = None, keepdim: bool = False, **_
) -> Tensor:
    # That of order 1 is a sum of magnitudes, of which the unit is the same.
    return _sum(input, dim, keepdim)


def _softmax(input: Tensor, dim: int, **_) -> Tensor:
    x = input.double()
    shift = x.amax(dim, keepdim=True) - x
    return (math.sqrt(_length(input, dim)) + shift) * x.softmax(dim)


def _log_softmax(input: Tensor, dim: int, **_) -> Tensor:
    return math.sqrt(_length(input, dim)) + input.double().log_softmax(dim).abs()


def _normalised(x: Tensor, weight: Tensor | float, bias: Tensor | float, eps: float) -> Tensor:
    """x: float64, rows in the last dimension."""
    variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    rstd, rms = (variance + eps).rsqrt(), (variance + mean.square()).sqrt()
    inner = math.sqrt(x.shape[-1]) * ((x - mean) * rstd).abs() + rstd * (x.abs() + rms)
    return abs(weight) * inner + abs(bias)


def _layer_norm(
    input: Tensor,
    normalized_shape: list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    **_,
) -> Tensor:
    n = math.prod(normalized_shape)
    w, b = (missing if p is None else p.double().reshape(n) for p, missing in ((weight, 1.0), (bias, 0.0)))
    return _normalised(input.double().reshape(-1, n), w, b, eps).reshape(input.shape)


def _group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    **_,
) -> Tensor:
    batch, channels = input.shape[:2]
    rows = input.double().reshape(batch, num_groups, -1)

    def spread(parameter: Tensor | None, missing: float) -> Tensor | float:
        if parameter is None:
            return missing
        return parameter.double().repeat_interleave(input[0, 0].numel()).reshape(num_groups, -1)

    return _normalised(rows, spread(weight, 1.0), spread(bias, 0.0), eps).reshape(input.shape)


def _rms_norm(
    input: Tensor,
    normalized_shape: list[int],
    weight: Tensor | None = None,
    eps: float | None = None,
    **_,
) -> Tensor:
    scale, eps = None if weight is None else weight.double(), FP32_EPSILON if eps is None else eps
    value = torch.rms_norm(input.double(), normalized_shape, scale, eps)
    return math.sqrt(math.prod(normalized_shape)) * value.abs()


def _by_name(unit: Callable[..., Tensor], names: str) -> dict[str, Callable[..., Tensor]]:
    return dict.fromkeys(overloads(names), unit)


UNITS: dict[str, Callable[..., Tensor]] = {
    **_by_name(_sum, "sum sum.dim_IntList"),
    **_by_name(_mean, "mean mean.dim"),
    **_by_name(_cumsum, "cumsum"),
    **_by_name(_norm, "linalg_vector_norm"),
    **_by_name(_softmax, "softmax.int _softmax"),
    **_by_name(_log_softmax, "log_softmax.int _log_softmax"),
    **_by_name(_layer_norm, "layer_norm"),
    **_by_name(_group_norm, "group_norm"),
    **_by_name(_rms_norm, "rms_norm"),
}
"""rho of an ATen call, float64 of the output's shape, by its arguments' names as `bind` gives them. That of targets
which are missing here is their bound."""


def has_constant(node: Node) -> bool:
    """Whether a constant is calibrated for a node: its one output has a bound. Of sums of products it is theta alone,
    in whose unit an accusation would measure them."""
    if node.operator == CONTRACTION or node.operator in CONVOLUTIONS:
        return has_theta(node)
    return node.target in FAMILIES and len(node.outputs) == 1


def unit_name(node: Node) -> str:
    """What the constant of a node that `has_constant` counts, in words."""
    return "units of rounding" if has_theta(node) or node.target in UNITS else "of the proven bound"


def unit_statistic(
    target: str, args: Sequence, kwargs: dict, operands: Sequence[Tensor], y: Tensor
) -> Tensor | None:
    """|y - f| / (u rho) of every element of a call's output, float64; 0 where y or rho is not finite.

    Arguments as for `bound`. None where the call's result is exact or has no bound.
    """
    try:
        found = bound(target, args, kwargs, operands)[0]
    except UnsupportedOperator:
        return None
    if not isinstance(found, Bound):
        return None
    if target not in UNITS:
        return torch.where(y.isfinite(), found.excess(y), 0.0)
    rho = UNITS[target](**bind(target, *fill(args, kwargs, operands)))
    terms = max(x.numel() for x in operands)
    # A subnormal term counts as zero, a flushed square is the least that the root of its sum can lose.
    root = math.sqrt(4 * terms * SMALLEST_NORMAL) if target == "aten.linalg_vector_norm.default" else 0.0
    slack = (3 * terms + 1) * SMALLEST_NORMAL + root
    beyond = ((y.detach().double() - found.value).abs() - slack).clamp(min=0.0)
    ratio = torch.where(beyond > 0, beyond / (UNIT_ROUNDOFF * rho), 0.0)
    return torch.where(y.isfinite() & rho.isfinite(), ratio, 0.0)


def node_statistic(node: Node, values: Sequence[Tensor], y: Tensor) -> Tensor | None:
    """The statistic of every element of the output y of a node that `has_constant`; None as `unit_statistic`.

    values: the whole values that its operands read (not their views).
    """
    if has_theta(node):
        return node_theta(node, values, y)
    return unit_statistic(node.target, node.args, node.kwargs, viewed(node, values), y)
