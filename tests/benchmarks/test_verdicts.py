"""Verdicts of the contracts as the soundness benchmark counts them."""

import pytest
import torch

from benchmarks.verdicts import HONEST, WRONG, Court, Disputed, ask
from tao.graph.literals import Slot
from tao.proofs import find_refutable_element
from tao.proofs.search import is_decided


@pytest.fixture(scope="module")
def court():
    with Court.opened() as found:
        yield found


def case(target, operands, *more, results=None):
    """A call with torch's result, or with other results."""
    namespace, name, overload = target.split(".")
    operator = getattr(getattr(getattr(torch.ops, namespace), name), overload)
    slots = [Slot(i) for i in range(len(operands))]
    return target, [*slots, *more], {}, operands, results or [operator(*operands, *more)]


CASES = {
    "a sum": case("aten.sum.dim_IntList", (torch.randn(7, 9),), [-1]),
    "a position": case("aten.argmax.default", (torch.randn(7, 9),), -1),
    "subnormal reciprocals": case("aten.reciprocal.default", (torch.linspace(1e38, 3e38, 30),)),
    "a row whose squares stay finite": case("aten.layer_norm.default", (torch.randn(4, 42) * 2.0**57,), [42]),
}


@pytest.mark.parametrize("name", CASES)
def test_results_stand_and_claims_outside_are_refuted(court, name):
    torch.manual_seed(1)
    honest = HONEST // 2  # of one result
    assert ask(court, CASES[name]) == {
        "chain_cases": honest + WRONG,
        "chain_unsound": 0,
        "chain_unprovable": 0,
    }


def test_a_wrong_result_of_a_kernel_counts_as_refuted(court):
    x = torch.randn(7, 9)
    found = ask(court, case("aten.amax.default", (x,), [-1], results=[x.amin(-1)]))
    assert found["chain_unsound"] == HONEST // 2


@pytest.mark.parametrize("exponent", [2.5, 1.0, 0.0])
def test_powers_that_no_contract_decides_are_not_asked_about_and_not_disputed_by_proof(court, exponent):
    x = torch.rand(8) + 1
    call = case("aten.pow.Tensor_Scalar", (x,), exponent)
    assert ask(court, call)["chain_cases"] == 0
    node = Disputed.of(call)
    assert not is_decided(node.bundle.graph.nodes[node.index])
    assert find_refutable_element(node.bundle, node.index, node.state, [x + 5]) is None
