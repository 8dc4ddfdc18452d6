"""How far the elements of a contraction are off, beside what is provably wrong (docs/protocol.md, section 4).

For lanes a_k b_k (and a bias), S is their exact sum, T the sum of their absolute values, D that of the lanes
with a subnormal factor, n = K (one more with a bias) and u = 2^-24. Any order of summation, with or without
fused multiply-add, subnormals kept or flushed, stays within

    tau = gamma_n T + 2 D + (2 n + 1) 2^-126,    gamma_n = n u / (1 - n u).

`sums` and `excess` estimate the rule for a whole output; `tao.numerics.dot` has it for one element, exactly.

The calibrated rule is far tighter and no proof: y exceeds theta iff it is finite and, with R the root of the
sum of the squared lanes, beyond

    theta u sqrt(n) R + 2 D + (2 n + 1) 2^-126.

`theta_statistic` estimates that one.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from tao.errors import UnsupportedOperator
from tao.graph.canonical import Node
from tao.graph.literals import fill
from tao.graph.operators import CONTRACTION, resolve
from tao.graph.windows import CONVOLUTIONS
from tao.numerics.bounds.rule import SMALLEST_NORMAL, UNIT_ROUNDOFF
from tao.numerics.dot import MAX_LANES

_BLOCK = 1 << 22  # elements of one block of an output or an operand: 32 MiB in float64


def _blocks(size: int, step: int) -> Iterator[slice]:
    step = max(step, 1)
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def _subnormal_part(magnitude: Tensor) -> Tensor:
    return torch.where(magnitude < SMALLEST_NORMAL, magnitude, 0.0)


def _signed(product: Callable[..., Tensor], x: Tensor, y: Tensor) -> Tensor:
    return product(x, y)


def _magnitudes(product: Callable[..., Tensor], x: Tensor, y: Tensor) -> Tensor:
    return product(x.abs(), y.abs())


def _squares(product: Callable[..., Tensor], x: Tensor, y: Tensor) -> Tensor:
    return product(x.square(), y.square())


def _subnormal_lanes(product: Callable[..., Tensor], x: Tensor, y: Tensor) -> Tensor | float:
    x, y = x.abs(), y.abs()
    small_x, small_y = _subnormal_part(x), _subnormal_part(y)
    if not (small_x.any() or small_y.any()):
        return 0.0
    return product(small_x, y) + product(x - small_x, small_y)


def _contract(a: Tensor, b: Tensor, *forms: Callable[..., Tensor | float]) -> list[Tensor]:
    """Each form of the contraction of the last dimension, float64 [..., M, N], block by block."""
    batch, (rows, lanes), columns = a.shape[:-2], a.shape[-2:], b.shape[-2]
    if b.shape != (*batch, columns, lanes):
        raise ValueError(f"cannot contract {tuple(a.shape)} with {tuple(b.shape)} over the last dimension")
    a, b = a.detach().reshape(-1, rows, lanes), b.detach().reshape(-1, columns, lanes)
    totals = [torch.zeros(len(a), rows, columns, dtype=torch.float64) for _ in forms]
    column_step = max(_BLOCK // lanes, 1)
    row_step = _BLOCK // max(lanes, min(columns, column_step))
    item_step = _BLOCK // max(rows * lanes, columns * lanes, rows * columns)
    steps = _blocks(len(a), item_step), _blocks(rows, row_step), _blocks(columns, column_step)
    for items, some_rows, some_columns in product(*steps):
        x, y = a[items, some_rows].double(), b[items, some_columns].double().mT
        for total, form in zip(totals, forms, strict=True):
            total[items, some_rows, some_columns] = form(torch.matmul, x, y)
    return [total.reshape(*batch, rows, columns) for total in totals]


def sums(a: Tensor, b: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """S, T and D of every output element of the contraction of the last dimension.

    a: float32 [..., M, K]; b: float32 [..., N, K] with the same leading dimensions; bias: float32,
    broadcastable to the output. Returns three float64 tensors [..., M, N]. Products of float32 are exact in
    float64, so S is off by less than 2^-53 K T, which is 2^-29 of tau. Where a lane is not finite T is not.
    """
    s, t, d = _contract(a, b, _signed, _magnitudes, _subnormal_lanes)
    if bias is not None:
        lane = bias.detach().double()
        s, t, d = s + lane, t + lane.abs(), d + _subnormal_part(lane.abs())
    return s, t, d


def _tau(t: Tensor, d: Tensor, n: int) -> Tensor:
    return n * UNIT_ROUNDOFF / (1 - n * UNIT_ROUNDOFF) * t + 2 * d + (2 * n + 1) * SMALLEST_NORMAL


def excess(y: Tensor, a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """|y - S| / tau of every output element, float64 [..., M, N]: above 1 the element is refutable.

    Infinite where y is not finite although no order of summation can overflow; 0 where a lane is not finite
    and where y is not finite and may be.
    """
    s, t, d = sums(a, b, bias)
    tau = _tau(t, d, a.shape[-1] + (bias is not None))
    ratio = (y.detach().double() - s).abs() / tau
    ratio = torch.where(y.isfinite(), ratio, torch.where(t + tau < 2.0**127, torch.inf, 0.0))
    return torch.where(t.isfinite(), ratio, 0.0)


def _theta(y: Tensor, forms: Sequence[Tensor | float], bias: Tensor | None, lanes: int) -> Tensor:
    s, squares, d = forms
    if bias is not None:
        lane = bias.detach().double()
        s, squares, d = s + lane, squares + lane.square(), d + _subnormal_part(lane.abs())
    n = lanes + (bias is not None)
    slack = 2 * d + (2 * n + 1) * SMALLEST_NORMAL
    beyond = ((y.detach().double() - s).abs() - slack).clamp(min=0.0)
    # T <= sqrt(n) R, so the error of S is at most n 2^-53 sqrt(n) R.
    ratio = beyond / (UNIT_ROUNDOFF * math.sqrt(n) * squares.sqrt()) - n * 2.0**-29
    ratio = torch.where(beyond > 0, ratio.clamp(min=0.0), 0.0)
    return torch.where(y.isfinite() & squares.isfinite(), ratio, 0.0)


def theta_statistic(y: Tensor, a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """|y - S| / (u sqrt(n) R) of every element of y, less what subnormals and the float64 sums may cost:
    above theta the element exceeds theta.

    y: float32 [..., M, N]; the others as for `sums`. Returns float64 [..., M, N]; 0 where y or a lane is not
    finite.
    """
    return _theta(y, _contract(a, b, _signed, _squares, _subnormal_lanes), bias, a.shape[-1])


def has_theta(node: Node) -> bool:
    """Whether a node is a sum of products of which the contracts can decide that an element exceeds theta."""
    sums = node.operator == CONTRACTION or node.operator in CONVOLUTIONS
    return sums and None not in node.maps and 0 < node.reduction <= MAX_LANES


def node_theta(node: Node, values: Sequence[Tensor], y: Tensor) -> Tensor:
    """`theta_statistic` of every element of a contraction or convolution node's output y, in its shape.

    values: as for `node_excess`. Raises UnsupportedOperator for other operators.
    """
    if node.operator == CONTRACTION:
        return theta_statistic(*_matrices(node, values, y)).reshape(y.shape)
    if node.operator not in CONVOLUTIONS or not node.reduction:
        raise UnsupportedOperator(f"{node.operator} is no sum of products with a calibrated constant")
    (x, weight, *rest), named = fill(node.args, node.kwargs, viewed(node, values))
    bias = rest[0] if rest else named.pop("bias", None)

    def product(x: Tensor, weight: Tensor) -> Tensor:
        return resolve(node.target)(x, weight, None, *rest[1:], **named)

    forms = [form(product, x.double(), weight.double()) for form in (_signed, _squares, _subnormal_lanes)]
    if bias is not None:
        bias = bias.reshape(-1, *[1] * (y.dim() - 2))
    return _theta(y, forms, bias, node.reduction)


def node_excess(node: Node, values: Sequence[Tensor], y: Tensor) -> Tensor:
    """`excess` of every element of a contraction node's output y, in its shape.

    values: the whole values that its operands a, b and bias read (not their views), each of the graph's type.
    """
    return excess(*_matrices(node, values, y)).reshape(y.shape)


def viewed(node: Node, values: Sequence[Tensor]) -> list[Tensor]:
    """The tensors that a node's call gets: views of the whole values that its operands read."""
    views = [operand.view for operand in node.operands]
    return [
        _strided(value.detach(), view.shape, view.strides, view.offset)
        for value, view in zip(values, views, strict=True)
    ]


def _strided(value: Tensor, sizes: Sequence[int], strides: Sequence[int], offset: int) -> Tensor:
    """Elements of a value by their row-major places, wherever in a storage the value itself begins."""
    value = value.contiguous()
    return value.as_strided(sizes, strides, value.storage_offset() + offset)


def _matrices(
    node: Node, values: Sequence[Tensor], y: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """y, a, b and bias of a contraction node as `excess` takes them, y reshaped."""
    maps, shape, lanes = list(node.maps), tuple(y.shape), node.reduction
    # The last two dimensions become the rows of a and of b; a product with a vector lacks one of them.
    if not shape or maps[0].strides[-1]:
        shape, maps = (*shape, 1), [replace(m, strides=(*m.strides, 0)) for m in maps]
    if len(shape) < 2 or maps[1].strides[-2]:
        shape = (*shape[:-1], 1, shape[-1])
        maps = [replace(m, strides=(*m.strides[:-1], 0, m.strides[-1])) for m in maps]
    batch, rows, columns = shape[:-2], shape[-2], shape[-1]

    def read(operand: int, sizes: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
        return _strided(values[operand], sizes, strides, maps[operand].offset)

    a = read(0, (*batch, rows, lanes), (*maps[0].strides[:-1], 1))
    strides = maps[1].strides
    bias = read(2, shape, maps[2].strides) if len(maps) > 2 else None
    if any(strides[:-2]):
        b = read(1, (*batch, columns, lanes), (*strides[:-2], strides[-1], 1))
        return y.reshape(shape), a, b, bias
    # One matrix serves the whole batch: no need to repeat it.
    b = read(1, (columns, lanes), (strides[-1], 1))
    bias = None if bias is None else bias.reshape(-1, columns)
    return y.reshape(-1, columns), a.reshape(-1, lanes), b, bias
