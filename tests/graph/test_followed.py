"""Calls that a kernel computes otherwise than a contract would read their record are left to the vote, or refused."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from tao.errors import ModelError
from tao.graph import Graph, export
from tao.graph.attributes import float32_number


class Call(nn.Module):
    def __init__(self, function, *parts: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, x):
        return self.function(x, *self.parts)


def is_followed(function, x: torch.Tensor, *parts: nn.Module) -> bool:
    """Whether the last operator's operands have maps."""
    graph, _ = export(Call(function, *parts).eval(), (x,))
    return None not in graph.nodes[-1].maps


def interpolated(**kwargs):
    return lambda x: nn.functional.interpolate(x, mode="nearest", **kwargs)


IMAGE = torch.randn(1, 2, 3, 3)


def test_a_convolution_of_an_input_without_a_batch_is_not_read_as_one_of_lower_rank():
    convolve = nn.Conv2d(1, 4, (1, 3), bias=False)
    assert is_followed(lambda x, c: c(x), torch.randn(1, 1, 5, 7), convolve)
    assert not is_followed(lambda x, c: c(x), torch.randn(1, 5, 7), convolve)


def test_upsampling_is_followed_only_where_kernels_read_the_place_of_the_factor():
    for kwargs in ({"scale_factor": 3}, {"scale_factor": 2.0}, {"size": (6, 9)}):
        assert is_followed(interpolated(**kwargs), IMAGE)
    assert not is_followed(
        interpolated(scale_factor=3.2), IMAGE
    )  # 9 places, of which each ninth is another's


@pytest.mark.parametrize("factor", [*range(1, 10), 41, 47, 55, 61, 82, 83, 94, 97])
def test_a_factor_is_followed_only_where_the_kernel_repeats_each_place(factor):
    x = torch.arange(3.0).reshape(1, 1, 3, 1)
    y = torch.ops.aten.upsample_nearest2d(x, [3 * factor, 1])
    repeats = torch.equal(y.flatten(), x.flatten().repeat_interleave(factor))
    followed = is_followed(interpolated(size=(3 * factor, 1)), x)
    assert repeats or not followed
    assert followed or factor > 40


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.add(x, x.T, alpha=1e-60),
        lambda x: torch.sub(x, x.T, alpha=1e-60),
        lambda x: x * 1e-60,
        lambda x: x.clamp(min=float("nan"), max=1.0),
        lambda x: x.long() > float(2**24),
        lambda x: x.long() == -float(2**24),
        lambda x: x.long() == 2**40,
    ],
)
def test_a_number_that_no_word_says_leaves_the_call_to_the_vote(function):
    assert not is_followed(function, torch.randn(3, 3))


def test_integers_are_rounded_to_float32_once_as_kernels_round_them():
    number = 2**60 + 2**36 + 1
    assert float32_number(number) == 2.0**60 + 2.0**37
    assert torch.zeros(1).clamp(min=number).item() == float32_number(number)
    assert float32_number(-number) == -float32_number(number) and float32_number(2**24 + 1) == 2.0**24


def test_an_epsilon_of_zero_is_not_the_default_one():
    x = torch.randn(2, 8)
    records = [export(nn.RMSNorm(8, eps=eps), (x,))[0].nodes[-1].attributes for eps in (0.0, None, 2.0**-23)]
    assert records[0] == (0,) and records[1] == records[2] != records[0]


def changed(module: nn.Module, x: torch.Tensor, change) -> Graph:
    """The module's graph, after a change of the last node in its file."""
    content = json.loads(export(module.eval(), (x,))[0].to_json())
    change(content["graph"]["nodes"][-1], content["graph"])
    return Graph.from_json(json.dumps(content).encode())


def test_a_group_norm_told_of_another_shape_than_its_inputs_is_not_followed():
    x = torch.randn(2, 4, 8)
    for shape, followed in (((2, 4, 8), True), ((4, 4, 4), False), ((2, 8, 4), False)):
        assert (
            is_followed(lambda x, s=shape: torch.native_group_norm(x, None, None, *s, 2, 1e-5)[0], x)
            is followed
        )


def test_a_batch_norm_with_other_than_a_number_for_each_channel_is_refused():
    def row(node, graph):
        node["operands"][1][1:] = [[1, 4], [0, 1], 0]

    x = torch.randn(2, 4, 3)
    with pytest.raises(ModelError, match="one number for each channel"):
        changed(nn.BatchNorm1d(4), x, row)
