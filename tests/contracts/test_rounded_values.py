"""Rounded elements that are refuted by their value, and those that stand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from support import steps
from support.rounded_cases import midpoint
from support.rounded_steps import KINDS, SUMS, changed, doubtful, floats, neighbour
from support.wire import Reverted
from tao.errors import UnsupportedOperator
from tao.numerics import float32
from tao.training import proofs, rules
from tao.training.examine import differs
from tao.training.proofs import BREAKDOWN, CONTRADICTION, OMISSION, VALUE
from tao.training.replay import Replay
from tao.training.search import find_fault
from training.steps import Tape


@pytest.mark.parametrize("kind", KINDS)
def test_rounded_elements_stand_and_others_are_refuted_by_their_value(judge, kind):
    step, results = doubtful(kind)
    for element in range(6):
        assert not judge(step, proofs.rounded_proof(*step.given, element))
    for element in (0, 1, 3, 5):
        wrong = step.claiming(element, neighbour(step.output.view(-1)[element]))
        assert judge(wrong, proofs.rounded_proof(*wrong.given, element))
        fault = find_fault(*wrong.given, results)
        assert (fault.element, fault.rule) == (element, VALUE)
        assert judge(wrong, fault.proof)
    for value in (torch.nan, torch.inf, -torch.inf):
        wrong = step.claiming(4, value)
        assert judge(wrong, proofs.rounded_proof(*wrong.given, 4))
        assert find_fault(*wrong.given, results).element == 4


@pytest.mark.parametrize("kind", SUMS)
def test_a_tie_of_a_sum_is_rounded_to_even_and_nowhere_else(judge, kind):
    step, results = doubtful(kind)
    zone = proofs.zone(proofs.Leaf.of(*step.given), 2)
    even = float32.nearest(zone.mid)
    assert {midpoint(even - 1), midpoint(even)} & {zone.mid} and even % 2 == 0
    for place in (even - 2, even - 1, even + 1, even + 2):
        claimed = step.claiming(2, floats([float32.encoding(place)])[0])
        assert judge(claimed, proofs.rounded_proof(*claimed.given, 2))
        fault = find_fault(*claimed.given, results)
        assert (fault.element, fault.rule) == (2, VALUE) and judge(claimed, fault.proof)
    assert not judge(step, proofs.rounded_proof(*step.given, 2))
    assert find_fault(*step.given, results) is None


@pytest.mark.parametrize("kind", SUMS)
def test_zeros_of_sums_are_positive(judge, kind):
    x = torch.tensor([[1.0, -1.0], [-0.0, -0.0]])
    if kind == "contraction":
        step = steps.contraction(x, torch.ones(1, 2))
    elif kind == "sum":
        step = steps.row_sum(x)
    else:
        step = steps.embedding_gradient(x[:1].T, torch.zeros(1, 2, dtype=torch.int64), 2)
    for element in (0, 1):
        assert not judge(step, proofs.rounded_proof(*step.given, element))
        wrong = step.claiming(element, -0.0)
        fault = find_fault(*wrong.given, step.output.double())
        assert (fault.element, fault.rule) == (element, VALUE) and judge(wrong, fault.proof)


@pytest.mark.parametrize("kind", SUMS)
def test_no_log_speaks_of_a_sum(judge, kind):
    step = doubtful(kind)[0]
    proof = proofs.rounded_proof(*step.given, 3)
    for rule in (CONTRADICTION, OMISSION):
        with pytest.raises(UnsupportedOperator):
            proofs.rounded_proof(*step.given, 3, rule)
        with pytest.raises(Reverted, match="UnknownRule"):
            judge(step, changed(proof, rule=rule))
    node = step.bundle.graph.nodes[0]
    more = replace(node, operands=(*node.operands, node.operands[0]), maps=(*node.maps, None))
    graph = replace(step.bundle.graph, nodes=(more,))
    with pytest.raises(Reverted, match="NotASum|NotAContraction"):
        judge(replace(step, bundle=replace(step.bundle, graph=graph)), proof)


def test_either_rounding_of_a_logged_element_in_doubt_stands_and_a_third_does_not(judge):
    step, results = doubtful("sigmoid")
    zone = proofs.zone(proofs.Leaf.of(*step.given), 2)
    assert zone.is_split
    low = float32.nearest(zone.mid - zone.most)
    for place, stands in ((low - 1, False), (low, True), (low + 1, True), (low + 2, False)):
        claimed = step.claiming(2, floats([float32.encoding(place)])[0])
        assert judge(claimed, proofs.rounded_proof(*claimed.given, 2)) != stands
        fault = find_fault(*claimed.given, results)
        assert fault is None if stands else (fault.element, fault.rule) == (2, VALUE)


@pytest.mark.parametrize(
    "name", ["add.Tensor", "sub.Tensor", "mul.Tensor", "div.Tensor", "sqrt.default", "reciprocal.default"]
)
def test_arithmetic_is_exact_and_has_no_log(judge, name):
    x, z = torch.rand(6) + 0.5, torch.randn(6)
    call = getattr(torch, name.split(".")[0])
    operands = [x, z] if name.endswith("Tensor") else [x]
    step = steps.elementwise(name, operands, call(*(each.double() for each in operands)))
    assert not judge(step, proofs.rounded_proof(*step.given, 3))
    wrong = step.claiming(3, neighbour(step.output[3]))
    assert judge(wrong, find_fault(*wrong.given, call(*(each.double() for each in operands))).proof)
    for rule in (CONTRADICTION, OMISSION):
        with pytest.raises(UnsupportedOperator):
            proofs.rounded_proof(*wrong.given, 3, rule)
        with pytest.raises(Reverted, match="UnknownRule"):
            judge(wrong, changed(proofs.rounded_proof(*wrong.given, 3), rule=rule))


ZEROS = {
    "sqrt.default": ([0.0, -0.0], [0.0, -0.0]),
    "mul.Tensor": ([0.0, -0.0, -0.0, 2.0**-100], [0.0, -0.0, 0.0, -0.0]),
    "sub.Tensor": ([0.0, -0.0, 1.0], [0.0, 0.0, 0.0]),
    "tanh.default": ([0.0, -0.0], [0.0, 0.0]),
    "sin.default": ([0.0, -0.0], [0.0, 0.0]),
    "erf.default": ([0.0, -0.0], [0.0, 0.0]),
}
"""Inputs, and what a replay makes of them."""


@pytest.mark.parametrize("name", ZEROS)
def test_no_contract_minds_the_sign_of_a_zero_that_is_no_sums(judge, name):
    """Replays all have the same one, so members of the committee do."""
    inputs, expected = map(torch.tensor, ZEROS[name])
    others = {"mul.Tensor": torch.tensor([1.0, 1.0, -1.0, -(2.0**-100)]), "sub.Tensor": inputs}
    operands = [inputs, others[name]] if name in others else [inputs]
    logged = steps.log({}) if name.split(".")[0] in rules.ROUNDOFFS else None
    step = steps.elementwise(name, operands, expected.double(), kept=logged)
    tape = Tape(8)
    graph = tape.finish(tape(name, *map(tape.input, operands)))
    replay, node = Replay(graph, ()), len(graph) - 1
    (own, _), log = replay.record(operands)
    assert torch.equal(own.view(torch.int32), expected.view(torch.int32))
    before = replay.advance(0, operands, node, log=log)
    for element in range(len(inputs)):
        for zero, sign in ((0.0, False), (-0.0, True)):
            claimed = step.claiming(element, zero)
            assert find_fault(*claimed.given, expected.double()) is None
            assert not judge(claimed, proofs.rounded_proof(*claimed.given, element))
            other = bool(expected[element].signbit()) != sign
            assert differs(replay, node, before, [claimed.output]) == other


def test_numbers_of_a_call_count_with_all_their_digits(judge):
    x = torch.randn(8, generator=torch.Generator().manual_seed(0))
    step = steps.elementwise("mul.Scalar", [x], x.double() * 0.1, proofs.words(0.1))
    rounded_first = steps.elementwise("mul.Scalar", [x], (x * torch.tensor(0.1)).double(), proofs.words(0.1))
    assert not any(judge(step, proofs.rounded_proof(*step.given, e)) for e in range(8))
    differs = (step.output != rounded_first.output).tolist()
    assert any(differs)
    for element, other in enumerate(differs):
        assert judge(rounded_first, proofs.rounded_proof(*rounded_first.given, element)) == other


# ---- what is not finite


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("kind", SUMS)
def test_whatever_is_claimed_of_a_sum_with_a_term_that_is_not_finite_is_refuted(judge, kind, broken):
    step, results = doubtful(kind)
    read = proofs.reads(proofs.Leaf.of(*step.given), 2)
    lane = 5 if kind == "embedding_gradient" else 0  # the first place that looked the row up
    for operand in range(2 if kind == "contraction" else 1):
        before = [tensor.clone() for tensor in step.before]
        before[step.bundle.graph.nodes[0].operands[operand].value].view(-1)[
            next(first + lane for index, first, _ in read if index == operand)
        ] = broken
        bad = replace(step, before=tuple(before))
        results = results.clone()
        results[2 if results.dim() == 1 else (0, 2) if kind == "contraction" else (1, 0)] = torch.nan
        for claimed in (step.output.view(-1)[2].item(), 0.0, torch.inf, torch.nan):
            wrong = bad.claiming(2, claimed)
            fault = find_fault(*wrong.given, results)
            assert fault.rule == BREAKDOWN and judge(wrong, fault.proof)
        standing = next(e for e in range(6) if proofs.zone(proofs.Leaf.of(*bad.given), e).mid is not None)
        assert not judge(bad, proofs.rounded_proof(*bad.given, standing, BREAKDOWN))


@pytest.mark.parametrize("kind", SUMS)
def test_finite_sums_do_not_break_down(judge, kind):
    step, _ = doubtful(kind)
    for element in range(6):
        assert not judge(step, proofs.rounded_proof(*step.given, element, BREAKDOWN))


def test_a_sum_that_overflows_has_no_honest_claim(judge):
    step = steps.contraction(torch.full((1, 4), 3e38), torch.ones(1, 4))
    assert step.output.isinf().all()
    for claimed in (3.4e38, torch.inf, -torch.inf, torch.nan, 0.0):
        wrong = step.claiming(0, claimed)
        assert judge(wrong, find_fault(*wrong.given, step.output.double()).proof)


@pytest.mark.parametrize(
    "name, x", [("exp", 1000.0), ("exp", torch.inf), ("log", 0.0), ("log", -1.0), ("log", torch.inf)]
    + [(name, torch.nan) for name in rules.ROUNDOFFS] + [("sin", torch.inf), ("cos", -torch.inf)],
)  # fmt: skip
def test_a_function_that_is_not_finite_has_no_honest_claim(judge, name, x):
    inputs = torch.tensor([0.5, x])
    results = getattr(torch, name)(inputs.double())
    step = steps.elementwise(f"{name}.default", [inputs], results, kept=steps.log({}))
    assert find_fault(*step.claiming(1, 0.0).given, results).element == 1
    for claimed in (results[1].item(), 0.0, 3.4e38, torch.inf, -torch.inf, torch.nan):
        wrong = step.claiming(1, claimed)
        assert judge(wrong, find_fault(*wrong.given, results).proof)
        assert not judge(wrong, proofs.rounded_proof(*wrong.given, 1, OMISSION))
    assert not judge(step, proofs.rounded_proof(*step.given, 0))


@pytest.mark.parametrize(
    "name, x, limit", [("exp", -torch.inf, 0.0), ("tanh", torch.inf, 1.0), ("erf", -torch.inf, -1.0)]
)
def test_a_function_has_its_limit_at_infinity(judge, name, x, limit):
    """Masked scores are minus infinity, and their exponentials zero."""
    inputs = torch.tensor([0.5, x])
    results = getattr(torch, name)(inputs.double())
    step = steps.elementwise(f"{name}.default", [inputs], results, kept=steps.log({}))
    assert step.output[1] == limit and find_fault(*step.given, results) is None
    assert not judge(step, proofs.rounded_proof(*step.given, 1))
    wrong = step.claiming(1, 0.5)
    assert judge(wrong, find_fault(*wrong.given, results).proof)


def test_infinities_and_nan_of_arithmetic_stand_and_are_not_made_up(judge):
    """Masks are made of them, so that a recording goes on."""
    x = torch.tensor([1.0, torch.inf, torch.inf, 0.0, -2.0, torch.nan])
    z = torch.tensor([0.0, -torch.inf, 5.0, torch.inf, torch.inf, 1.0])
    for name in (
        "add.Tensor",
        "sub.Tensor",
        "mul.Tensor",
        "div.Tensor",
        "sqrt.default",
        "reciprocal.default",
    ):
        operands = [x, z] if name.endswith("Tensor") else [x]
        results = getattr(torch, name.split(".")[0])(*(each.double() for each in operands))
        step = steps.elementwise(name, operands, results)
        assert find_fault(*step.given, results) is None
        for element in range(6):
            assert not judge(step, proofs.rounded_proof(*step.given, element))
            for claimed in {0.0, 8.0, torch.inf, -torch.inf, torch.nan}:
                wrong = step.claiming(element, claimed)
                same = (
                    claimed == step.output[element]
                    or claimed != claimed
                    and bool(step.output[element].isnan())
                )
                assert judge(wrong, proofs.rounded_proof(*wrong.given, element)) != same, (
                    name,
                    element,
                    claimed,
                )
                assert (find_fault(*wrong.given, results) is None) == same
