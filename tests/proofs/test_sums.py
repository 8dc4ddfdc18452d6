"""The sums that both sides of a sum game compute are those that the contracts record, to the last bit."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from web3.exceptions import ContractLogicError

import tao.proofs
from proofs.test_pieces import drawn
from tao.chain.build import load_build
from tao.chain.deployment import ADJUDICATORS
from tao.execution import capture
from tao.graph.rows import SOFTMAXES
from tao.model import trace
from tao.proofs import ADJUDICATED, proof_plan
from tao.proofs.pieces import LONGEST, PRODUCTS, pieces_of
from tao.proofs.sums import COUNTED, SQUARED, exact_sums, sums_over
from tao.tensors.keccak import keccak

LANES = 500


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-1)


MODULES = {
    "sum": Mean(),
    "norm": nn.LayerNorm(LANES),
    "dot": nn.Linear(LANES, 3, bias=False),
    "softmax": nn.Softmax(-1),
}


@pytest.fixture(autouse=True)
def in_pieces(monkeypatch):
    monkeypatch.setattr(tao.proofs, "MAX_OPENED", 0)
    monkeypatch.setattr(tao.proofs.pieces, "_CHUNKS", 2)


def case(name: str, x: Tensor, kind: str = "even"):
    """The plan about element 1 of a module's only sum."""
    module = copy.deepcopy(MODULES[name])
    for parameter in module.parameters():
        parameter.data = drawn(kind, *parameter.shape)
    bundle = trace(module, (x,))
    index = next(i for i, node in enumerate(bundle.graph.nodes) if node.operator in LONGEST)
    states = capture(bundle.graph, bundle.parameters, (x,), [index, index + 1])
    outputs = [value for value in states[index + 1] if value.shape == states[index + 1][-1].shape][-1:]
    return bundle, index, proof_plan(bundle, index, states[index], outputs, 1)


@pytest.mark.parametrize("kind", ["wide", "minute", "even"])
@pytest.mark.parametrize("name", MODULES)
def test_sums_are_those_that_the_contract_records(deciders, name, kind):
    x = drawn(kind, 2, LANES)
    if name == "softmax":
        x = torch.from_numpy(np.random.default_rng(3).normal(0, 9, (2, LANES)).astype(np.float32))
        x[1, 33] = -torch.inf
    bundle, index, plan = case(name, x, kind)
    whole, _ = plan.whole
    contract = deciders[keccak(bundle.graph.nodes[index].operator.encode())[:4]]
    for posting in plan.postings():
        contract.functions.post(posting.pieces).transact({"gas": 15_000_000})
    firsts, total = [at for _, at in whole.runs], [0, 0, 0]
    for piece in plan.pieces:
        lo = piece.runs[0][1] - firsts[0]
        *recorded, known = contract.functions.sumsOf(piece.key).call()
        assert known and tuple(recorded) == sums_over(plan.leaf, whole.hint, firsts, lo, lo + piece.lanes)
        total = [a + b for a, b in zip(total, recorded, strict=True)]
    assert tuple(total) == sums_over(plan.leaf, whole.hint, firsts, 0, LANES) and any(total)
    words = (
        whole.hint,
        LANES,
        *[word for i, at in whole.runs for word in (_tensor(plan, i), at)],
        bytes(32),
        0,
    )
    total_of = contract.functions.totalOf(words[:6], [piece.lanes for piece in plan.pieces]).call()
    assert total_of == total


def _tensor(plan, operand: int) -> bytes:
    return tao.proofs.pieces.tensor_of(plan.leaf, operand)


@pytest.mark.parametrize(
    ("name", "hint", "lane"),
    [
        ("sum", 0, 1.0),
        ("sum", 255, 1.0),
        ("sum", 60, 1.0),
        ("norm", 60, 1.0),
        ("dot", 1, 1.0),
        ("dot", 509, 1.0),
        ("dot", 170, 1.0),
        ("sum", 100, torch.nan),
        ("norm", 100, torch.inf),
        ("dot", 200, -torch.inf),
        ("softmax", 0x3F800000, 1.1),
        ("softmax", 0x3F800000, torch.nan),
        ("softmax", 0x3F800000, torch.inf),
        ("softmax", 0x7F800000, 1.0),
        ("softmax", 1 << 32, 1.0),
    ],
)
def test_where_the_contract_records_nothing_there_are_no_sums(deciders, name, hint, lane):
    x = torch.full((2, LANES), 0.5)
    bundle, index, plan = case(name, x)
    contract = deciders[keccak(bundle.graph.nodes[index].operator.encode())[:4]]
    plan.leaf.operands[0][:, 7] = lane
    fresh = replace(plan.leaf)
    whole, _ = plan.whole
    firsts = [at for _, at in whole.runs]
    piece = pieces_of(fresh, [[(at, LANES)] for at in firsts], hint)[0]
    assert sums_over(fresh, hint, firsts, 0, piece.lanes) is None
    (posting,) = tao.proofs.postings(fresh, [piece])
    with pytest.raises(ContractLogicError):
        contract.functions.post(posting.pieces).call({"gas": 15_000_000})


def test_sums_of_many_large_terms_are_exact():
    """Two million mantissas of all ones, and their squares: no float64 in between loses a bit."""
    bits = np.full(1 << 21, 0x7F7FFFFF, dtype=np.uint32)
    m, n = (1 << 24) - 1, 1 << 21
    assert exact_sums("aten.sum.default", 191, [bits]) == (n * m << 63, 0, 0)
    assert exact_sums("aten.group_norm.default", 191, [bits]) == (n * m << 63, 0, n * m**2 << 126)
    few = bits[: 1 << 17] | 0x80000000
    assert exact_sums("contraction", 445, [few, bits[: 1 << 17]]) == (0, m * m << 80, 0)


def test_every_operator_is_summed_as_its_adjudicator_does(deciders):
    """Also those that it decides by no sums: a prover has to know the sums over any range it can be asked about."""
    kinds = {
        "ContractionAdjudicator": [PRODUCTS],
        "ConvolutionAdjudicator": [PRODUCTS],
        "NormalisationAdjudicator": [SQUARED],
        "SoftmaxAdjudicator": [SOFTMAXES],
        "RoundedContractionAdjudicator": [PRODUCTS, COUNTED],
        "RoundedReductionAdjudicator": [COUNTED],
    }
    names = {keccak(name.encode())[:4]: name for name in {*ADJUDICATED, *SQUARED, *SOFTMAXES, *COUNTED}}
    build = {load_build()[name].runtime: name for name in ADJUDICATORS}
    summing = 0
    for code, contract in deciders.items():
        if not any(function.fn_name == "rangeOf" for function in contract.all_functions()):
            continue
        kind = build[bytes(contract.w3.eth.get_code(contract.address))]
        name, summing = names[code], summing + 1
        found = [each for each in (PRODUCTS, SQUARED, SOFTMAXES, COUNTED) if name in each]
        assert found == kinds.get(kind, []), name
    assert summing >= 20
