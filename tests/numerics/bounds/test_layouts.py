"""No kernel leaves its bound on operands of any shape and strides, family by family."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.cases.elementwise import BINARY, UNARY
from benchmarks.kernels import flush
from support.layouts import numbers, shapes, tensors
from tao.graph.literals import Slot, fill
from tao.graph.operators import resolve
from tao.numerics.bounds import Bound, bound, tolerance

some = settings(max_examples=settings.default.max_examples // 4)
"""Fewer examples than of tests that call nothing."""

ONE, TWO, THREE = ([Slot(i) for i in range(count)] for count in (1, 2, 3))


def holds(target: str, args: list, operands: tuple[Tensor, ...], **kwargs) -> Bound:
    """The bound, which holds what torch's kernels compute from the operands as they lie and from copies, and is no
    larger than the cheap tolerance."""
    full, cheap = bound(target, args, kwargs, operands)[0], tolerance(target, args, kwargs, operands)[0]
    for each in (operands, [x.contiguous() for x in operands]):
        arguments, named = fill(args, kwargs, each)
        y = resolve(target)(*arguments, **named)
        y = y if isinstance(y, Tensor) else y[0]
        assert full.tolerance.shape == cheap.shape == y.shape
        assert not (full.excess(y) > 1).any(), target
    decided = full.tolerance.isfinite() & cheap.isfinite()
    # Evaluated in float32, where the full one is in float64.
    assert (cheap[decided].double() >= full.tolerance[decided] * (1 - 2.0**-17)).all(), target
    return full


def any_shape(largest: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.integers(1, 4).flatmap(lambda rank: shapes(rank, largest))


def broadcast_to(shape: tuple[int, ...]) -> st.SearchStrategy[Tensor]:
    """Tensors that broadcast to a shape."""
    sizes = st.tuples(*(st.sampled_from((1, size)) for size in shape))
    return sizes.flatmap(lambda chosen: tensors(*chosen))


@some
@given(st.data(), any_shape(5), st.sampled_from(["unary", "binary", "addcmul", "power", "powers"]))
def test_elementwise_results_of_any_shapes_and_strides_stay_inside(data, shape, form):
    draw = data.draw
    x, y = draw(tensors(*shape)), draw(broadcast_to(shape))
    if form == "unary":
        holds(f"aten.{draw(st.sampled_from(UNARY))}.default", ONE, (x,))
    elif form == "binary":
        holds(f"aten.{draw(st.sampled_from(sorted(BINARY)))}.Tensor", TWO, (x, y))
    elif form == "addcmul":
        operands, factor = (x, y, draw(broadcast_to(shape))), draw(st.sampled_from([1, -0.3, 1e-20]))
        holds("aten.addcmul.default", THREE, operands, value=factor)
    elif form == "power":
        exponent = draw(st.sampled_from([2.0, -1.0, 0.5, 1.7, 7.0]))
        holds("aten.pow.Tensor_Scalar", [Slot(0), exponent], (x,))
    else:
        holds("aten.pow.Tensor_Tensor", TWO, (x.abs(), y))


@some
@given(st.data(), any_shape(7), st.booleans())
def test_reductions_of_any_dimensions_and_strides_stay_inside(data, shape, keep):
    x = data.draw(tensors(*shape))
    dims = data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1).map(sorted))
    holds("aten.sum.dim_IntList", [Slot(0), dims, keep], (x,))
    holds("aten.mean.dim", [Slot(0), dims, keep], (x,))
    holds("aten.linalg_vector_norm.default", [Slot(0), 2, dims, keep], (x,))
    holds("aten.cumsum.default", [Slot(0), dims[0]], (x,))


@some
@given(st.data(), any_shape(9))
def test_softmaxes_along_any_dimension_and_strides_stay_inside(data, shape):
    x, dim = data.draw(tensors(*shape)), data.draw(st.integers(-len(shape), len(shape) - 1))
    holds("aten.softmax.int", [Slot(0), dim], (x,))
    holds("aten.log_softmax.int", [Slot(0), dim], (x,))


@some
@given(st.data(), any_shape(6))
def test_normalised_rows_of_any_shapes_and_strides_stay_inside(data, shape):
    row = list(shape[data.draw(st.integers(0, len(shape) - 1)) :])
    operands = tuple(data.draw(tensors(*sizes)) for sizes in (shape, row, row))
    holds("aten.layer_norm.default", [Slot(0), row, Slot(1), Slot(2), 1e-5], operands)
    holds("aten.rms_norm.default", [Slot(0), row, Slot(1), 1e-5], operands[:2])


@some
@given(st.data(), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2))
def test_normalised_channels_of_any_shapes_and_strides_stay_inside(data, batch, groups, width, rank):
    channels, spatial = groups * width, data.draw(shapes(rank, 5))
    x, w, b, mean, variance = (
        data.draw(tensors(*sizes)) for sizes in ((batch, channels, *spatial), *[(channels,)] * 4)
    )
    if x.numel() > channels:  # as torch demands
        holds("aten.group_norm.default", [Slot(0), groups, Slot(1), Slot(2), 1e-5], (x, w, b))
    operands = x, w, b, mean, variance.abs()
    call = [*map(Slot, range(5)), 0.1, 1e-5]
    holds("aten._native_batch_norm_legit_no_training.default", call, operands)


@pytest.mark.parametrize("rank", [1, 2, 3])
@some
@given(data=st.data(), ceil=st.booleans(), counts=st.booleans())
def test_averages_of_any_windows_and_strides_stay_inside(rank, data, ceil, counts):
    draw = data.draw
    kernel, stride = (list(draw(shapes(rank, 3))) for _ in range(2))
    padding = [draw(st.integers(0, size // 2)) for size in kernel]
    spatial = [size + extra for size, extra in zip(kernel, draw(shapes(rank, 6)), strict=True)]
    x = draw(tensors(draw(st.integers(1, 2)), 3, *spatial))
    holds(f"aten.avg_pool{rank}d.default", [Slot(0), kernel, stride, padding, ceil, counts], (x,))
    holds(f"aten.adaptive_avg_pool{rank}d.default", [Slot(0), list(draw(shapes(rank, 6)))], (x,))


@some
@given(st.data(), shapes(2, 9), shapes(2, 20), st.booleans())
def test_interpolations_to_any_size_from_any_strides_stay_inside(data, spatial, size, corners):
    image, row = data.draw(tensors(2, 3, *spatial)), data.draw(tensors(2, 3, spatial[0]))
    holds("aten.upsample_bilinear2d.vec", [Slot(0), list(size), corners, None], (image,))
    holds("aten.upsample_linear1d.vec", [Slot(0), list(size[:1]), corners, None], (row,))


@some
@given(st.data(), shapes(4, 6), st.sampled_from(["plain", "causal", "masked"]))
def test_attention_of_any_shapes_and_strides_stays_inside(data, sizes, form):
    queries, keys, lanes, width = sizes
    shaped = ((queries, lanes), (keys, lanes), (keys, width))
    operands = tuple(data.draw(tensors(2, 3, *each)) for each in shaped)
    call: list = [*THREE, None, 0.0, form == "causal"]
    if form == "masked":
        call[3] = Slot(3)
        operands = *operands, data.draw(tensors(queries, keys, kinds=("normal", "offset", "zero")))
    holds("aten.scaled_dot_product_attention.default", call, operands)


@some
@given(st.data(), shapes(4, 20))
def test_matrix_products_of_any_shapes_and_strides_stay_inside(data, sizes):
    batch, rows, lanes, columns = sizes
    a, b, bias = (
        data.draw(tensors(*shape))
        for shape in ((batch, rows, lanes), (batch, lanes, columns), (batch, rows, columns))
    )
    found = holds("aten.bmm.default", TWO, (a, b))
    assert not (found.excess(flush(flush(a) @ flush(b))) > 1).any()
    holds("aten.mm.default", TWO, (a[0], b[0]))
    holds("aten.linear.default", THREE, (a, b[0].T, bias[0, 0]))
    scaled = data.draw(st.sampled_from([{}, {"alpha": 0.5, "beta": 2}, {"alpha": -3.7, "beta": 0}]))
    holds("aten.baddbmm.default", THREE, (bias, a, b), **scaled)


@some
@given(
    st.data(),
    st.integers(1, 3),
    st.booleans(),
    shapes(4, 3),
    shapes(3, 2),
)
def test_convolutions_of_any_geometry_and_strides_stay_inside(data, rank, transposed, sizes, steps):
    (batch, groups, inputs, outputs), (stride, dilation, padding) = sizes, steps
    channels = (groups * inputs, outputs) if transposed else (groups * outputs, inputs)
    kernel = data.draw(shapes(rank, 3))
    x = data.draw(tensors(batch, groups * inputs, *[7 - rank // 2] * rank))
    w, bias = data.draw(tensors(*channels, *kernel)), numbers("normal", groups * outputs)
    geometry = [[stride] * rank, [padding - 1] * rank, [dilation] * rank]
    holds("aten.convolution.default", [*THREE, *geometry, transposed, [0] * rank, groups], (x, w, bias))
