"""What the search for a wrong element finds, a contract refutes; what a contract lets stand, it passes over."""

import math

import pytest
import torch

from benchmarks.verdicts import Court, Disputed
from tao.graph.literals import Slot
from tao.proofs import find_refutable_element

TINY, SMALL = 1e-40, 1e-30
X = torch.tensor([[-1.0, 0.0, 2.0, 3.0], [-4.0, 0.5, -0.5, 1.0]])
MASK = X > 0.7


@pytest.fixture(scope="module")
def court():
    with Court.opened() as found:
        yield found


def disputed(target, operands, *more):
    """A call, and torch's result of it."""
    namespace, name, overload = target.split(".")
    result = getattr(getattr(getattr(torch.ops, namespace), name), overload)(*operands, *more)
    slots = [Slot(i) for i in range(len(operands))]
    return Disputed.of((target, [*slots, *more], {}, operands, [result])), result


def found(node, claimed):
    return find_refutable_element(node.bundle, node.index, node.state, [claimed])


VANISHING = {
    "relu": ("aten.relu.default", (X,)),
    "clamp": ("aten.clamp.default", (X,), 0.0, 2.5),
    "a clamp to a subnormal number": ("aten.clamp_min.default", (X,), TINY),
    "relu6": ("aten.relu6.default", (X,)),
    "a mask": ("aten.masked_fill.Scalar", (X, MASK), 0.0),
    "a choice": ("aten.where.ScalarOther", (MASK, X), 0.0),
    "a maximum": ("aten.maximum.default", (X, torch.zeros(2, 4))),
    "the maximum of a row": ("aten.amax.default", (X - 3,), [-1]),
    "the maximum of a window": ("aten.max_pool2d.default", (X.clamp(max=0)[None, None],), [2, 2]),
    "a padding": ("aten.constant_pad_nd.default", (X,), [1, 1], TINY),
}


@pytest.mark.parametrize("name", VANISHING)
def test_no_subnormal_number_in_the_place_of_zero_is_disputed_or_hides_what_is_wrong(court, name):
    node, result = disputed(*VANISHING[name])
    claimed = result.clone()
    place = int((result.abs() < SMALL).flatten().byte().argmax())
    claimed.view(-1)[place] = TINY if result.view(-1)[place] == 0 else 0.0
    assert not torch.equal(claimed, result) and not court.refutes(node, claimed, place)
    assert found(node, claimed) is None
    claimed.view(-1)[-1] += 5
    wrong = found(node, claimed)
    assert wrong == claimed.numel() - 1 and court.refutes(node, claimed, wrong)


@pytest.mark.parametrize("number", [0.5, 0])
@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_a_false_comparison_with_a_number_is_found_and_refuted(court, name, number):
    node, result = disputed(f"aten.{name}.Scalar", (X,), number)
    assert found(node, result) is None
    assert not any(court.refutes(node, result, element) for element in range(result.numel()))
    claimed = result.clone()
    claimed[1, 1] = ~claimed[1, 1]
    assert found(node, claimed) == 5 and court.refutes(node, claimed, 5)


@pytest.mark.parametrize("target", ["aten.softmax.int", "aten.log_softmax.int"])
def test_rows_with_masked_lanes_are_decided(court, target):
    node, result = disputed(target, (X.masked_fill(MASK, -math.inf),), -1)
    assert found(node, result) is None
    claimed = result.clone()
    claimed[0, 1] += 0.5
    assert found(node, claimed) == 1 and court.refutes(node, claimed, 1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_types_that_no_contract_knows_beside_a_number_are_left_to_the_vote(dtype):
    node, result = disputed("aten.clamp.default", (X.to(dtype),), 0.0, 2.5)
    assert found(node, result + 1) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types_are_flushed_where_the_contract_flushes_them(court, dtype):
    node, result = disputed("aten.relu.default", (X.to(dtype),))
    claimed = result.clone()
    claimed[0, 0] = torch.finfo(dtype).smallest_normal / 2
    is_wrong = dtype == torch.float16
    assert court.refutes(node, claimed, 0) is is_wrong
    assert found(node, claimed) == (0 if is_wrong else None)
