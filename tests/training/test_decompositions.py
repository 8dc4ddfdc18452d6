"""Each decomposition and its gradient agree with ATen's, in double precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tao.errors import UnsupportedOperator
from tao.training import describe, trace_step
from training.cases import SEED, graph_steps

INDEX = torch.tensor([[3, 0, 2], [3, 3, 1]])
CLASSES = torch.tensor([1, 4, -100, 0, 2, 1])
MASK = torch.ones(5, 5).tril().bool()


def k3(x: Tensor) -> Tensor:
    return torch.linspace(-1, 1, 8 * 4 * 3 * 3).reshape(8, 4, 3, 3).to(x.dtype)


def k2(x: Tensor) -> Tensor:
    return torch.linspace(-1, 1, 24).reshape(3, 4, 2).to(x.dtype)


FUNCTIONS: dict[str, tuple[tuple[int, ...], Callable[[Tensor], Tensor]]] = {
    "gelu": ((5, 7), F.gelu),
    "gelu_tanh": ((5, 7), lambda x: F.gelu(x, approximate="tanh")),
    "silu": ((5, 7), F.silu),
    "relu": ((5, 7), F.relu),
    "relu_in_place": ((5, 7), lambda x: F.relu_(x * 2)),
    "leaky_relu": ((5, 7), F.leaky_relu),
    "elu": ((5, 7), lambda x: F.elu(x, 0.7)),
    "softplus": ((5, 7), lambda x: F.softplus(x, 2.0, 1.0)),
    "hardtanh": ((5, 7), F.hardtanh),
    "hardswish": ((5, 7), F.hardswish),
    "hardsigmoid": ((5, 7), F.hardsigmoid),
    "sigmoid": ((5, 7), torch.sigmoid),
    "logsigmoid": ((5, 7), F.logsigmoid),
    "tanh": ((5, 7), torch.tanh),
    "erf": ((5, 7), torch.erf),
    "sin_cos": ((5, 7), lambda x: x.sin() * x.cos()),
    "exp_log": ((5, 7), lambda x: (x.exp() + 1).log() + torch.log1p(x * x) + torch.expm1(x)),
    "powers": ((5, 7), lambda x: x**3 + x**2 * 0.5 + (x * x + 1) ** -1 + (x * x + 1) ** 0.5 + 3.0**x),
    "rsqrt": ((5, 7), lambda x: torch.rsqrt(x * x + 0.5)),
    "division": ((5, 7), lambda x: 3 / (x * x + 1) - x / 7 + (1 - x)),
    "scaled_sums": ((5, 7), lambda x: torch.add(x, x * x, alpha=3) - torch.sub(x, x.exp(), alpha=0.5)),
    "absolute_and_limits": ((5, 7), lambda x: x.abs() + x.clamp(-0.5, 0.7) + torch.maximum(x, -x / 3)),
    "addcmul": ((5, 7), lambda x: torch.addcmul(x, x, x.exp(), value=0.3) + torch.lerp(x, x * x, 0.2)),
    "integers_meet_floats": ((5, 7), lambda x: x * torch.arange(7) + torch.arange(5)[:, None] / 3),
    "softmax": ((3, 4, 5), lambda x: F.softmax(x, -1)),
    "softmax_of_the_first": ((3, 4, 5), lambda x: F.softmax(x, 0)),
    "log_softmax": ((3, 4, 5), lambda x: F.log_softmax(x, 1)),
    "logsumexp": ((3, 4, 5), lambda x: torch.logsumexp(x, (1,))),
    "masked": ((5, 5), lambda x: F.softmax(x.masked_fill(~MASK, float("-inf")), -1)),
    "means": ((3, 4, 5), lambda x: x.mean() + x.mean(1).sum() * x.sum((0, 2)) + x.mean((0, 2))),
    "variances": ((3, 4, 5), lambda x: x.var(1) + x.std(1, unbiased=False)),
    "norm": ((3, 4, 5), lambda x: torch.linalg.vector_norm(x, dim=1)),
    "layer_norm": ((3, 4, 5), lambda x: F.layer_norm(x, (4, 5), x[0] * 2, x[1])),
    "layer_norm_plain": ((3, 4, 5), lambda x: F.layer_norm(x, (5,))),
    "group_norm": ((3, 4, 2, 5), lambda x: F.group_norm(x, 2, x[0, :, 0, 0], x[1, :, 0, 0])),
    "batch_norm": ((3, 4, 2, 5), lambda x: F.batch_norm(x, None, None, x[0, :, 0, 0], training=True)),
    "batch_norm_fixed": ((3, 4, 5), lambda x: F.batch_norm(x, torch.ones(4) / 3, torch.ones(4) * 2)),
    "conv2d": ((2, 4, 7, 6), lambda x: F.conv2d(x, k3(x) * x.mean(), x[0, 0, :2].flatten()[:8])),
    "conv2d_strided": ((2, 4, 9, 8), lambda x: F.conv2d(x, k3(x) + x.mean(), None, (2, 3), (1, 2), (2, 1))),
    "conv2d_pointwise": ((2, 4, 7, 6), lambda x: F.conv2d(x, k3(x)[:, :, :1, :1] * x.mean(), None, 2, 1)),
    "conv2d_same": ((2, 4, 7, 6), lambda x: F.conv2d(x, k3(x) * x[0, 0, 0, 0], padding="same")),
    "conv2d_grouped": ((2, 8, 7, 6), lambda x: F.conv2d(x, k3(x)[:, :2] + x.mean(), None, 2, 1, 1, 4)),
    "conv2d_depthwise": ((2, 8, 7, 6), lambda x: F.conv2d(x, k3(x)[:, :1] * x.mean(), x[0, :, 0, 0], 1, 1, 2, 8)),
    "conv2d_grouped_pointwise": (
        (2, 8, 7, 6), lambda x: F.conv2d(x, k3(x)[:, :, :1, :1] * x.mean(), None, 2, 1, 1, 2)
    ),
    "transposed": ((2, 8, 4, 5), lambda x: F.conv_transpose2d(x, k3(x) * x.mean(), x[0, :4, 0, 0], 2, 1, 1)),
    "transposed_grouped": ((2, 8, 4, 5), lambda x: F.conv_transpose2d(
        x, k3(x) + x.mean(), None, (3, 1), (1, 2), (1, 0), 2, (1, 2))),
    "transposed_pointwise": (
        (2, 8, 4, 5), lambda x: F.conv_transpose2d(x, k3(x)[:, :, :1, :1] * x.mean(), None, 2, 0, 1)
    ),
    "transposed_padded_beyond_its_stride": ((2, 8, 4, 5), lambda x: F.conv_transpose2d(
        x, k3(x) * x.mean(), None, 1, 1, 1, 1, 2)),
    "transposed_1d": ((2, 3, 9), lambda x: F.conv_transpose1d(x, k2(x) * x.mean(), None, 2, 1)),
    "conv1d": ((2, 4, 9), lambda x: F.conv1d(x, k2(x) * x.mean(), None, 2, 1)),
    "max_pool": ((2, 3, 8, 9), lambda x: F.max_pool2d(x, 3, 2, 1)),
    "max_pool_of_ties": ((2, 3, 8, 9), lambda x: F.max_pool2d((x > 0) * x, 2, 1, dilation=2)),
    "max_pool_indices": ((2, 3, 8, 9), lambda x: F.max_pool2d(x, 3, return_indices=True)[1] * x.mean()),
    "avg_pool": ((2, 3, 8, 9), lambda x: F.avg_pool2d(x, 3, 2, 1)),
    "adaptive_avg_pool": ((2, 3, 8, 9), lambda x: F.adaptive_avg_pool2d(x, (4, 3))),
    "adaptive_avg_pool_to_one": ((2, 3, 8, 9), lambda x: F.adaptive_avg_pool2d(x, 1)),
    "embedding": ((4, 5), lambda x: F.embedding(INDEX, x)),
    "embedding_with_padding": ((4, 5), lambda x: F.embedding(INDEX, x, padding_idx=3)),
    "rows": ((4, 5), lambda x: x[INDEX]),
    "slices": ((7, 6), lambda x: x[1:6:2, :4] * x[2, :4] + x[:3, 2:]),
    "views": ((4, 6), lambda x: x.t().reshape(3, 8).unsqueeze(1).expand(3, 2, 8).permute(2, 0, 1)),
    "joins": ((4, 6), lambda x: torch.cat([x, x * 2], 1).chunk(3, 1)[1] + torch.stack([x, x]).sum(0)[:, :4]),
    "pads": ((4, 6), lambda x: F.pad(x, (1, -2, 0, 3), value=0.5)),
    "triangles": ((5, 5), lambda x: x.tril() * 2 - x.triu(1)),
    "where": ((5, 7), lambda x: torch.where(x > 0, x * 2, x.exp())),
    "products": ((4, 4), lambda x: x @ x.t() + x @ x[0] + torch.addmm(x, x, x, beta=0.5, alpha=2.0)),
    "batched_products": ((3, 4, 5), lambda x: torch.einsum("bij,bkj->bik", x, x) + torch.baddbmm(
        x[:, :, :4], x, x.transpose(1, 2))),
    "cross_entropy": ((6, 5), lambda x: F.cross_entropy(x, CLASSES)),
    "cross_entropy_sum": ((6, 5), lambda x: F.cross_entropy(x, CLASSES, reduction="sum")),
    "cross_entropy_smooth": ((6, 5), lambda x: F.cross_entropy(x, CLASSES.abs() % 5, label_smoothing=0.1)),
    "cross_entropy_weighted": ((6, 5), lambda x: F.cross_entropy(x, CLASSES, torch.arange(5) / 3.0)),
    "mse": ((6, 5), lambda x: F.mse_loss(x, x.detach() + 2) + F.mse_loss(x, x * x)),
    "l1": ((6, 5), lambda x: F.l1_loss(x, torch.ones(6, 5))),
    "binary_cross_entropy": ((6, 5), lambda x: F.binary_cross_entropy_with_logits(x, torch.ones(6, 5) / 3)),
    "attention": ((2, 2, 5, 4), lambda x: F.scaled_dot_product_attention(x, x * 2, x, is_causal=True)),
}  # fmt: skip


class Applied(nn.Module):
    """A function of a parameter, summed with weights that tell its elements apart."""

    def __init__(self, shape: tuple[int, ...], function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.x, self.function = nn.Parameter(torch.randn(shape)), function

    def forward(self) -> Tensor:
        result = self.function(self.x)
        weights = torch.arange(1, result.numel() + 1, dtype=torch.float32).reshape(result.shape)
        return (result * weights / result.numel()).sum()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients_agree(name: str) -> None:
    module = Applied(*FUNCTIONS[name])
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    step_graph = trace_step(
        module, lambda m, x: m() + x.sum() * 0, describe(optimizer), (torch.zeros(2, 1),), 1, log_capacity=4
    )
    state = step_graph.pack(module, optimizer, SEED)
    after, losses = graph_steps(step_graph, state, 1, torch.float64)
    torch.set_default_dtype(torch.float64)
    try:
        reference = Applied(*FUNCTIONS[name])
        with torch.no_grad():
            reference.x.copy_(module.x)
        loss = reference.double()()
        (gradient,) = torch.autograd.grad(loss, [reference.x])
    finally:
        torch.set_default_dtype(torch.float32)
    assert losses == pytest.approx([float(loss)], rel=1e-6, abs=1e-6)
    moved = (state[2].double() - after[2]).reshape(-1)
    expected = gradient.reshape(-1)
    assert float((moved - expected).abs().max()) <= 1e-6 * max(1.0, float(expected.abs().max()))
    assert float(expected.abs().max()) > 0


REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "cumsum": (lambda x: x.cumsum(1), r"aten\.cumsum\.default in module block\.inner: "),
    "double": (lambda x: x.double().sum(), r"in module block\.inner: a training step cannot hold float64"),
    "random": (lambda x: x + torch.rand(4), r"aten\.rand\.default in module block\.inner: .*random"),
    "items": (lambda x: x * x.sum().item(), r"block\.inner"),
    "unbatched": (
        lambda x: F.max_pool2d(x[None], 2),
        r"aten\.max_pool2d_with_indices\.default in module block\.inner: .* it is none of these",
    ),
    "sorted": (lambda x: x.sort().values, r"aten\.sort\..* in module block\.inner: "),
    "roots": (lambda x: x.abs() ** 0.3, r"aten\.pow\.Tensor_Scalar in module block\.inner: "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_traced_is_named_with_its_module(name: str) -> None:
    function, message = REFUSED[name]

    class Inner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Module()
            self.block.inner, self.first = Inner(), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.block.inner(self.first(x)).sum().float()

    module = Outer()
    optimizer = describe(torch.optim.SGD(module.parameters(), lr=0.1))
    with pytest.raises(UnsupportedOperator, match=message):
        trace_step(module, lambda m, x: m(x), optimizer, (torch.ones(8, 4),), 4)
