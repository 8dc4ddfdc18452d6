"""Rounded sums decided from records of pieces: the verdicts of openings, ties and skipped terms included."""

from __future__ import annotations

import random

import pytest
import torch
from eth_abi import decode, encode
from web3.exceptions import ContractLogicError

import tao.proofs
from proofs.test_pieces import RECORDED, drawn, error
from support import steps
from support.floats import bits_of
from support.rounded_steps import PROOF, changed, doubtful_terms, encoding, floats, neighbour
from tao.errors import UnsupportedOperator
from tao.numerics import float32
from tao.proofs import Plan
from tao.proofs.pieces import postings
from tao.proofs.sums import exact_sums, sums_over
from tao.tensors.keccak import keccak
from tao.training import proofs
from tao.training.proofs import BREAKDOWN, rounded_plan, rounded_proof
from tao.training.search import find_fault

LANES = 300
SUMS = ("contraction", "sum")
NUMBERS = ("wide", "minute", "even", "tie")


@pytest.fixture(autouse=True)
def in_pieces(monkeypatch):
    """Rows of any length are posted, two chunks at a time; single numbers are opened."""
    monkeypatch.setattr(tao.proofs, "MAX_OPENED", 1_000)
    monkeypatch.setattr(tao.proofs.pieces, "_CHUNKS", 2)


def of(kind: str, numbers: str) -> steps.Step:
    """Six sums of LANES lanes; those of `tie` are half-way between two numbers, but for the last."""
    x = drawn("even" if numbers == "tie" else numbers, 6, LANES)
    if numbers == "tie":
        x[:5] = floats([doubtful_terms(LANES, seed) for seed in range(5)])
    if kind == "sum":
        return steps.row_sum(x)
    ones = torch.ones(1, LANES)
    return steps.contraction(x, ones if numbers == "tie" else drawn(numbers, 1, LANES))


@pytest.fixture
def contract_of(deciders):
    return lambda step: deciders[keccak(step.bundle.graph.nodes[0].operator.encode())[:4]]


@pytest.fixture
def posted(contract_of):
    def post(step: steps.Step, plan: Plan) -> Plan:
        for posting in plan.postings():
            contract_of(step).functions.post(posting.pieces).transact({"gas": 15_000_000})
        return plan

    return post


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("kind", SUMS)
def test_records_decide_as_openings_and_refute_all_but_the_rounded_sum(refutes, posted, kind, numbers):
    step = of(kind, numbers)
    for element in (0, 3, 5):
        honest = encoding(step, element)
        place = float32.order(honest)
        assert len(posted(step, rounded_plan(*step.given, element)).pieces) > 1
        for claimed in (place, place - 1, place + 1, place + 2, float32.order(float32.ONE)):
            wrong = step.claiming(element, floats([float32.encoding(claimed)])[0])
            refuted = refutes(*wrong.given, rounded_plan(*wrong.given, element).proof)
            assert (
                refuted == (claimed != place) == refutes(*wrong.given, rounded_proof(*wrong.given, element))
            )
        for value in (torch.nan, torch.inf, -torch.inf):
            wrong = step.claiming(element, value)
            assert refutes(*wrong.given, rounded_plan(*wrong.given, element).proof)


@pytest.mark.parametrize("kind", SUMS)
def test_a_wrong_sum_of_many_lanes_is_found_with_its_plan(refutes, posted, kind):
    step = of(kind, "even")
    wrong = step.claiming(4, neighbour(step.output.view(-1)[4]))
    fault = find_fault(*wrong.given, step.output.double())
    assert fault.element == 4 and fault.plan.pieces and fault.plan.whole is not None
    assert refutes(*wrong.given, posted(wrong, fault.plan).proof)
    assert find_fault(*step.given, step.output.double()) is None


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("kind", SUMS)
def test_sums_are_those_that_the_contract_records(contract_of, posted, kind, numbers):
    step = of(kind, numbers)
    plan = posted(step, rounded_plan(*step.given, 1))
    whole, _ = plan.whole
    firsts, total = [first for _, first in whole.runs], [0, 0, 0]
    for piece in plan.pieces:
        lo = piece.runs[0][1] - firsts[0]
        *recorded, known = contract_of(step).functions.sumsOf(piece.key).call()
        assert known and tuple(recorded) == sums_over(plan.leaf, whole.hint, firsts, lo, lo + piece.lanes)
        total = [a + b for a, b in zip(total, recorded, strict=True)]
    assert tuple(total) == sums_over(plan.leaf, whole.hint, firsts, 0, LANES)
    assert (total[2] > 0) == (numbers == "wide" or (kind, numbers) == ("contraction", "minute"))


@pytest.mark.parametrize("window", [100, 120, 124, 127])
def test_what_is_below_a_higher_window_is_counted(contract_of, window):
    """Also of an embedding's gradient, of which no proof names a record."""
    x, indices = drawn("even", 4, LANES), torch.zeros(1, LANES, dtype=torch.int64)
    for step in (steps.row_sum(x), steps.embedding_gradient(x.T, indices, 1)):
        leaf = proofs.Leaf.of(*step.given)
        piece = tao.proofs.Piece.of(leaf, window, 64, ((0, LANES),))
        (posting,) = postings(leaf, [piece])
        contract_of(step).functions.post(posting.pieces).transact({"gas": 15_000_000})
        *recorded, known = contract_of(step).functions.sumsOf(piece.key).call()
        lanes = bits_of(x[1, :64].numpy())
        below = sum(float32.unpack(bits)[0] < window and bits << 1 & 0xFFFFFFFF != 0 for bits in lanes)
        assert known and recorded[2] == below
        assert tuple(recorded) == sums_over(leaf, window, [LANES], 0, 64)
    assert below if window > 120 else not below


@pytest.mark.parametrize("place", [0, LANES - 1, LANES, 2 * LANES - 1])
def test_the_first_and_the_last_lane_of_both_operands_may_break(refutes, place):
    """And no lane of a neighbouring row."""
    step = of("contraction", "even")
    operand, lane = divmod(place, LANES)
    for row, breaks in ((3, True), (2, operand == 1)):
        bad = [tensor.clone() for tensor in step.before]
        bad[1 + operand][0 if operand else row, lane] = torch.nan
        wrong = steps.Step(step.bundle, tuple(bad), step.output)
        assert refutes(*wrong.given, rounded_plan(*wrong.given, 3, BREAKDOWN).proof) == breaks


@pytest.mark.parametrize("kind", SUMS)
def test_no_changed_proof_of_records_refutes_an_honest_step(refutes, posted, kind):
    step, chance = of(kind, "tie"), random.Random(kind)
    proof = posted(step, rounded_plan(*step.given, 2)).proof
    decided = 0
    for _ in range(150):
        other = bytearray(proof)
        for _ in range(chance.randrange(1, 4)):
            other[chance.randrange(len(other))] = chance.choice([0, 1, 2, 32, 255, chance.randrange(256)])
        try:
            assert not refutes(*step.given, bytes(other))
            decided += 1
        except ContractLogicError:
            pass
    assert decided


@pytest.mark.parametrize("broken", [torch.nan, -torch.inf])
@pytest.mark.parametrize("kind", SUMS)
def test_a_breakdown_is_shown_by_one_number_however_many_lanes_there_are(refutes, kind, broken):
    step = of(kind, "even")
    for operand in range(2 if kind == "contraction" else 1):
        lane = 201 + operand
        bad = [tensor.clone() for tensor in step.before]
        bad[1 + operand][0 if operand else 3, lane] = broken
        wrong = steps.Step(step.bundle, tuple(bad), step.output)
        plan = rounded_plan(*wrong.given, 3, BREAKDOWN)
        assert not plan.pieces and len(plan.proof) < 2_000
        assert refutes(*wrong.given, plan.proof)
        hint = decode([PROOF], plan.proof)[0][1]
        assert hint == operand * LANES + lane
        with pytest.raises(ContractLogicError):
            refutes(*wrong.given, changed(plan.proof, hint=hint - 64))
        for beyond in (LANES * (2 if kind == "contraction" else 1), hint + 2 * LANES, 2**256 - 1):
            with pytest.raises(ContractLogicError) as refusal:
                refutes(*wrong.given, changed(plan.proof, hint=beyond))
            assert selector(refusal) == error("LaneOutOfRange(uint256)")
    assert not refutes(*step.given, rounded_plan(*step.given, 3, BREAKDOWN).proof)


def test_records_prove_by_no_other_rule_and_take_no_openings(refutes, posted):
    step = steps.contraction(drawn("even", 4, LANES), drawn("even", 1, LANES))
    plan = posted(step, rounded_plan(*step.given, 2))
    tag, (lanes, tensors, points, own) = decode(["bytes32", RECORDED], plan.proof)
    opened = decode([PROOF], rounded_proof(*step.given, 2))[0][2]

    def spoiled(**fields) -> str:
        proof = encode(["bytes32", RECORDED], [tag, (lanes, tensors, points, changed(own, **fields))])
        with pytest.raises(ContractLogicError) as refusal:
            refutes(*step.given, proof)
        return selector(refusal)

    for rule in (1, 2, BREAKDOWN, 9):
        assert spoiled(rule=rule) == error("UnknownRule(uint256)")
    assert spoiled(operands=opened) == error("WrongOpeningCount(uint256,uint256)")
    assert spoiled(hint=decode([PROOF], own)[0][1] + 1) == error("UnknownPiece(bytes32)")
    assert spoiled(element=3) == error("UnknownPiece(bytes32)")


def test_a_gradient_of_an_embedding_is_opened_at_once_or_not_at_all():
    step = steps.embedding_gradient(torch.ones(LANES, 2), torch.zeros(1, LANES, dtype=torch.int64), 1)
    with pytest.raises(UnsupportedOperator, match="neither in one transaction nor in several"):
        rounded_plan(*step.given, 0)


@pytest.mark.parametrize("kind", SUMS)
def test_where_the_contract_records_nothing_there_are_no_sums(contract_of, kind):
    step = of(kind, "even")
    step.before[1][2, 7] = torch.inf
    leaf = proofs.Leaf.of(*step.given)
    runs = [[(2 * LANES if i == 0 else 0, 64)] for i in range(2 if kind == "contraction" else 1)]
    (piece,) = tao.proofs.pieces_of(leaf, runs, 200 if kind == "contraction" else 100)
    assert sums_over(leaf, piece.hint, [first for ((first, _),) in runs], 0, 64) is None
    (posting,) = postings(leaf, [piece])
    with pytest.raises(ContractLogicError):
        contract_of(step).functions.post(posting.pieces).call({"gas": 15_000_000})
    assert exact_sums(leaf.node.operator, 0, [leaf.elements[0][:4].view(torch.int32).numpy()]) is None


def selector(refusal) -> str:
    return refusal.value.data[:10]
