"""Honest ends that follow from a choice which kernels make either way, such as ties between experts, roundings and
indices at the edge of a table, are accepted by every honest judge; and that is no room for a lie."""

import pytest
import torch
from torch import Tensor, nn

from numerics.honest import calibrated, exceedance_of_a_thousandth, parameter, usual
from numerics.local import shuffled
from tao.errors import NoResult
from tao.model import ModelBundle
from tao.numerics.measure import compare_segment, measure_segment
from tao.numerics.noise import NoisySegment


class Routed(nn.Module):
    """The two best of eight experts, and how good they are."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts, self.head = nn.Linear(64, 8), nn.Embedding(8, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        values, indices = self.gate(x).softmax(-1).topk(2)
        return self.head((self.experts(indices) * values[..., None]).sum(1) + x), values


class Mixed(nn.Module):
    """Two of eight experts for each of 32 tokens, which then attend to one another."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts, self.mix = nn.Linear(64, 8), nn.Embedding(8, 64), nn.Linear(64, 192)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        values, indices = self.gate(x).softmax(-1).topk(2)
        x = x + (self.experts(indices) * values[..., None]).sum(-2)
        query, key, value = self.mix(x).chunk(3, -1)
        return self.head((query @ key.transpose(-1, -2) / 8).softmax(-1) @ value)


class Table(nn.Module):
    """Looks up what a number is rounded down to, from 0 to 10."""

    def __init__(self) -> None:
        super().__init__()
        self.number, self.rows, self.head = nn.Linear(64, 1), nn.Embedding(11, 32), nn.Linear(32, 10)
        with torch.no_grad():
            self.number.bias.fill_(5.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rows(self.number(x)[:, 0].floor().clamp(max=10).long()))


class Stepped(nn.Module):
    """Rounds to whole steps, and goes on from these."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.round(8 * self.first(x)) / 8)


def tied(bundle: ModelBundle, x: Tensor) -> Tensor:
    """A token like `x` between its second and third expert."""
    gate, bias = parameter(bundle, (8, 64)).double(), parameter(bundle, (8,)).double()
    logits = x.double() @ gate.T + bias
    second, third = logits.topk(3).indices[1:].tolist()
    apart = gate[second] - gate[third]
    return (x.double() - apart * (logits[second] - logits[third]) / apart.square().sum()).float()


@pytest.mark.parametrize("rows", [8, 64])
def test_ties_between_experts_that_kernels_break_either_way(rows):
    """One tie in a few rows, or one in each of many."""
    bundle = calibrated(Routed, rows, 64)
    found, flips = [], 0
    for seed in range(40, 60 if rows == 8 else 44):
        x = usual(seed, rows, 64)
        for row in (2,) if rows == 8 else range(rows):
            x[row] = tied(bundle, x[row])
        ends = [shuffled(bundle, 100 + device).run((x,)) for device in range(4)]
        flips += max((end[0] - ends[0][0]).abs().max() for end in ends) > 1e-3
        found += [
            compare_segment(bundle, 0, (x,), len(bundle.graph), end, own).exceedance
            for end in ends
            for own in ends
        ]
    assert flips >= 4 and max(found) <= 1


def test_a_tie_is_no_room_for_a_lie_about_all_that_follows():
    bundle = calibrated(Mixed, 1, 32, 64)
    turned = 0
    for seed in range(40, 50):
        x = usual(seed, 1, 32, 64)
        x[0, 2] = tied(bundle, x[0, 2])
        turned += bool(
            list(NoisySegment(bundle.graph, bundle.parameters, 0, (x,), len(bundle.graph)).turned())
        )
        (end,), own = shuffled(bundle, 100).run((x,)), shuffled(bundle, 200).run((x,))
        assert compare_segment(bundle, 0, (x,), len(bundle.graph), (end,), own).exceedance <= 1
        lie = (end + 10 * end.std(),)
        assert compare_segment(bundle, 0, (x,), len(bundle.graph), lie, own).exceedance > 10
    assert turned >= 5


def test_roundings_to_whole_steps_that_kernels_take_either_way():
    bundle = calibrated(Stepped)
    weight, bias = parameter(bundle, (64, 64)), parameter(bundle, (64,))
    flips = 0
    for seed in range(40, 50):
        x = usual(seed)
        wanted = (torch.round(8 * (x[2].double() @ weight.double().T + bias)) + 0.5) / 8
        x[2] = torch.linalg.solve(weight.double(), wanted - bias.double()).float()
        ends = [shuffled(bundle, 100 + device).run((x,)) for device in range(4)]
        flips += any((end[0][2] - ends[0][0][2]).abs().max() > 1e-3 for end in ends)
        for end in ends:
            for own in ends:
                assert compare_segment(bundle, 0, (x,), len(bundle.graph), end, own).exceedance <= 1
    assert flips >= 5


@pytest.mark.parametrize("make", [Routed, Stepped])
def test_a_thousandth_of_what_follows_from_a_choice_is_still_rejected(make):
    assert exceedance_of_a_thousandth(calibrated(make), usual(40)) > 10


def test_an_index_at_the_edge_of_its_table():
    """Some kernels have no result: others' is judged, and a lie is still one."""
    bundle, missing = calibrated(Table, 64, 64), 0
    weight, bias = parameter(bundle, (1, 64)).double(), parameter(bundle, (1,)).double()
    for seed in range(40, 100):
        x = usual(seed, 64, 64)
        row = x[3].double()
        x[3] = (row - weight[0] * (row @ weight[0] + bias) / weight.square().sum()).float()
        ends = []
        for device in range(3):
            try:
                ends.append(shuffled(bundle, 100 + device).run((x,)))
            except NoResult:
                missing += 1
        for (end,) in ends:
            for own in (None, *ends):
                assert compare_segment(bundle, 0, (x,), len(bundle.graph), (end,), own).exceedance <= 1
                assert compare_segment(bundle, 0, (x,), len(bundle.graph), (end + 10,), own).exceedance > 10
    assert missing >= 20


def test_inputs_without_any_result_are_rejected():
    bundle = calibrated(Table, 64, 64)
    x = usual(40, 64, 64)
    weight = parameter(bundle, (1, 64))
    x[3] = -100 * weight[0] / weight.square().sum()
    end = (torch.zeros(64, 10),)
    assert measure_segment(bundle, 0, (x,), len(bundle.graph), end).exceedance == torch.inf
