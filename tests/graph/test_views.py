"""Views: chains of torch's view operators as strided maps, and the strides they have in other layouts."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tao.execution.layout import lay_out, view_operand
from tao.graph.canonical import Operand
from tao.graph.views import View, apply, physical, row_major, same_layout

Step = Callable[[Tensor], Tensor]
SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def factorisation(draw: st.DrawFn, numel: int) -> list[int]:
    sizes = []
    while numel > 1 and len(sizes) < 4:
        divisor = draw(st.sampled_from([d for d in range(1, numel + 1) if numel % d == 0]))
        sizes.append(divisor)
        numel //= divisor
    return [*sizes, numel]


@st.composite
def view_step(draw: st.DrawFn, shape: tuple[int, ...]) -> Step:
    """One view operator that torch accepts for the shape, though not for every layout."""
    rank = len(shape)
    dim = draw(st.integers(0, rank - 1)) if rank else 0
    kinds = ["unsqueeze", "view", "expand"]
    kinds += ["permute", "slice", "select", "squeeze", "split"] if rank else []
    match draw(st.sampled_from(kinds)):
        case "unsqueeze":
            return lambda t: t.unsqueeze(dim)
        case "view":
            sizes = factorisation(draw, math.prod(shape))
            return lambda t: t.view(sizes)
        case "expand":
            repeats = draw(st.integers(1, 2))
            sizes = [repeats, *(n if n > 1 else draw(st.integers(1, 2)) for n in shape)]
            return lambda t: t.expand(sizes)
        case "permute":
            order = draw(st.permutations(range(rank)))
            return lambda t: t.permute(order)
        case "slice":
            start, step = draw(st.integers(0, shape[dim] - 1)), draw(st.integers(1, 2))
            return lambda t: torch.ops.aten.slice.Tensor(t, dim, start, shape[dim], step)
        case "select":
            index = draw(st.integers(0, shape[dim] - 1))
            return lambda t: t.select(dim, index)
        case "squeeze":
            return lambda t: t.squeeze(dim)
        case _:
            size = draw(st.integers(1, shape[dim]))
            return lambda t: t.split(size, dim)[-1]


@st.composite
def chains(draw: st.DrawFn) -> tuple[Tensor, Tensor, View]:
    """A contiguous tensor, a view of it by a chain of torch's operators, and the View found for the chain."""
    shape = draw(SHAPES)
    base = torch.arange(math.prod(shape)).reshape(shape)
    tensor, view = base, View.whole(shape)
    for _ in range(draw(st.integers(0, 6))):
        step = draw(view_step(tuple(tensor.shape)))
        found = apply(step, view, base.dtype, base.numel())
        if found is None:  # then memory in the same order has no such view either
            try:
                step(tensor)
            except RuntimeError:
                continue
            raise AssertionError("torch has a view that was not found")
        tensor, (view,) = step(tensor), found
    return base, tensor, view


@given(chains())
def test_chain_of_views_is_one_strided_map(chain: tuple[Tensor, Tensor, View]) -> None:
    base, tensor, view = chain
    assert torch.equal(base.as_strided(view.shape, view.strides, view.offset), tensor)
    assert view.last == tensor.max()
    assert all(s == 0 for n, s in zip(view.shape, view.strides, strict=True) if n == 1)


@given(chains())
def test_view_covers_in_order_iff_it_reads_everything_in_row_major_order(
    chain: tuple[Tensor, Tensor, View],
) -> None:
    base, tensor, view = chain
    assert view.covers_in_order(base.numel()) == (tensor.flatten().tolist() == list(range(base.numel())))


@st.composite
def laid_out_chains(draw: st.DrawFn) -> tuple[Tensor, Tensor, View]:
    """As `chains`, with the base laid out in memory in another order of dimensions, perhaps with gaps."""
    base, tensor, view = draw(chains())
    order = draw(st.permutations(range(base.dim())))
    padded = torch.empty([base.shape[d] + draw(st.integers(0, 1)) for d in order], dtype=base.dtype)
    for position, d in enumerate(order):
        padded = padded.narrow(position, padded.shape[position] - base.shape[d], base.shape[d])
    memory = padded.permute([order.index(d) for d in range(base.dim())]).copy_(base)
    return memory, tensor, view


@given(laid_out_chains())
def test_operand_is_the_view_whatever_the_layout_of_its_value(chain: tuple[Tensor, Tensor, View]) -> None:
    memory, tensor, view = chain
    place = physical(tuple(memory.shape), memory.stride(), view)
    for hint in (None, row_major(view.shape), place and place[0]):
        operand = view_operand(memory, Operand(0, view, hint))
        assert torch.equal(operand, tensor)
        if hint is not None:
            assert operand.stride() == hint or 0 in hint
    if place is not None:
        shared = memory.as_strided(view.shape, place[0], memory.storage_offset() + place[1])
        assert torch.equal(shared, tensor)


@given(chains())
def test_every_view_of_row_major_memory_shares_it(chain: tuple[Tensor, Tensor, View]) -> None:
    base, _, view = chain
    place = physical(tuple(base.shape), base.stride(), view)
    assert place is not None
    assert place[1] == view.offset and same_layout(view.shape, place[0], view.strides)


@given(SHAPES, st.data())
def test_lay_out_changes_the_place_of_elements_and_never_their_value(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    tensor = torch.randn(shape)
    strides = tuple(data.draw(st.lists(st.integers(0, 40), min_size=len(shape), max_size=len(shape))))
    assert torch.equal(lay_out(tensor, strides), tensor)


def test_lay_out_repeats_memory_only_for_elements_equal_in_every_bit() -> None:
    zeros = torch.zeros(2, 3)
    assert lay_out(zeros, (0, 1)).stride() == (0, 1)
    signed = torch.tensor([[0.0, 1.0], [-0.0, 1.0]])
    assert lay_out(signed, (0, 1)).stride() == (2, 1)
    nan = torch.full((2, 2), float("nan"))
    assert lay_out(nan, (0, 1)).stride() == (0, 1)


def test_lay_out_leaves_a_tensor_alone_that_is_already_so() -> None:
    tensor = torch.randn(3, 4).t()
    assert lay_out(tensor, (1, 4)) is tensor
