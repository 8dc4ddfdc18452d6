"""Rows, windows, movement and exact results of traced modules, decided by the contracts on their tensors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from proofs.test_proofs import changed, leaf
from tao.execution import capture
from tao.model import trace
from tao.proofs import ADJUDICATED, element_proof, find_refutable_element
from tao.proofs.search import EXACT


class Vision(nn.Module):
    """Convolutions in both layouts, strided, padded, grouped and depthwise; norms and pools of images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False)
        self.batch = nn.BatchNorm2d(8)
        self.wide = nn.Conv2d(8, 12, 3, padding=1)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=2, dilation=2, groups=12)
        self.grouped = nn.Conv2d(12, 6, 1, groups=3)
        self.group = nn.GroupNorm(2, 6)
        self.line = nn.Conv1d(6, 5, 3, padding=1, stride=2)
        self.batch.running_mean.uniform_(-1, 1)
        self.batch.running_var.uniform_(0.5, 2)

    def forward(self, image: Tensor) -> Tensor:
        x = functional.hardtanh(self.batch(self.stem(image)), 0.0, 1.5)
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        x = functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        x = functional.interpolate(x, scale_factor=2.0, mode="bilinear")
        x = self.group(self.grouped(self.depthwise(self.wide(x))))
        x = functional.pad(x, (1, 0, 0, 2), value=0.5)
        x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        y = self.line(x.flatten(2))
        z = functional.adaptive_avg_pool2d(x, (3, 5)).amin((2, 3))
        return torch.cat([functional.adaptive_avg_pool2d(x, 1).flatten(1), z, y.mean((1, 2))[:, None]], 1)


class Language(nn.Module):
    """Lookups, masks, softmax, layer and RMS norms, reductions and casts of a language model."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.norm = nn.Embedding(13, 24), nn.LayerNorm(24)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.norm(self.words(ids))
        x = x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt()
        scores = x @ x.transpose(-1, -2)
        places = torch.arange(ids.shape[1])
        mask = (ids[:, None, :] != 0) & (places[:, None] >= places[None, :])
        weights = torch.where(mask, scores, -3.4e38).softmax(-1)
        mixed = functional.log_softmax((weights @ x).masked_fill(ids[..., None] == 1, 0.25), -1)
        length = mask.to(torch.float32).sum(-1).clamp(min=1.0)
        picked = mixed.gather(2, ids[..., None] % 1) + mixed[:, places, places][..., None]
        tokens = mixed.argmax(-1).to(torch.float32) + scores.min(1)[1].to(torch.float32)
        running = picked[..., 0].cumsum(1) + tokens + mixed.min()
        return torch.maximum(running / length, torch.linalg.vector_norm(mixed, dim=-1)) + mixed.max(-1)[0]


MODULES = {
    "vision": (Vision, lambda: (torch.randn(2, 3, 18, 20),)),
    "language": (Language, lambda: (torch.randint(0, 13, (2, 6)),)),
}


@pytest.fixture(scope="module", params=MODULES)
def model(request):
    torch.manual_seed(5)
    module, inputs = MODULES[request.param]
    inputs = inputs()
    bundle = trace(module(), inputs)
    return bundle, capture(bundle.graph, bundle.parameters, inputs, range(len(bundle.graph) + 1))


def decided(model) -> list[int]:
    return [i for i, node in enumerate(model[0].graph.nodes) if node.operator in ADJUDICATED]


def test_nearly_every_operator_can_be_decided(model):
    nodes = model[0].graph.nodes
    others = {node.operator for node in nodes if node.operator not in ADJUDICATED or None in node.maps}
    assert others <= {"aten.remainder.Scalar"}


def test_an_honest_run_has_nothing_to_refute(model, refutes):
    for index in decided(model):
        case = leaf(model, index)
        assert find_refutable_element(*case) is None, case[0].graph.names[index]
        size = case[3][0].numel()
        for element in {0, size // 3, size - 1}:
            assert not refutes(*case, element_proof(*case, element)), case[0].graph.names[index]


def test_a_wrong_element_is_found_and_refuted(model, refutes):
    for index in decided(model):
        case = leaf(model, index)
        output = case[3][0]
        for element in {0, output.numel() // 2, output.numel() - 1}:
            honest = output.view(-1)[element]
            if output.dtype == torch.bool:
                value = not honest
            else:
                value = float(honest) * 1.01 + (0.125 if output.is_floating_point() else 1)
            wrong = changed(case, element, value)
            name = case[0].graph.names[index]
            assert find_refutable_element(*wrong) == element, name
            assert refutes(*wrong, element_proof(*wrong, element)), name


def test_the_next_number_is_refuted_where_results_are_exact_and_not_where_sums_round(model, refutes):
    sums = ("contraction", "conv", "softmax", "norm", "mean")
    seen = set()
    for index in decided(model):
        case = leaf(model, index)
        output, operator = case[3][0], case[0].graph.nodes[index].operator
        is_sum = any(word in operator for word in sums)
        if output.dtype != torch.float32 or not (is_sum or operator in EXACT):
            continue
        element = int(output.abs().flatten().argmax())
        next_one = float(torch.nextafter(output.view(-1)[element], torch.tensor(torch.inf)))
        wrong = changed(case, element, next_one)
        assert refutes(*wrong, element_proof(*wrong, element)) == (operator in EXACT), operator
        seen.add(operator in EXACT)
    assert seen == {True, False}
