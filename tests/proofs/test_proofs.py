"""Proofs built from a bundle, judged by the real adjudicators."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from eth_abi import encode
from torch import Tensor, nn
from torch.nn import functional

from tao.errors import InvalidTensor, ModelError, UnsupportedOperator
from tao.execution import capture
from tao.graph.operators import CONTRACTION, COPY, EMBEDDING
from tao.graph.states import of_outputs
from tao.model import ModelBundle, trace
from tao.proofs import (
    ADJUDICATED,
    MAX_DATA,
    element_proof,
    find_refutable_element,
    fits,
    leaf_claim,
    proof_plan,
    reads,
)
from tao.proofs.leaf import Leaf as ProofLeaf
from tao.tensors import commit

RELU, NEG = "aten.relu.default", "aten.neg.default"

Leaf = tuple[ModelBundle, int, tuple[Tensor, ...], tuple[Tensor, ...]]


class Attention(nn.Module):
    """Lookups, linears with and without bias, products of transposed and sliced views, relu, neg, copies."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 20)
        self.qkv, self.out = nn.Linear(20, 60), nn.Linear(20, 70, bias=False)
        self.table = nn.Parameter(torch.randn(70, 9))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 10)).permute(2, 0, 3, 1, 4)
        mixed = torch.softmax(q @ k.transpose(-1, -2), -1) @ v
        hidden = functional.relu(self.out(mixed.transpose(1, 2).flatten(2)))
        scaled = torch.addmm(self.table[0], -hidden[0], self.table)
        return scaled @ self.table[3]


class Largest(nn.Module):
    """A maximum, which is no sum that pieces add up to."""

    def forward(self, x: Tensor) -> Tensor:
        return x.amax(-1)


@pytest.fixture(scope="module")
def model() -> tuple[ModelBundle, dict[int, tuple[Tensor, ...]]]:
    torch.manual_seed(3)
    ids = torch.randint(0, 11, (2, 6))
    bundle = trace(Attention(), (ids,))
    return bundle, capture(bundle.graph, bundle.parameters, (ids,), range(len(bundle.graph) + 1))


def leaf(model, index: int) -> Leaf:
    bundle, states = model
    after = dict(zip(bundle.graph.live(index + 1), states[index + 1], strict=True))
    return bundle, index, states[index], tuple(after[value] for value in bundle.graph.nodes[index].outputs)


def decided(model) -> list[int]:
    nodes = model[0].graph.nodes
    return [i for i, node in enumerate(nodes) if node.operator in ADJUDICATED]


def first(model, operator: str) -> Leaf:
    return leaf(model, next(i for i in decided(model) if model[0].graph.nodes[i].operator == operator))


def changed(case: Leaf, element: int, value: float) -> Leaf:
    """The leaf with another element in its output."""
    output = case[3][0].clone()
    output.view(-1)[element] = value
    return (*case[:3], (output,))


def test_the_model_has_every_decided_operator(model):
    operators = [model[0].graph.nodes[i].operator for i in decided(model)]
    assert {CONTRACTION, COPY, EMBEDDING, RELU, NEG, "aten.softmax.int"} == set(operators)
    assert operators.count(CONTRACTION) == 6


def test_nothing_is_refutable_in_an_honest_run(model):
    assert all(find_refutable_element(*leaf(model, i)) is None for i in range(len(model[0].graph)))


def test_honest_elements_are_not_refuted(model, refutes):
    for index in decided(model):
        case = leaf(model, index)
        for element in (0, case[3][0].numel() - 1):
            assert not refutes(*case, element_proof(*case, element))


def test_a_wrong_element_is_found_and_refuted(model, refutes):
    for index in decided(model):
        case = leaf(model, index)
        size = case[3][0].numel()
        for element in {0, size // 2, size - 1}:
            wrong = changed(case, element, float(case[3][0].view(-1)[element]) * 1.01 + 0.125)
            assert find_refutable_element(*wrong) == element
            assert refutes(*wrong, element_proof(*wrong, element))


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_a_non_finite_element_is_found_and_refuted(model, refutes, value):
    for operator in (CONTRACTION, COPY, EMBEDDING):
        wrong = changed(first(model, operator), 7, value)
        assert find_refutable_element(*wrong) == 7
        assert refutes(*wrong, element_proof(*wrong, 7))


def test_the_worst_of_several_elements_is_found(model):
    case = first(model, CONTRACTION)
    output = case[3][0].clone()
    output.view(-1)[3] += 0.01
    output.view(-1)[8] += 1.0
    assert find_refutable_element(*case[:3], (output,)) == 8


def test_a_zero_of_the_other_sign_is_exact(model, refutes):
    case = first(model, RELU)
    zero = int((case[3][0].view(-1) == 0).nonzero()[0])
    negative = changed(case, zero, -0.0)
    assert find_refutable_element(*negative) is None
    assert not refutes(*negative, element_proof(*negative, zero))


def test_other_operators_have_no_refutable_element():
    x = torch.randn(3)
    bundle = trace(nn.Mish(), (x,))
    assert find_refutable_element(bundle, 0, (x,), (x + 5,)) is None


def test_a_lookup_outside_the_table_is_no_proof(model):
    bundle, index, (ids, *rest), outputs = changed(first(model, EMBEDDING), 0, 5.0)
    outside = (ids.clone().fill_(11), *rest)
    assert find_refutable_element(bundle, index, outside, outputs) is None
    with pytest.raises(InvalidTensor, match="row 11 of a table of 11"):
        element_proof(bundle, index, outside, outputs, 0)


def test_non_finite_operands_have_no_refutable_element(model):
    case = first(model, RELU)
    linear = leaf(model, case[1] - 1)
    before = tuple(t.clone().fill_(torch.nan) if t.is_floating_point() else t for t in linear[2])
    assert find_refutable_element(*linear[:2], before, changed(linear, 0, 5.0)[3]) is None


def test_openings_too_large_for_a_transaction_are_not_offered():
    x = torch.randn(1, 40_000)
    bundle = trace(Largest(), (x,))
    wrong = bundle, 0, (x,), (torch.full((1,), 1e3),)
    assert find_refutable_element(*wrong) is None
    with pytest.raises(UnsupportedOperator, match="sums 40,000 lanes, which are opened neither in one"):
        proof_plan(*wrong, 0)


def test_openings_leave_room_for_the_claim_about_their_operator(model):
    """The more values are live before it, the longer that is."""
    bundle, states = model
    index = next(i for i, node in enumerate(bundle.graph.nodes) if node.operator == RELU)
    before, outputs = states[index], of_outputs(bundle.graph, index, states[index + 1])
    leaf = ProofLeaf.of(bundle, index, before, outputs)
    claim = leaf_claim(bundle, index, list(map(commit, before)), list(map(commit, outputs)))
    encoded = encode(["(bytes,bytes32[],bytes32[],bytes32[])"], [tuple(claim.values())])
    assert len(encoded) <= leaf.claim_bytes <= len(encoded) + 160
    read = reads(leaf, 0)
    opened = sum(leaf.opened_bytes(i, *run) + 7 * 32 for i, each in enumerate(read) for run in each)
    assert fits(replace(leaf, claim_bytes=MAX_DATA - opened), read)
    assert not fits(replace(leaf, claim_bytes=MAX_DATA - opened + 1), read)


def test_an_operator_that_nobody_decides_is_refused_by_name():
    x = torch.randn(3)
    bundle = trace(nn.Mish(), (x,))
    with pytest.raises(UnsupportedOperator, match=r"is aten\.mish\.default"):
        element_proof(bundle, 0, (x,), (x,), 0)


def test_tensors_that_are_not_the_graphs_are_refused(model):
    bundle, index, before, outputs = first(model, CONTRACTION)
    with pytest.raises(ModelError, match="values before it"):
        element_proof(bundle, index, (), outputs, 0)
    with pytest.raises(ModelError, match="not the graph's"):
        element_proof(bundle, index, before, (outputs[0].double(),), 0)
    with pytest.raises(InvalidTensor, match="outside the output"):
        element_proof(bundle, index, before, outputs, outputs[0].numel())
