"""Elements decided from records of pieces: the same verdicts as from openings, and no other ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from eth_abi import decode, encode
from flint import arb
from torch import Tensor, nn
from web3.contract import Contract
from web3.exceptions import ContractLogicError

import tao.proofs
from proofs.test_proofs import Leaf, changed, leaf
from tao.errors import UnsupportedOperator
from tao.execution import capture
from tao.graph.operators import CONTRACTION
from tao.graph.rows import NORMS, SOFTMAXES, SUMS
from tao.model import trace
from tao.proofs import Plan, element_proof, proof_plan
from tao.proofs.leaf import Leaf as ProofLeaf
from tao.proofs.pieces import LONGEST, MAX_GAS, MAX_POSTED, PRODUCTS
from tao.tensors.keccak import keccak

RECORDED = "(uint256[],(bytes32,bytes32[])[],(bytes,bytes32[],bytes32[])[],bytes)"
ROW = "(uint256,uint256,(bytes,bytes32[],bytes32[])[],(bytes,bytes32[]))"


class Sums(nn.Module):
    """Every kind of operator whose rows can be posted, on rows that no chunk is aligned to."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(300, 5)
        self.table = nn.Parameter(torch.randn(2, 7, 300))
        self.layer, self.group = nn.LayerNorm(300), nn.GroupNorm(2, 4)
        self.rms = nn.RMSNorm(300)
        self.planes, self.channels = nn.Conv2d(3, 4, 5, padding=2), nn.Conv2d(150, 3, 3, padding=1)
        self.line = nn.Conv1d(4, 2, 3, stride=2, bias=False)

    def forward(self, x: Tensor, image: Tensor) -> tuple[Tensor, ...]:
        y = self.rms(self.layer(x))
        product = self.linear(y[1:]) + (x @ self.table[1].mT)[1:, :5]
        planes = self.group(self.planes(image))
        channels = self.channels(self.table[0].expand(1, 7, 300).reshape(1, 150, 7, 2))
        line = self.line(planes.flatten(2))
        rows = torch.stack([y.softmax(-1).sum(-1), x.log_softmax(-1).mean(-1), x.cumsum(-1)[:, 160]])
        return product, channels, line, rows


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(11)
    inputs = torch.randn(3, 300), torch.randn(1, 3, 11, 13)
    bundle = trace(Sums(), inputs)
    return bundle, capture(bundle.graph, bundle.parameters, inputs, range(len(bundle.graph) + 1))


@pytest.fixture(autouse=True)
def in_pieces(monkeypatch):
    """Rows of any length are posted, two chunks at a time."""
    monkeypatch.setattr(tao.proofs, "MAX_OPENED", 0)
    monkeypatch.setattr(tao.proofs.pieces, "_CHUNKS", 2)


@dataclass(frozen=True)
class Posted:
    """A plan whose pieces are on the chain."""

    case: Leaf
    plan: Plan
    contract: Contract

    def recorded(self) -> tuple:
        """Lanes, tensors, points and the operator's own proof."""
        _, found = decode(["bytes32", RECORDED], self.plan.proof)
        return found


@pytest.fixture
def posted(deciders) -> Callable[[Leaf, int], Posted]:
    def post(case: Leaf, element: int) -> Posted:
        contract = deciders[keccak(case[0].graph.nodes[case[1]].operator.encode())[:4]]
        plan = proof_plan(*case, element)
        for posting in plan.postings():
            contract.functions.post(posting.pieces).transact({"gas": 15_000_000})
        return Posted(case, plan, contract)

    return post


def answer(call: Callable[[], object]) -> str:
    """The selector of the error that a call reverts with."""
    with pytest.raises(ContractLogicError) as refusal:
        call()
    return refusal.value.data[:10]


def spoiled(posted: Posted, refutes, **parts) -> str:
    """The selector of the error that the adjudicator answers to a proof with other parts."""
    lanes, tensors, points, own = posted.recorded()
    values = {"lanes": lanes, "tensors": tensors, "points": points, "proof": own} | parts
    encoded = encode(["bytes32", RECORDED], [posted.plan.proof[:32], tuple(values.values())])
    return answer(lambda: refutes(*posted.case, encoded))


def error(signature: str) -> str:
    return "0x" + keccak(signature.encode())[:4].hex()


UNKNOWN = error("UnknownPiece(bytes32)")
BEYOND = error("PieceBeyondRun(uint256,uint256)")
CONVOLUTIONS = PRODUCTS - {CONTRACTION}


def summed(model) -> list[int]:
    return [i for i, node in enumerate(model[0].graph.nodes) if node.operator in LONGEST]


def of(model, operators) -> Leaf:
    return leaf(model, next(i for i in summed(model) if model[0].graph.nodes[i].operator in operators))


def test_the_model_has_every_kind_of_sum(model):
    operators = {model[0].graph.nodes[i].operator for i in summed(model)}
    for kind in (SUMS, NORMS, SOFTMAXES, PRODUCTS):
        assert len(operators & kind) >= 2, kind


def test_records_decide_as_openings_do(model, posted, refutes):
    """Whatever is claimed: the honest number, numbers near the bound, and what is no number."""
    verdicts = set()
    for index in summed(model):
        case = leaf(model, index)
        size = case[3][0].numel()
        for element in {0, size - 1}:
            honest = float(case[3][0].view(-1)[element])
            for step in (0.0, 3e-5, 1e-4, 1e-2, torch.inf):
                claimed = changed(case, element, honest + step * max(abs(honest), 1e-2))
                opened = refutes(*claimed, element_proof(*claimed, element))
                found = posted(claimed, element)
                assert len(found.plan.pieces) > 1 or sum(piece.lanes for piece in found.plan.pieces) <= 64
                assert refutes(*claimed, found.plan.proof) == opened, (case[0].graph.names[index], step)
                verdicts.add((step, opened))
    assert (0.0, True) not in verdicts and (1e-2, False) not in verdicts
    assert {verdict for step, verdict in verdicts if step == 3e-5} == {True, False}


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-1)


def drawn(kind: str, *shape: int) -> Tensor:
    """Finite FP32 numbers: over 90 binary orders of magnitude, or down to subnormal ones, or of one size."""
    random = np.random.default_rng([len(kind), *shape])
    low, high = {"wide": (70, 160), "minute": (0, 40), "even": (120, 128)}[kind]
    bits = random.integers(low, high, shape) << 23 | random.integers(0, 1 << 23, shape)
    bits[..., ::7] &= 0x7F800000  # powers of two, and zeros
    return torch.from_numpy((bits | random.integers(0, 2, shape) << 31).astype(np.uint32).view(np.float32))


def parts(bits: int) -> tuple[int, int, int]:
    """Sign, exponent and significand of (-1)^s m 2^(e - 150)."""
    exponent, fraction = bits >> 23 & 0xFF, bits & 0x7FFFFF
    return bits >> 31, max(exponent, 1), fraction | (exponent > 0) << 23


def expected(operator: str, window: int, a: list[int], b: list[int]) -> tuple[int, int, int]:
    """The sums of a piece in units of 2^(window - 150), of products 2^(window - 300), by IPartialSums."""
    first = second = third = 0
    for x, y in zip(a, b or [0x3F800000] * len(a), strict=True):
        (s, e, m), (t, f, n) = parts(x), parts(y)
        e, m = (e + f, m * n) if b else (e, m)
        if e < window:
            continue
        units = m << e - window
        first, second = (first, second + units) if s ^ t else (first + units, second)
        if operator in NORMS:
            third += units**2
        elif 0 in (x >> 23 & 0xFF, y >> 23 & 0xFF):
            third += units
    return first, second, third


@pytest.mark.parametrize("kind", ["wide", "minute", "even"])
@pytest.mark.parametrize("module", [Mean(), nn.LayerNorm(500), nn.Linear(500, 3)], ids=["sum", "norm", "dot"])
def test_records_are_the_exact_sums_of_their_lanes(posted, module, kind):
    """Integers to the last bit, and in rationals no further from the row's sum than the skipped lanes are."""
    module = copy.deepcopy(module)
    for parameter in module.parameters():
        parameter.data = drawn(kind, *parameter.shape)
    x = drawn(kind, 2, 500)
    bundle = trace(module, (x,))
    index = next(i for i, node in enumerate(bundle.graph.nodes) if node.operator in LONGEST)
    operator, states = bundle.graph.nodes[index].operator, capture(bundle.graph, bundle.parameters, (x,), [1])
    found = posted((bundle, index, (x,), states[1]), 1)
    total, exact, window = 0, Fraction(0), found.plan.pieces[0].hint
    for piece in found.plan.pieces:
        a, b = ([*(found.plan.leaf.bits(i, at, piece.lanes) for i, at in piece.runs), []])[:2]
        *sums, known = found.contract.functions.sumsOf(piece.key).call()
        assert known and tuple(sums) == expected(operator, window, a, b)
        total += sums[0] - sums[1]
        lanes = [Fraction(float(x)) for x in torch.tensor(a).to(torch.int32).view(torch.float32)]
        if b:
            others = torch.tensor(b).to(torch.int32).view(torch.float32)
            lanes = [x * Fraction(float(y)) for x, y in zip(lanes, others, strict=True)]
        exact += sum(lanes)
    unit = Fraction(2) ** (window - (300 if operator in PRODUCTS else 150))
    least = 1 if operator not in PRODUCTS else 2
    skipped = 0 if window == least else 500 << (47 if operator in PRODUCTS else 23)
    assert abs(total * unit - exact) <= skipped * unit
    assert sum(piece.lanes for piece in found.plan.pieces) == 500


def test_records_of_a_softmax_enclose_its_sums(posted):
    x = torch.from_numpy(np.random.default_rng(5).normal(0, 9, (2, 500)).astype(np.float32))
    x[1, 33] = -torch.inf
    bundle = trace(nn.Softmax(-1), (x,))
    found = posted((bundle, 0, (x,), (x.softmax(-1),)), 700)
    sums = [found.contract.functions.sumsOf(piece.key).call() for piece in found.plan.pieces]
    total, weighted = sum(each[0] for each in sums), sum(each[2] for each in sums)
    shifts = [arb(float(x[1].max())) - arb(float(lane)) for lane in x[1] if lane.isfinite()]
    exact, exact_weighted = sum((-d).exp() for d in shifts), sum((-d).exp() * d for d in shifts)
    assert abs(arb(total) / arb(2) ** 80 - exact) < exact / 2**43 + 1000 / arb(2) ** 80
    assert abs(arb(weighted) / arb(2) ** 183 - exact_weighted) < exact_weighted / 2**43 + 500 / arb(2) ** 72
    assert all(each[1] == 0 for each in sums) and len(sums) == 4


def test_pieces_are_posted_in_any_order_and_only_once(model, deciders, refutes):
    case = changed(of(model, {CONTRACTION}), 2, 77.0)
    contract = deciders[keccak(CONTRACTION.encode())[:4]]
    plan = proof_plan(*case, 2)
    keys = [piece.key for piece in plan.pieces]
    (all_of_them,) = plan.postings()
    for piece in reversed(all_of_them.pieces):
        contract.functions.post([piece]).transact({"gas": 15_000_000})
    assert all(contract.functions.areKnown([*keys]).call())
    assert list(plan.postings(set(keys))) == []
    assert [posting.keys for posting in plan.postings(set(keys[1:]))] == [keys[:1]]
    again = contract.functions.post(all_of_them.pieces).transact({"gas": 15_000_000})
    assert contract.w3.eth.get_transaction_receipt(again)["logs"] == []
    assert refutes(*case, plan.proof)


def test_no_piece_may_be_missing_repeated_or_reach_beyond_its_row(model, posted, refutes):
    for operators in ({CONTRACTION}, CONVOLUTIONS, NORMS, SUMS, SOFTMAXES):
        found = posted(changed(of(model, operators), 0, 1e3), 0)
        assert refutes(*found.case, found.plan.proof)
        lanes = list(found.recorded()[0])
        assert spoiled(found, refutes, lanes=lanes[:-1]) == error("PiecesMissing(uint256)")
        assert spoiled(found, refutes, lanes=[]) == error("PiecesMissing(uint256)")
        assert spoiled(found, refutes, lanes=lanes[1:]) in (UNKNOWN, error("PiecesMissing(uint256)"))
        assert spoiled(found, refutes, lanes=[0, *lanes]) == UNKNOWN
        assert spoiled(found, refutes, lanes=[2**255, *lanes]) == BEYOND
        if operators != CONVOLUTIONS:  # which have a piece for each of several short runs
            assert spoiled(found, refutes, lanes=[lanes[0], *lanes]) in (UNKNOWN, BEYOND)
            # Lanes that add up, cut elsewhere: nobody has posted those.
            assert spoiled(found, refutes, lanes=[lanes[0] - 1, lanes[1] + 1, *lanes[2:]]) == UNKNOWN


def test_records_of_another_row_tensor_or_type_do_not_count(model, posted, refutes):
    found = posted(changed(of(model, SUMS), 0, 1e3), 0)
    bundle, index, before, outputs = found.case
    element, scale, operands, output = decode([ROW], found.recorded()[3])[0]
    opened = ProofLeaf.of(*found.case).open_output(1)
    other_row = encode([ROW], [(1, scale, operands, opened)])
    assert spoiled(found, refutes, proof=other_row) == UNKNOWN
    other_window = encode([ROW], [(element, scale + 1, operands, output)])
    assert spoiled(found, refutes, proof=other_window) == UNKNOWN
    (commitment, path), *_ = found.recorded()[1]
    mismatch = error("OperandMismatch(uint256,bytes32)")
    assert spoiled(found, refutes, tensors=[(keccak(commitment), path)]) == mismatch
    assert spoiled(found, refutes, tensors=[(commitment, [bytes(32)])]) == error(
        "WrongPathLength(uint256,uint256)"
    )
    assert spoiled(found, refutes, tensors=[]) == error("WrongTensorCount(uint256,uint256)")
    # The prover's own state with another tensor: its commitment differs, and with it every key.
    position = bundle.graph.live(index).index(bundle.graph.nodes[index].operands[0].value)
    moved = tuple(t + 1 if i == position else t for i, t in enumerate(before))
    case = (bundle, index, moved, outputs)
    stale = replace(found, case=case)
    own = ProofLeaf.of(*case).source(0)
    assert spoiled(stale, refutes, tensors=[own]) == UNKNOWN


def test_operands_cannot_change_places(model, posted, refutes):
    case = changed(of(model, {CONTRACTION}), 0, 1e3)
    found = posted(case, 0)
    a, b = found.recorded()[1]
    assert spoiled(found, refutes, tensors=[b, a]) in (
        error("OperandMismatch(uint256,bytes32)"),
        error("WrongPathLength(uint256,uint256)"),
    )


def test_the_maximum_is_a_lane_of_the_row_and_none_exceeds_it(model, posted, refutes):
    case = changed(of(model, SOFTMAXES), 0, 0.9)
    found = posted(case, 0)
    rows = found.plan.leaf
    lanes, _, points, own = found.recorded()
    element, largest, operands, output = decode([ROW], own)[0]
    n = rows.node.reduction
    # Another lane taken for the maximum is refused where it is posted.
    below = (largest + 1) % n
    hint = rows.bits(0, below, 1)[0]
    value = next(iter(replace_hint(found.plan, hint).postings())).pieces
    refusal = answer(lambda: found.contract.functions.post(value).call({"gas": 15_000_000}))
    assert refusal == error("AboveTheMaximum(uint256)")
    outsized = next(iter(replace_hint(found.plan, 2**32).postings())).pieces
    refusal = answer(lambda: found.contract.functions.post(outsized).call({"gas": 15_000_000}))
    assert refusal == error("SafeCastOverflowedUintDowncast(uint8,uint256)")
    # A number above all lanes can be posted, but no point of the row opens to it.
    high = replace_hint(found.plan, 0x42C80000)
    for posting in high.postings():
        found.contract.functions.post(posting.pieces).transact({"gas": 15_000_000})
    moved = encode([ROW], [(element, below, operands, output)])
    assert spoiled(found, refutes, proof=moved) in (UNKNOWN, error("RunNotCovered(uint256,uint256,uint256)"))
    point = rows.open_operand(0, rows.first(0, 0) + below, 1)
    assert spoiled(found, refutes, proof=moved, points=[points[0], point]) == UNKNOWN
    outside = encode([ROW], [(element, n, operands, output)])
    assert spoiled(found, refutes, proof=outside) == error("LaneOutOfRange(uint256,uint256)")
    assert spoiled(found, refutes, points=points[:1]) == error("WrongPointCount(uint256,uint256)")
    assert len(lanes) > 1


def replace_hint(plan: Plan, hint: int) -> Plan:
    return replace(plan, pieces=tuple(replace(piece, hint=hint) for piece in plan.pieces))


def test_malformed_pieces_and_proofs_are_refused(model, posted, refutes):
    found = posted(changed(of(model, NORMS), 0, 1e3), 0)
    post = found.contract.functions.post
    (hint, lanes, (run,)), *_ = next(iter(found.plan.postings())).pieces
    kind, first, data, path = run

    def refused(piece: tuple) -> str:
        return answer(lambda: post([piece]).call({"gas": 15_000_000}))

    assert refused((hint, lanes, [])) == error("WrongRunCount(uint256,uint256)")
    assert refused((hint, lanes, [run, run])) == error("WrongRunCount(uint256,uint256)")
    assert refused((hint, lanes, [(b"\2" + kind[1:], first, data, path)])) == error("NotFloat32(uint8)")
    assert refused((hint, 0, [run])) == error("RunOutOfRange(uint256,uint256)")
    assert refused((hint, 2**30, [run])) == error("RunOutOfRange(uint256,uint256)")
    assert refused((0, lanes, [run])) == error("WindowOutOfRange(uint256)")
    assert refused((1, lanes, [run])) == error("WindowTooLow(uint256)")
    # What is not under the tensor's commitment is a record of another tensor, which nobody asks for.
    forged = (hint, lanes, [(kind, first, bytes(len(data)), path)])
    post([forged]).transact({"gas": 15_000_000})
    assert refutes(*found.case, found.plan.proof)
    head = found.plan.proof[:32]
    for bad in (head, head + (0x60).to_bytes(32, "big") + found.plan.proof[64:]):
        assert answer(lambda bad=bad: refutes(*found.case, bad)) == error("MalformedRecordedProof()")


def test_operators_without_records_say_so(deciders, refutes):
    class Length(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.vector_norm(x, dim=-1)

    x = torch.randn(2, 100)
    bundle = trace(Length(), (x,))
    with pytest.raises(UnsupportedOperator, match="opened neither in one"):
        proof_plan(bundle, 0, (x,), (x[:, 0],), 0)


def test_postings_stay_below_the_limits_of_nodes(monkeypatch):
    monkeypatch.undo()
    x = torch.randn(1, 100_001)
    for module, places in ((nn.Softmax(-1), 7), (nn.Linear(100_001, 3), 100_000)):
        bundle = trace(module, (x,))
        output = capture(bundle.graph, bundle.parameters, (x,), [1])[1]
        plan = proof_plan(bundle, 0, (x,), output[-1:], places % output[-1].numel())
        found = list(plan.postings())
        assert sum(posting.lanes for posting in found) == 100_001
        kind = "(uint256,uint256,(bytes,uint256,bytes,bytes32[])[])[]"
        for posting in found:
            assert len(encode([kind], [posting.pieces])) + 4 <= MAX_POSTED and posting.gas <= MAX_GAS
        # None could take the next one's first piece.
        assert len(found) < 1.3 * 100_001 / found[0].lanes + 1
