"""When a contraction's output element is provably wrong (docs/protocol.md, section 4).

For lanes a_k b_k (and a bias), S is their exact sum, T the sum of their absolute values, D that of the lanes
with a subnormal factor, n = K (one more with a bias) and u = 2^-24. Any order of summation, with or without
fused multiply-add, subnormals kept or flushed, stays within

    tau = gamma_n T + 2 D + (2 n + 1) 2^-126,    gamma_n = n u / (1 - n u).

Three forms of the same rule: `sums`, `bound` and `excess` estimate it for a whole output; `violates` is the
rule itself on one element, in rationals; `refuted` is what the contract proves with 128-bit integers, so it
implies `violates`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product

import torch
from torch import Tensor

from tao.graph.canonical import Node

UNIT_ROUNDOFF = 2.0**-24
SMALLEST_NORMAL = 2.0**-126
ONE = 127 << 23  # the bits of 1.0: the bias is a lane with this factor
NON_FINITE = 255
WINDOW = 63  # shifts a lane may take inside the contract's accumulator
MAX_LANES = 1 << 17  # sums of this many lanes fit 128 bits
_BLOCK = 1 << 22  # elements of one block of an output or an operand: 32 MiB in float64


# ---- estimates for a whole output ----


def _blocks(size: int, step: int) -> Iterator[slice]:
    step = max(step, 1)
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def _subnormal_part(magnitude: Tensor) -> Tensor:
    return torch.where(magnitude < SMALLEST_NORMAL, magnitude, 0.0)


def sums(a: Tensor, b: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """S, T and D of every output element of the contraction of the last dimension.

    a: float32 [..., M, K]; b: float32 [..., N, K] with the same leading dimensions; bias: float32,
    broadcastable to the output. Returns three float64 tensors [..., M, N]. Products of float32 are exact in
    float64, so S is off by less than 2^-53 K T, which is 2^-29 of tau. Where a lane is not finite T is not.
    """
    batch, (rows, lanes), columns = a.shape[:-2], a.shape[-2:], b.shape[-2]
    if b.shape != (*batch, columns, lanes):
        raise ValueError(f"Cannot contract {tuple(a.shape)} with {tuple(b.shape)} over the last dimension.")
    a, b = a.detach().reshape(-1, rows, lanes), b.detach().reshape(-1, columns, lanes)
    s, t, d = (torch.zeros(len(a), rows, columns, dtype=torch.float64) for _ in range(3))
    column_step = max(_BLOCK // lanes, 1)
    row_step = _BLOCK // max(lanes, min(columns, column_step))
    item_step = _BLOCK // max(rows * lanes, columns * lanes, rows * columns)
    steps = _blocks(len(a), item_step), _blocks(rows, row_step), _blocks(columns, column_step)
    for items, some_rows, some_columns in product(*steps):
        at = items, some_rows, some_columns
        x, y = a[items, some_rows].double(), b[items, some_columns].double().mT
        s[at] = x @ y
        x, y = x.abs(), y.abs()
        t[at] = x @ y
        small_x, small_y = _subnormal_part(x), _subnormal_part(y)
        if small_x.any() or small_y.any():
            d[at] = small_x @ y + (x - small_x) @ small_y
    s, t, d = (total.reshape(*batch, rows, columns) for total in (s, t, d))
    if bias is not None:
        lane = bias.detach().double()
        s, t, d = s + lane, t + lane.abs(), d + _subnormal_part(lane.abs())
    return s, t, d


def _tau(t: Tensor, d: Tensor, n: int) -> Tensor:
    return n * UNIT_ROUNDOFF / (1 - n * UNIT_ROUNDOFF) * t + 2 * d + (2 * n + 1) * SMALLEST_NORMAL


def bound(a: Tensor, b: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """S and tau of every output element, float64 [..., M, N]; arguments as for `sums`."""
    s, t, d = sums(a, b, bias)
    return s, _tau(t, d, a.shape[-1] + (bias is not None))


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


def node_excess(node: Node, values: Sequence[Tensor], y: Tensor) -> Tensor:
    """`excess` of every element of a contraction node's output y, in its shape.

    values: the whole values that its operands a, b and bias read (not their views), each of the graph's type.
    """
    maps, shape, lanes = list(node.maps), tuple(y.shape), node.reduction
    # The last two dimensions become the rows of a and of b; a product with a vector lacks one of them.
    if not shape or maps[0].strides[-1]:
        shape, maps = (*shape, 1), [replace(m, strides=(*m.strides, 0)) for m in maps]
    if len(shape) < 2 or maps[1].strides[-2]:
        shape = (*shape[:-1], 1, shape[-1])
        maps = [replace(m, strides=(*m.strides[:-1], 0, m.strides[-1])) for m in maps]
    batch, rows, columns = shape[:-2], shape[-2], shape[-1]

    def read(operand: int, sizes: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
        return values[operand].contiguous().as_strided(sizes, strides, maps[operand].offset)

    a = read(0, (*batch, rows, lanes), (*maps[0].strides[:-1], 1))
    strides = maps[1].strides
    bias = read(2, shape, maps[2].strides) if len(maps) > 2 else None
    if any(strides[:-2]):
        b = read(1, (*batch, columns, lanes), (*strides[:-2], strides[-1], 1))
        return excess(y.reshape(shape), a, b, bias).reshape(y.shape)
    # One matrix serves the whole batch: no need to repeat it.
    b = read(1, (columns, lanes), (strides[-1], 1))
    bias = None if bias is None else bias.reshape(-1, columns)
    return excess(y.reshape(-1, columns), a.reshape(-1, lanes), b, bias).reshape(y.shape)


# ---- one element, exactly ----


def float_bits(values: Tensor) -> list[int]:
    """The IEEE encodings of a float32 tensor's elements, in row-major order."""
    return [word & 0xFFFFFFFF for word in values.detach().contiguous().view(torch.int32).flatten().tolist()]


def _unpack(bits: int) -> tuple[int, int]:
    """Biased exponent e and significand m of a float32: |x| = m 2^(e-150); subnormals have e = 1."""
    exponent, fraction = bits >> 23 & 0xFF, bits & 0x7FFFFF
    return (exponent, fraction | 1 << 23) if exponent else (1, fraction)


def _value(bits: int) -> Fraction:
    exponent, significand = _unpack(bits)
    magnitude = Fraction(significand) * Fraction(2) ** (exponent - 150)
    return -magnitude if bits >> 31 else magnitude


def _is_finite(bits: int) -> bool:
    return bits >> 23 & 0xFF != NON_FINITE


def _is_subnormal(bits: int) -> bool:
    return bits & 0x7F800000 == 0


def _lanes(a: Sequence[int], b: Sequence[int], bias: int | None) -> list[tuple[int, int]]:
    return [*zip(a, b, strict=True), *([(bias, ONE)] if bias is not None else [])]


def tolerance(
    a: Sequence[int], b: Sequence[int], bias: int | None = None
) -> tuple[Fraction, Fraction, Fraction]:
    """S, T and tau of one element as exact rationals, from float32 encodings of finite lanes."""
    lanes = _lanes(a, b, bias)
    products = [_value(x) * _value(y) for x, y in lanes]
    s, t = sum(products, Fraction(0)), sum(map(abs, products), Fraction(0))
    subnormal = [_is_subnormal(x) or _is_subnormal(y) for x, y in lanes]
    d = sum((abs(p) for p, small in zip(products, subnormal, strict=True) if small), Fraction(0))
    n = len(lanes)
    return s, t, t * Fraction(n, (1 << 24) - n) + 2 * d + (2 * n + 1) * Fraction(2) ** -126


def violates(y: int, a: Sequence[int], b: Sequence[int], bias: int | None = None) -> bool:
    """Whether element y is outside tolerance, in exact rationals; all arguments are float32 encodings."""
    if not all(_is_finite(x) and _is_finite(z) for x, z in _lanes(a, b, bias)):
        return False
    s, t, tau = tolerance(a, b, bias)
    return abs(_value(y) - s) > tau if _is_finite(y) else t + tau < 2**127


def window_exponent(a: Sequence[int], b: Sequence[int], bias: int | None = None) -> int:
    """The lowest window that holds every lane: max over nonzero lanes of e_a + e_b, less 63, at least 2."""
    tops = [_unpack(x)[0] + _unpack(y)[0] for x, y in _lanes(a, b, bias) if _unpack(x)[1] and _unpack(y)[1]]
    return max([2, *(top - WINDOW for top in tops)])


def refuted(y: int, a: Sequence[int], b: Sequence[int], bias: int | None, window: int) -> bool:
    """Whether the contract accepts the proof that y is outside tolerance; arguments are float32 encodings.

    Mirrors Float32Dot.sol. Sums are integers in units of 2^(window - 300). Lanes below the window are left
    out; each is less than 2^47 units, and all slack goes to y's side. A bad window can only lose the proof.
    """
    lanes = _lanes(a, b, bias)
    n = len(lanes)
    if len(a) > MAX_LANES or not 2 <= window <= 508:
        return False
    s = t = d = 0
    for x, z in lanes:
        if not (_is_finite(x) and _is_finite(z)):
            return False
        (ex, mx), (ez, mz) = _unpack(x), _unpack(z)
        shift = ex + ez - window
        if mx * mz == 0 or shift < 0:
            continue
        if shift > WINDOW:
            return False
        units = mx * mz << shift
        t += units
        s += -units if (x ^ z) >> 31 else units
        d += units if _is_subnormal(x) or _is_subnormal(z) else 0
    skipped = n << 47
    t += skipped
    # S is off by `skipped` at most, and D, which counts twice, as well.
    tau = t * n // ((1 << 24) - n) + 1 + 2 * d + 3 * skipped + 1
    flush = 174 - window  # 2^-126 in units
    tau += 2 * n + 1 << flush if flush >= 0 else 2 * n + 1
    if not _is_finite(y):
        overflow = 427 - window  # 2^127 in units
        return overflow >= 0 and t + tau < 1 << overflow
    ey, my = _unpack(y)
    shift = ey + 150 - window
    # Truncation of y costs less than one unit, covered by the last +1 of tau.
    units = my << shift if shift >= 0 else my >> -shift
    return abs((-units if y >> 31 else units) - s) > tau
