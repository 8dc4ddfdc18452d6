"""Numbers of a call reach the node record as float32 words, however the module writes them."""

from __future__ import annotations

import struct

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from graph.records import parse
from tao.graph import export
from tao.graph.attributes import float32_word


class Call(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def words(*numbers: float) -> tuple[int, ...]:
    return tuple(struct.unpack(">I", struct.pack(">f", number))[0] for number in numbers)


@pytest.mark.parametrize(
    ("function", "operator", "numbers"),
    [
        (lambda x: x + 0.3, "aten.add.Scalar", (0.3, 1.0)),
        (lambda x: torch.add(x, 2, alpha=-1.5), "aten.add.Scalar", (2.0, -1.5)),
        (lambda x: torch.add(x, x.T, alpha=0.1), "aten.add.Tensor", (0.1,)),
        (lambda x: x - x.T, "aten.sub.Tensor", (1.0,)),
        (lambda x: 3 - x, "aten.rsub.Scalar", (3.0, 1.0)),
        (lambda x: x * 0.125, "aten.mul.Scalar", (0.125,)),
        (lambda x: x * x.T, "aten.mul.Tensor", ()),
        (lambda x: x / 7, "aten.div.Scalar", (7.0,)),
        (lambda x: x.pow(3), "aten.pow.Tensor_Scalar", (3.0,)),
        (lambda x: functional.leaky_relu(x), "aten.leaky_relu.default", (0.01,)),
        (lambda x: functional.gelu(x), "aten.gelu.default", (0.0,)),
        (lambda x: functional.gelu(x, approximate="tanh"), "aten.gelu.default", (1.0,)),
        (lambda x: x.tanh(), "aten.tanh.default", ()),
    ],
)
def test_a_call_is_named_by_its_form_and_carries_its_numbers(function, operator, numbers) -> None:
    graph, _ = export(Call(function), (torch.randn(3, 3),))
    node, record = graph.nodes[-1], parse(graph.record(len(graph) - 1))
    assert (node.operator, record.attributes) == (operator, words(*numbers))
    assert type(graph).from_json(graph.to_json()) == graph


def test_a_number_beyond_float32_is_an_infinity() -> None:
    assert float32_word(1e300) == 0x7F800000
    assert float32_word(-1e300) == 0xFF800000
    assert float32_word(0.1) == 0x3DCCCCCD


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * 1e-60,
        lambda x: torch.add(x, x.T, alpha=1e-60),
        lambda x: x.clamp(min=float("nan"), max=1.0),
        lambda n: n.long() == float("inf"),
        lambda n: n.long() == 2**40,
    ],
)
def test_a_number_that_no_word_says_leaves_the_call_without_attributes(function) -> None:
    graph, _ = export(Call(function), (torch.randn(3, 3),))
    assert parse(graph.record(len(graph) - 1)).attributes == ()
