"""Arithmetic and elementary functions of a traced module, decided by the contract on its own tensors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from proofs.test_proofs import changed, leaf
from tao.execution import capture
from tao.model import trace
from tao.numerics.bounds import bound
from tao.proofs import element_proof, find_refutable_element

ELEMENTWISE = {
    f"aten.{name}"
    for name in """
    add.Tensor add.Scalar sub.Tensor sub.Scalar rsub.Scalar mul.Tensor mul.Scalar div.Tensor div.Scalar
    reciprocal.default exp.default log.default tanh.default erf.default sin.default cos.default sqrt.default
    rsqrt.default sigmoid.default silu.default gelu.default pow.Tensor_Scalar leaky_relu.default
    hardswish.default
    """.split()
}


class Arithmetic(nn.Module):
    """Every operator of the elementwise adjudicator, on broadcast and sliced views, with numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(7))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        positive = 1.0 - (-(x * x) - 0.5)
        sums = torch.add(x, y[:, 1:8], alpha=0.3) - self.scale
        products = (x * 0.7 + 2) * self.scale
        quotients = products / positive + 3.0 / positive - x / 3.0
        roots = positive.sqrt() + positive.rsqrt() + positive.pow(-1) + x.pow(3)
        waves = x.sin() + y[:, :7].cos() * x.erf() + x.tanh()
        gates = x.sigmoid() * functional.silu(x) + functional.leaky_relu(x, 0.2) + functional.hardswish(x)
        gelus = functional.gelu(x) - functional.gelu(x, approximate="tanh")
        logs = positive.log() + (x - 2).exp() + torch.rsub(x, 1.5) + positive.reciprocal()
        return sums + quotients + roots + waves + gates + gelus + logs


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(11)
    inputs = (torch.randn(5, 7), torch.randn(5, 9))
    bundle = trace(Arithmetic(), inputs)
    return bundle, capture(bundle.graph, bundle.parameters, inputs, range(len(bundle.graph) + 1))


def decided(model) -> list[int]:
    return [i for i, node in enumerate(model[0].graph.nodes) if node.operator in ELEMENTWISE]


def tolerance(case, element: int) -> tuple[float, float]:
    """The exact value of an element and its tolerance."""
    bundle, index, state, _ = case
    node, live = bundle.graph.nodes[index], bundle.graph.live(index)
    values = dict(zip(live, state, strict=True)) | {
        bundle.graph.value_of_parameter(i): tensor for i, tensor in enumerate(bundle.parameters)
    }
    tensors = [
        values[o.value].contiguous().as_strided(o.view.shape, o.view.strides, o.view.offset)
        for o in node.operands
    ]
    (rule,) = bound(node.target, node.args, node.kwargs, tensors)
    return float(rule.value.flatten()[element]), float(rule.tolerance.flatten()[element])


def test_the_module_has_every_elementwise_operator(model):
    assert {model[0].graph.nodes[i].operator for i in decided(model)} == set(ELEMENTWISE)


def test_an_honest_run_has_nothing_to_refute(model, refutes):
    for index in decided(model):
        case = leaf(model, index)
        assert find_refutable_element(*case) is None
        assert not refutes(*case, element_proof(*case, 3))


def test_an_element_outside_its_tolerance_is_found_and_refuted_and_one_inside_is_not(model, refutes):
    deviating = 0
    for index in decided(model):
        case = leaf(model, index)
        element = case[3][0].numel() // 2
        value, slack = tolerance(case, element)
        wrong = changed(case, element, value + 1.5 * slack + abs(value) * 2.0**-23)
        assert find_refutable_element(*wrong) == element, case[0].graph.names[index]
        assert refutes(*wrong, element_proof(*wrong, element)), case[0].graph.names[index]
        inside = changed(case, element, value + 0.7 * slack)
        if abs(float(inside[3][0].view(-1)[element]) - value) < 0.999 * slack:
            assert not refutes(*inside, element_proof(*inside, element))
            deviating += 1
    assert deviating > len(decided(model)) // 2


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_a_non_finite_element_is_found_and_refuted(model, refutes, value):
    for index in decided(model):
        wrong = changed(leaf(model, index), 2, value)
        assert find_refutable_element(*wrong) == 2
        assert refutes(*wrong, element_proof(*wrong, 2))


def test_integers_and_doubles_are_left_to_the_committee():
    class Sums(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x.double() + 1.0) * (x.long() + 2)

    x = torch.randn(3)
    bundle = trace(Sums(), (x,))
    states = capture(bundle.graph, bundle.parameters, (x,), range(len(bundle.graph) + 1))
    sums = [i for i, node in enumerate(bundle.graph.nodes) if node.operator in ELEMENTWISE]
    assert sums
    for index in sums:
        case = leaf((bundle, states), index)
        assert find_refutable_element(*changed(case, 0, 77)) is None
