"""Elements beyond a calibrated constant, as the search finds them and the contracts decide them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from proofs.test_proofs import changed, leaf
from tao.execution import capture
from tao.model import trace
from tao.numerics.bounds.rule import UNIT_ROUNDOFF
from tao.numerics.contraction import has_theta, node_theta
from tao.numerics.dot import THETA_ONE
from tao.proofs import element_proof, find_accusable_element, find_refutable_element

THETA = 9 * THETA_ONE


class Sums(nn.Module):
    """Contractions with and without bias, convolutions padded, strided, grouped and in both layouts."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.Conv2d(8, 6, 3, padding=1)
        self.grouped = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=3, bias=False)
        self.line = nn.Conv1d(6, 4, 3, padding=1)
        self.up, self.down = nn.Linear(36, 700), nn.Linear(700, 5, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        x = functional.relu(self.stem(image))
        x = self.line(self.grouped(self.deep(x)).flatten(2))
        hidden = self.up(x) @ self.up(x).transpose(1, 2)
        return hidden @ self.down(self.up(x))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(5)
    images = (torch.randn(2, 3, 12, 12),)
    bundle = trace(Sums(), images)
    return bundle, capture(bundle.graph, bundle.parameters, images, range(len(bundle.graph) + 1))


def calibrated(model) -> list[int]:
    return [i for i, node in enumerate(model[0].graph.nodes) if has_theta(node)]


def statistic(case) -> Tensor:
    """`node_theta` of the claimed output."""
    bundle, index, state, (y,) = case
    node, live = bundle.graph.nodes[index], bundle.graph.live(index)
    values = dict(zip(live, state, strict=True)) | {
        bundle.graph.value_of_parameter(i): tensor for i, tensor in enumerate(bundle.parameters)
    }
    return node_theta(node, [values[operand.value] for operand in node.operands], y)


def scale(case, element: int) -> float:
    """What one unit of the statistic is worth in the element."""
    y = float(case[3][0].view(-1)[element])
    moved = changed(case, element, y + 1.0)
    return float(moved[3][0].view(-1)[element] - y) / float(statistic(moved).flatten()[element])


def test_the_model_has_contractions_and_convolutions_of_every_kind(model):
    operators = {model[0].graph.nodes[i].operator for i in calibrated(model)}
    assert operators == {"contraction", "aten.conv2d.default", "aten.conv1d.default"}
    assert len(calibrated(model)) >= 8


def test_an_honest_run_has_nothing_to_accuse(model, exceeds):
    for index in calibrated(model):
        case = leaf(model, index)
        ratio = statistic(case)
        assert ratio.shape == case[3][0].shape and 0 < ratio.max() < 4
        assert find_accusable_element(*case, THETA) is None
        assert not exceeds(*case, element_proof(*case, 0), THETA)


def test_an_element_beyond_theta_is_found_and_exceeds_it_and_one_inside_does_not(model, exceeds, refutes):
    burden_shifted = 0
    for index in calibrated(model):
        case = leaf(model, index)
        element = case[3][0].numel() // 2 + 1
        y, unit = float(case[3][0].view(-1)[element]), scale(case, element)
        wrong = changed(case, element, y + 14 * unit)
        assert find_accusable_element(*wrong, THETA) == element, case[0].graph.names[index]
        proof = element_proof(*wrong, element)
        assert exceeds(*wrong, proof, THETA)
        assert not exceeds(*wrong, proof, 2 * THETA)
        inside = changed(case, element, y + 4 * unit)
        assert find_accusable_element(*inside, THETA) is None
        assert not exceeds(*inside, element_proof(*inside, element), THETA)
        burden_shifted += find_refutable_element(*wrong) is None and not refutes(*wrong, proof)
    assert burden_shifted >= 3, "the worst-case bound misses what theta catches"


def test_the_search_and_the_contract_agree_close_to_theta(model, exceeds):
    verdicts = set()
    for index in calibrated(model):
        case = leaf(model, index)
        y, unit = float(case[3][0].view(-1)[0]), scale(case, 0)
        for factor in (8.4, 8.9, 9.1, 9.6):
            near = changed(case, 0, y - factor * unit)
            found = find_accusable_element(*near, THETA)
            assert exceeds(*near, element_proof(*near, 0), THETA) == (found == 0)
            verdicts.add(found)
    assert verdicts == {None, 0}


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_an_element_that_is_not_finite_is_refuted_and_not_accused(model, exceeds, refutes, value):
    case = changed(leaf(model, calibrated(model)[0]), 3, value)
    assert find_accusable_element(*case, THETA) is None
    proof = element_proof(*case, 3)
    assert refutes(*case, proof) and not exceeds(*case, proof, THETA)


def test_without_theta_nothing_is_accused(model, exceeds):
    case = changed(leaf(model, calibrated(model)[0]), 3, 100.0)
    assert find_accusable_element(*case, 0) is None
    assert not exceeds(*case, element_proof(*case, 3), 0)
    assert find_accusable_element(*case, THETA) == 3


def test_inputs_of_half_the_significand_are_far_beyond_theta(model):
    bundle, index, state, outputs = leaf(model, calibrated(model)[-1])
    y = outputs[0].bfloat16().float()
    assert statistic((bundle, index, state, (y,))).max() > 2.0**-9 / UNIT_ROUNDOFF / 700
    assert find_accusable_element(bundle, index, state, (y,), THETA) is not None


def test_operators_without_theta_are_not_accused(model):
    relu = next(i for i, n in enumerate(model[0].graph.nodes) if n.operator == "aten.relu.default")
    case = changed(leaf(model, relu), 0, 100.0)
    assert find_refutable_element(*case) == 0
    assert find_accusable_element(*case, THETA) is None
