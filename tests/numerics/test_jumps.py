"""Operators whose results jump, and the choices that a replay takes over from another."""

import math

import torch
from torch import Tensor, nn

from tao.model import trace
from tao.numerics.jumps import differ, held, jumping


class Choosing(nn.Module):
    """Every second operator jumps, and the last one is a choice of integers."""

    def forward(self, x: Tensor, index: Tensor) -> tuple[Tensor, ...]:
        stepped = torch.round(torch.exp(x))
        largest = torch.sqrt(x.abs()).topk(2)
        return stepped, *largest, torch.where(torch.sin(x) > 0, x, -x), index + 1, index == 1


def test_what_gives_integers_or_steps_from_floating_point_numbers_jumps():
    graph = trace(Choosing(), (torch.randn(4, 8), torch.arange(8))).graph
    found = [graph.nodes[index].target.split(".")[1] for index in jumping(graph, 0, len(graph))]
    assert sorted(found) == ["gt", "round", "topk"]
    assert jumping(graph, 0, 1) == [] and jumping(graph, 1, 2) == [1]


def taken(own: Tensor, other: Tensor) -> Tensor:
    """What a replay goes on with that computed `own`, where another had `other`."""
    (found,) = held({3: (other,)})(3, None, (), (own,))
    assert held({3: (other,)})(4, None, (), (own,)) == (own,)
    return found


def test_integers_are_taken_over_and_of_numbers_what_jumped():
    integers = torch.tensor([1, 5])
    assert torch.equal(taken(torch.tensor([1, 4]), integers), integers)
    own = torch.tensor([1000.0, 0.2, 0.3, 7.0, 0.0, math.inf, 1e7 + 0.3], dtype=torch.float64)
    other = torch.tensor([1001.0, -0.2, 0.3001, 7.0001, 1e-9, math.inf, 1e7 + 1], dtype=torch.float64)
    assert taken(own, other).tolist() == [1001.0, -0.2, 0.3, 7.0, 1e-9, math.inf, 1e7 + 0.3]
    assert taken(own, other.float()).dtype == torch.float64


def test_choices_differ_where_one_was_taken_over():
    values, integers = torch.tensor([0.3, math.nan]), torch.tensor([True, False])
    same = {1: (values, integers), 2: (integers,)}
    assert not differ(same, same) and not differ(same, same | {1: (values + 1e-4, integers)})
    assert differ(same, same | {2: (~integers,)}) and differ(same, same | {1: (-values, integers)})
