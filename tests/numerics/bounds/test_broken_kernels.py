"""Algorithms that are no sums of rounded products are caught by the bound."""

import torch

from benchmarks.substitutions import tf32
from tao.graph.literals import Slot
from tao.numerics.bounds import bound

SLOTS = [Slot(0), Slot(1)]


def convolution_excess(x, w, y) -> float:
    call = [*SLOTS, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1]
    return float(bound("aten.convolution.default", call, {}, (x, w))[0].excess(y).max())


def winograd(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """F(2x2, 3x3) without padding; even output sizes (Lavin and Gray, 2016)."""
    into = torch.tensor([[1.0, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
    kernel = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    out = torch.tensor([[1.0, 1, 1, 0], [0, 1, -1, -1]])
    tiles = into @ x.unfold(2, 4, 2).unfold(3, 4, 2) @ into.T
    products = torch.einsum("nchwij,ocij->nohwij", tiles, kernel @ w @ kernel.T)
    y = out @ products @ out.T
    return y.permute(0, 1, 2, 4, 3, 5).flatten(4, 5).flatten(2, 3)


def test_winograd_computes_the_convolution_but_leaves_the_bound():
    torch.manual_seed(0)
    x, w = torch.randn(1, 4, 18, 18), torch.randn(4, 4, 3, 3)
    # Every other pair of outputs has a large element in its tile that only the second one weighs.
    x[..., 2::4] *= 1e4
    w[..., 2] = 0
    y = winograd(x, w)
    assert (y - torch.conv2d(x, w)).abs().max() < 1e-5 * x.abs().max()
    assert convolution_excess(x, w, torch.conv2d(x, w)) <= 1
    assert convolution_excess(x, w, y) > 1


def test_a_convolution_by_fourier_transform_leaves_the_bound():
    torch.manual_seed(0)
    x, w = torch.randn(1, 1, 32, 32), torch.randn(1, 1, 3, 3)
    x[..., 0, 0] = 1e4
    spectrum = torch.fft.rfft2(x) * torch.fft.rfft2(w, s=(32, 32)).conj()
    y = torch.fft.irfft2(spectrum, s=(32, 32))[..., :30, :30]
    assert torch.allclose(y, torch.conv2d(x, w), atol=0.1)
    assert convolution_excess(x, w, y) > 1


def test_inputs_rounded_to_tf32_or_bfloat16_leave_the_bound():
    torch.manual_seed(0)
    a, b = torch.randn(256, 64), torch.randn(64, 256)
    found = bound("aten.mm.default", SLOTS, {}, (a, b))[0]
    assert not (found.excess(a @ b) > 1).any()
    assert float(found.excess(tf32(a) @ tf32(b)).max()) > 10
    assert float(found.excess(a.bfloat16().float() @ b.bfloat16().float()).max()) > 100


def test_strassen_leaves_the_bound():
    torch.manual_seed(0)
    a, b = torch.randn(64, 64), torch.randn(64, 64)
    a[:32, :32] *= 1e5
    (p, q), (r, s) = (half.chunk(2, 1) for half in a.chunk(2, 0))
    (t, v), (w, z) = (half.chunk(2, 1) for half in b.chunk(2, 0))
    m = [(p + s) @ (t + z), (r + s) @ t, p @ (v - z), s @ (w - t), (p + q) @ z]
    m += [(r - p) @ (t + v), (q - s) @ (w + z)]
    top = torch.cat([m[0] + m[3] - m[4] + m[6], m[2] + m[4]], 1)
    y = torch.cat([top, torch.cat([m[1] + m[3], m[0] - m[1] + m[2] + m[5]], 1)])
    assert torch.allclose(y, a @ b, atol=100)
    assert float(bound("aten.mm.default", SLOTS, {}, (a, b))[0].excess(y).max()) > 1


def test_an_exponential_of_half_the_precision_is_caught():
    torch.manual_seed(0)
    x = torch.randn(1000)
    y = x.exp() * (1 + 2.0**-20)
    assert (bound("aten.exp.default", [Slot(0)], {}, (x,))[0].excess(y) > 1).all()
