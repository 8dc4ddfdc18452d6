"""Sums of products: matrix products and convolutions of every form, and attention, which is made of them."""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.cases.case import THREE, TWO, Case
from benchmarks.kernels import KINDS, convolved, draw, flush, fused, online_attention, spread_out, sums
from tao.graph.literals import Slot
from tao.graph.operators import resolve

SCALES = ((1, 1), (0.5, 2), (-3.7, 0))
"""alpha and beta."""


def _factors(kind: str) -> tuple[str, str]:
    """Kinds of two factors whose products stay finite."""
    return kind, "normal" if kind in ("huge", "outlier") else kind


def _products(a: Tensor, b: Tensor) -> list[Tensor]:
    """a b^T over the last dimension by every schedule."""
    x, y = a[..., :, None, :], b[..., None, :, :]
    return [*sums(x * y), *sums(flush(flush(x) * flush(y))), fused(x, y)]


def contractions() -> Iterator[Case]:
    for kind in KINDS:
        n = int(torch.randint(1, 80, ()))
        first, second = _factors(kind)
        a, b = draw(first, 400, n), draw(second, 400, n)
        operands = a[:, None], b[..., None]
        results = [*_products(a[:, None], b[:, None]), torch.bmm(*operands)]
        yield "aten.bmm.default", TWO, {}, operands, results
        x, w, bias = draw(kind, 64, n), torch.randn(48, n), draw(kind, 48)
        yield "aten.linear.default", THREE, {}, (x, w, bias), [torch.nn.functional.linear(x, w, bias)]
        yield from products(kind)
    yield from convolutions()
    yield from convolutions_of_every_rank()


def products(kind: str) -> Iterator[Case]:
    """The forms of a matrix product beside batches."""
    n = int(torch.randint(1, 60, ()))
    first, second = _factors(kind)
    a, b = draw(first, 7, n), draw(second, 9, n)
    results = [a @ b.T, *_products(a, b)]
    yield "aten.mm.default", TWO, {}, (a, b.T), results
    yield "aten.matmul.default", TWO, {}, (a.expand(3, -1, -1), b.T), [y.expand(3, -1, -1) for y in results]
    yield "aten.mv.default", TWO, {}, (a, b[0]), [torch.mv(a, b[0]), *(y[:, 0] for y in results)]
    yield "aten.dot.default", TWO, {}, (a[0], b[0]), [torch.dot(a[0], b[0]), *(y[0, 0] for y in results)]
    yield "aten.outer.default", TWO, {}, (a[0], b[0]), [torch.outer(a[0], b[0]), flush(a[0][:, None] * b[0])]
    addend = draw(kind, 7, 9)
    for alpha, beta in SCALES:
        scaled = {"alpha": alpha, "beta": beta}
        by_hand = [beta * addend + alpha * y for y in results]
        by_hand.append(beta * addend + (alpha * a) @ b.T)
        found = [torch.addmm(addend, a, b.T, **scaled), *by_hand]
        yield "aten.addmm.default", THREE, scaled, (addend, a, b.T), found
        batches = addend[None], a[None], b.T[None]
        found = [torch.baddbmm(*batches, **scaled), *(y[None] for y in by_hand)]
        yield "aten.baddbmm.default", THREE, scaled, batches, found


def convolutions() -> Iterator[Case]:
    for groups, channels in ((1, 6), (2, 8), (8, 8)):
        for dilation, stride in ((1, 1), (2, 1), (1, 2)):
            for kind in KINDS:
                x, w = draw(kind, 1, channels, 20, 20), torch.randn(8, channels // groups, 3, 3)
                arguments = [None, [stride] * 2, [1, 1], [dilation] * 2]
                results = [
                    torch.conv2d(y, w, *arguments, groups)
                    for y in (x, x.to(memory_format=torch.channels_last))
                ]
                call = [Slot(0), Slot(1), *arguments, False, [0, 0], groups]
                yield "aten.convolution.default", call, {}, (x, w), results


def convolutions_of_every_rank() -> Iterator[Case]:
    """Along one, two and three dimensions, and transposed."""
    for rank in (1, 2, 3):
        stride, ones, zeros = [2] * rank, [1] * rank, [0] * rank
        for kind in KINDS:
            x, bias = draw(kind, 2, 4, *[5] * rank), torch.randn(6)
            w = torch.randn(6, 2, *[3] * rank)
            call = [*THREE, stride, ones, ones, 2]
            target = f"aten.conv{rank}d.default"
            results = [resolve(target)(x, w, bias, *call[3:]), *convolved(x, w, bias, stride, ones, 2)]
            yield target, call, {}, (x, w, bias), results
            w = torch.randn(4, 3, *[3] * rank)
            call = [*THREE, stride, ones, zeros, 2, ones]
            target = f"aten.conv_transpose{rank}d.{'input' if rank > 1 else 'default'}"
            results = [resolve(target)(x, w, bias, *call[3:])]
            # The transposed one is the convolution of the inputs with zeros in between, by the mirrored kernel.
            mirrored = w.unflatten(0, (2, 2)).transpose(1, 2).flatten(0, 1).flip(*range(2, rank + 2))
            results += convolved(spread_out(x, stride), mirrored, bias, ones, ones, 2)
            yield target, call, {}, (x, w, bias), results


def attentions() -> Iterator[Case]:
    attend = torch.nn.functional.scaled_dot_product_attention
    backend = torch.nn.attention.SDPBackend
    for scale in (0.3, 1.0, 4.0):
        for kind in ("normal", "equal", "cancelling", "offset", "zero"):
            q, k, v = draw(kind, 1, 2, 40, 16) * scale, draw("normal", 1, 2, 40, 16), draw(kind, 1, 2, 40, 16)
            for causal in (False, True):
                results = []
                for kernel in (backend.MATH, backend.FLASH_ATTENTION):
                    with torch.nn.attention.sdpa_kernel(kernel):
                        results.append(attend(q, k, v, is_causal=causal))
                if not causal:
                    results.append(online_attention(q, k, v))
                call = [*THREE, None, 0.0, causal]
                yield "aten.scaled_dot_product_attention.default", call, {}, (q, k, v), results
