"""Logged elements that are refuted by what the log says of them, or does not say."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from support import steps
from support.rounded_steps import changed, doubtful, encoding
from support.wire import Reverted
from tao.errors import UnsupportedOperator
from tao.training import proofs
from tao.training.proofs import BREAKDOWN, CONTRADICTION, OMISSION
from tao.training.search import find_fault


def test_another_value_than_the_logged_one_is_a_contradiction(judge):
    step, results = doubtful("sigmoid")
    for entries in ([2], [0, 2], [2, 5], range(6)):
        for capacity in (len(entries), 8, 100):
            agreed = steps.log({e: encoding(step, e) for e in entries}, capacity)
            step = doubtful("sigmoid", agreed)[0]
            assert not judge(step, proofs.rounded_proof(*step.given, 2, CONTRADICTION))
            assert find_fault(*step.given, results) is None
            other = agreed.clone()
            other[1, list(entries).index(2)] ^= 1
            wrong = step.logging(other)
            assert judge(wrong, proofs.rounded_proof(*wrong.given, 2, CONTRADICTION))
            fault = find_fault(*wrong.given, results)
            assert (fault.element, fault.rule) == (2, CONTRADICTION)
            if 0 not in entries:
                with pytest.raises(UnsupportedOperator):
                    proofs.rounded_proof(*wrong.given, 0, CONTRADICTION)


def test_an_element_in_doubt_must_be_logged_wherever_its_key_would_be(judge):
    step, results = doubtful("sigmoid")
    tolerance = results.abs() * 2.0**-46 + 2.0**-46
    for entries, capacity in (
        ([], 1),
        ([], 8),
        ([0, 1], 2),
        ([0, 1], 8),
        ([3, 5], 2),
        ([0, 4], 2),
        ([0, 5], 80),
    ):
        kept = steps.log({e: encoding(step, e) for e in entries}, capacity)
        step = doubtful("sigmoid", kept)[0]
        assert judge(step, proofs.rounded_proof(*step.given, 2, OMISSION))
        fault = find_fault(*step.given, results, tolerance)
        assert (fault.element, fault.rule) == (2, OMISSION)
        assert judge(step, fault.proof)
        for element in {1, 3} - set(entries):
            assert not judge(step, proofs.rounded_proof(*step.given, element, OMISSION))
    kept = steps.log({2: encoding(step, 2), 4: encoding(step, 4)})
    step = doubtful("sigmoid", kept)[0]
    assert find_fault(*step.given, results, tolerance) is None
    with pytest.raises(UnsupportedOperator):
        proofs.rounded_proof(*step.given, 2, OMISSION)


def test_a_log_out_of_order_does_not_stop_the_search(judge):
    step, results = doubtful("sigmoid")
    kept = steps.log({e: encoding(step, e) ^ 1 for e in range(6)})
    wrong = step.logging(kept[:, [5, 3, 4, 1, 2, 0, 6, 7]]).claiming(3, 1e9)
    fault = find_fault(*wrong.given, results, results.abs())
    assert judge(wrong, fault.proof)


def test_nothing_but_a_gap_around_the_key_shows_an_omission(judge):
    absent = doubtful("sigmoid", steps.log({0: 0, 4: 0}))[0]
    proof = proofs.rounded_proof(*absent.given, 2, OMISSION)
    for entries in ({2: 0, 4: 0}, {0: 0, 2: 0}, {2: 0}, {0: 0, 1: 0, 2: 0}):
        step = doubtful("sigmoid", steps.log(entries))[0]
        leaf = proofs.Leaf.of(*step.given)
        for slot in range(9):
            columns = [c for c in (slot - 1, slot) if 0 <= c < 8]
            openings = [leaf.open_operand(1, c, 1) for c in columns]
            with pytest.raises(Reverted, match="NotBetween"):
                judge(step, changed(proof, slot=slot, openings=openings))
    with pytest.raises(Reverted, match="SlotOutOfRange"):
        judge(absent, changed(proof, slot=9))
    with pytest.raises(Reverted, match="NotBetween"):
        judge(absent, changed(proof, slot=2))
    with pytest.raises(Reverted, match="WrongLogOpeningCount"):
        judge(absent, changed(proof, openings=[]))
    first = proofs.Leaf.of(*absent.given).open_operand(1, 0, 1)
    with pytest.raises(Reverted, match="WrongLogOpeningCount"):
        judge(absent, changed(proof, openings=[first] * 3))
    with pytest.raises(Reverted, match="UnknownRule"):
        judge(absent, changed(proof, rule=BREAKDOWN))


def test_an_entry_of_another_element_is_no_contradiction(judge):
    step = doubtful("sigmoid", steps.log({1: 7, 2: 0}))[0]
    proof = proofs.rounded_proof(*step.given, 2, CONTRADICTION)
    assert judge(step, proof)
    leaf = proofs.Leaf.of(*step.given)
    with pytest.raises(Reverted, match="AnotherKey"):
        judge(step, changed(proof, slot=0, openings=[leaf.open_operand(1, c, 1) for c in (0, 8)]))
    with pytest.raises(Reverted, match="AnotherKey"):
        judge(step, changed(proof, slot=2, openings=[leaf.open_operand(1, c, 1) for c in (2, 10)]))
    with pytest.raises(Reverted, match="SlotOutOfRange"):
        judge(step, changed(proof, slot=8))
    with pytest.raises(Reverted, match="WrongLogOpeningCount"):
        judge(step, changed(proof, openings=[]))


def test_the_log_is_int64_of_two_rows_and_the_node_numbered(judge):
    x = torch.ones(2)

    def sigmoid(kept):
        return steps.elementwise("sigmoid.default", [x], x.double().sigmoid(), kept=kept)

    step = sigmoid(steps.log({1: 0}))
    proof = proofs.rounded_proof(*step.given, 1, CONTRADICTION)
    for kept in (steps.log({1: 0}).to(torch.int32), steps.log({1: 0})[:1], torch.zeros(8, dtype=torch.int64)):
        with pytest.raises(Reverted, match="WrongLogType"):
            judge(sigmoid(kept), proof)
    node = step.bundle.graph.nodes[0]
    graph = replace(step.bundle.graph, nodes=(replace(node, attributes=()),))
    with pytest.raises(Reverted, match="NotLogged"):
        judge(replace(step, bundle=replace(step.bundle, graph=graph)), proof)
