"""The adjudicators of training on whole proofs: the three rules, with openings of operands and the log."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from eth_abi import decode, encode

from support import rounded_cases as cases
from support import steps
from support.rounded_cases import bits_of, midpoint, split
from support.wire import Reverted
from tao.errors import UnsupportedOperator
from tao.training import proofs, rules
from tao.training.examine import zeros_differ
from tao.training.proofs import CONTRADICTION, OMISSION, VALUE
from tao.training.replay import Replay
from tao.training.search import find_fault
from training.steps import Tape

_OPENING = "(bytes,bytes32[],bytes32[])"
PROOF = f"(uint256,uint256,{_OPENING}[],(bytes,bytes32[]),(uint256,uint256,{_OPENING}[]))"


def floats(bits) -> torch.Tensor:
    return torch.from_numpy(np.asarray(bits, np.uint32).view(np.float32).copy())


def encoding(step, element: int) -> int:
    return int(step.output.view(-1)[element].view(torch.int32)) & 0xFFFFFFFF


def neighbour(x: torch.Tensor) -> torch.Tensor:
    return torch.nextafter(x, torch.tensor(torch.inf))


def doubtful_terms(lanes: int, seed: int) -> list[int]:
    """Lanes whose exact sum is a midpoint."""
    terms = np.random.default_rng(seed).normal(0, 1, lanes - 4).astype(np.float32)
    total = sum(map(rules.value, bits_of(terms)))
    return bits_of(terms) + split(midpoint(rules.nearest(total)) - total, 4)


def doubtful(kind: str, kept: torch.Tensor | None = None):
    """A step of six elements with element 2 in doubt, for a sum a tie, and its results: rounded ones of a sum, else
    float64. kept: the log of a logged one."""
    generator = torch.Generator().manual_seed(3)
    if kind == "contraction":
        a, b = torch.randn(2, 40, generator=generator), torch.randn(3, 40, generator=generator)
        a[0], b[2] = floats(doubtful_terms(40, 1)), 1.0
        step = steps.contraction(a, b)
        return step, step.output.double()
    if kind == "sum":
        x = torch.randn(6, 70, generator=generator)
        x[2] = floats(doubtful_terms(70, 2))
        step = steps.row_sum(x)
        return step, step.output.double()
    if kind == "sigmoid":
        x = torch.randn(6, generator=generator)
        x[2] = 2.0**-23  # 1/2 + 2^-25 - 2^-69 / 48
        results = x.double().sigmoid()
        kept = steps.log({}) if kept is None else kept
        return steps.elementwise("sigmoid.default", [x], results, kept=kept), results
    grad = torch.randn(2 * 40, 2, generator=generator)
    indices = torch.randint(2, 3, (2, 40), generator=generator)
    indices[:, 5:17] = 1
    grad[:, 1] = grad[
        :, 1
    ].round()  # sums of FP32 numbers often are midpoints, those of small integers are not
    grad[indices.flatten() == 1, 0] = floats(doubtful_terms(24, 4))
    step = steps.embedding_gradient(grad, indices, 3)
    return step, step.output.double()


SUMS = ("contraction", "sum", "embedding_gradient")
KINDS = (*SUMS, "sigmoid")


@pytest.fixture
def judge(wire, deployment):
    """The verdict on a proof by the contract for the step's operator."""
    families = ("rounded_contraction", "rounded_reduction", "rounded_elementwise", "training")
    contracts = [getattr(deployment, family) for family in families]
    deciders = {bytes(op): each for each in contracts for op in wire.call(each, "operators")}

    def verdict(step: steps.Step, proof: bytes) -> bool:
        return step.refuted(wire, deciders[step.leaf()[0][:4]], proof)

    return verdict


def test_each_operator_has_one_of_the_contracts(wire, deployment):
    from tao.tensors.keccak import keccak

    families = ("rounded_contraction", "rounded_reduction", "rounded_elementwise", "training")
    found = [bytes(op) for f in families for op in wire.call(getattr(deployment, f), "operators")]
    names = {*proofs.ROUNDED, *proofs.DRAWS, proofs.LOG}
    assert sorted(found) == sorted(keccak(name.encode())[:4] for name in names)


# ---- value


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
    even = rules.nearest(zone.mid)
    assert {midpoint(even - 1), midpoint(even)} & {zone.mid} and even % 2 == 0
    for place in (even - 2, even - 1, even + 1, even + 2):
        claimed = step.claiming(2, floats([rules.encoding(place)])[0])
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
    low = rules.nearest(zone.mid - zone.most)
    for place, stands in ((low - 1, False), (low, True), (low + 1, True), (low + 2, False)):
        claimed = step.claiming(2, floats([rules.encoding(place)])[0])
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
            assert zeros_differ(replay, node, before, [claimed.output]) == other


def test_numbers_of_a_call_count_with_all_their_digits(judge):
    x = torch.randn(8, generator=torch.Generator().manual_seed(0))
    step = steps.elementwise("mul.Scalar", [x], x.double() * 0.1, proofs.words(0.1))
    rounded_first = steps.elementwise("mul.Scalar", [x], (x * torch.tensor(0.1)).double(), proofs.words(0.1))
    assert not any(judge(step, proofs.rounded_proof(*step.given, e)) for e in range(8))
    differs = (step.output != rounded_first.output).tolist()
    assert any(differs)
    for element, other in enumerate(differs):
        assert judge(rounded_first, proofs.rounded_proof(*rounded_first.given, element)) == other


# ---- the log


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
        judge(absent, changed(proof, rule=3))


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


# ---- proofs


def changed(proof: bytes, **fields) -> bytes:
    """A proof with other evidence or other fields."""
    element, hint, operands, output, (rule, slot, openings) = decode([PROOF], proof)[0]
    values = dict(element=element, hint=hint, operands=operands, output=output)
    values |= dict(rule=rule, slot=slot, openings=openings) | fields
    evidence = (values["rule"], values["slot"], values["openings"])
    return encode(
        [PROOF], [(values["element"], values["hint"], values["operands"], values["output"], evidence)]
    )


@pytest.mark.parametrize(
    "kind, rule", [*((kind, VALUE) for kind in KINDS), ("sigmoid", CONTRADICTION), ("sigmoid", OMISSION)]
)
def test_no_changed_proof_refutes_an_honest_step(judge, kind, rule):
    chance = random.Random(f"{kind} {rule}")
    step = doubtful(kind)[0]
    step = doubtful(kind, steps.log({2: encoding(step, 2), 4: encoding(step, 4)}))[0]
    proof = proofs.rounded_proof(*step.given, 4 if rule == CONTRADICTION else 3, rule)
    assert not judge(step, proof)
    for _ in range(150):
        other = bytearray(proof)
        for _ in range(chance.randrange(1, 4)):
            other[chance.randrange(len(other))] = chance.choice([0, 1, 2, 32, 255, chance.randrange(256)])
        try:
            assert not judge(step, bytes(other))
        except Reverted:
            pass


@pytest.mark.parametrize("kind", KINDS)
def test_proofs_of_another_shape_revert(judge, kind):
    step = doubtful(kind)[0]
    proof = proofs.rounded_proof(*step.given, 3)
    operands = decode([PROOF], proof)[0][2]
    for others in (operands[:-1], (*operands, operands[0])):
        with pytest.raises(Reverted, match="WrongOpeningCount"):
            judge(step, changed(proof, operands=others))
    for broken in (b"", proof[:0xA0], b"\1" + proof[1:]):
        with pytest.raises(Reverted, match="MalformedProof"):
            judge(step, broken)
    with pytest.raises(Reverted, match="ElementOutOfRange|WrongOpeningCount"):
        judge(step, changed(proof, element=6))


def test_other_operators_types_and_shapes_revert(judge, wire, deployment):
    step = doubtful("sum")[0]
    proof = proofs.rounded_proof(*step.given, 3)
    for family in ("rounded_contraction", "rounded_elementwise", "training"):
        with pytest.raises(Reverted, match="UnsupportedOperator"):
            step.refuted(wire, getattr(deployment, family), proof)
    contraction = doubtful("contraction")[0]
    with pytest.raises(Reverted, match="UnsupportedOperator"):
        contraction.refuted(wire, deployment.rounded_reduction, proof)

    def with_node(step, **fields):
        graph = step.bundle.graph
        graph = replace(graph, nodes=(replace(graph.nodes[0], **fields),))
        return replace(step, bundle=replace(step.bundle, graph=graph))

    with pytest.raises(Reverted, match="NotASum"):
        judge(with_node(step, reduction=0), proof)
    with pytest.raises(Reverted, match="NotAContraction"):
        judge(with_node(contraction, reduction=0), proof)
    wide = replace(step, output=step.output.double())
    types = (*step.bundle.graph.types[:-1], steps.TensorType.of(wide.output))
    wide = replace(wide, bundle=replace(step.bundle, graph=replace(step.bundle.graph, types=types)))
    with pytest.raises(Reverted, match="UnsupportedType"):
        judge(wide, proof)
    maps = step.bundle.graph.nodes[0].maps
    with pytest.raises(Reverted, match="WrongLaneStride"):
        judge(with_node(step, maps=(replace(maps[0], lane_stride=2),)), proof)
    scattered = doubtful("embedding_gradient")[0]
    with pytest.raises(Reverted, match="NotIndices"):
        judge(with_node(scattered, reduction=79), proofs.rounded_proof(*scattered.given, 3))
    maps = (replace(scattered.bundle.graph.nodes[0].maps[0], strides=(1,)), None)
    flat = steps.Step.of(proofs.EMBEDDING_GRADIENT, scattered.before[1:], maps, torch.zeros(6), 80, (5,))
    with pytest.raises(Reverted, match="NotAMatrix"):
        judge(flat, proofs.rounded_proof(*flat.given, 3))
    x = torch.ones(4)
    product = steps.elementwise("mul.Scalar", [x], x.double(), (0,))
    with pytest.raises(Reverted, match="WrongAttributeCount"):
        judge(
            product,
            changed(proof, element=0, operands=[proofs.Leaf.of(*product.given).open_operand(0, 0, 1)]),
        )
    scaled = steps.elementwise("add.Scalar", [x], x.double(), (*proofs.words(0.0), 0x40000000))
    with pytest.raises(Reverted, match="UnsupportedAttribute"):
        judge(scaled, proofs.rounded_proof(*scaled.given, 0))
    unit = steps.elementwise("add.Scalar", [x], x.double(), (*proofs.words(0.0), 0x3F800000))
    assert not judge(unit, proofs.rounded_proof(*unit.given, 0))
    pair = steps.elementwise("sqrt.default", [x, x], x.double())
    with pytest.raises(Reverted, match="WrongOperandCount"):
        judge(pair, proofs.rounded_proof(*pair.given, 0))


def test_a_gradient_of_which_a_place_is_left_out_or_put_in_reverts(judge):
    step = doubtful("embedding_gradient")[0]
    proof = proofs.rounded_proof(*step.given, 2)
    operands = decode([PROOF], proof)[0][2]
    assert len(operands) == 2 + 24
    with pytest.raises(Reverted, match="WrongOpeningCount"):
        judge(step, changed(proof, operands=operands[:-1]))
    with pytest.raises(Reverted, match="OperandMismatch"):
        judge(step, changed(proof, operands=(*operands[:-2], operands[-1], operands[-2])))
    for window in (0, 1, 509, 2**255):
        with pytest.raises(Reverted, match="WindowOutOfRange"):
            judge(step, changed(proof, hint=window))
    unseen = proofs.rounded_proof(*step.given, 0)
    assert not judge(step, unseen)
    wrong = step.claiming(0, 2.0**-149)
    assert judge(wrong, proofs.rounded_proof(*wrong.given, 0))


def test_gradients_of_all_sizes_are_decided_as_in_exact_arithmetic(judge):
    """Lanes steered next to midpoints, whichever places looked the row up."""
    chance = np.random.default_rng(8)
    seen = Counter()
    for n in (1, 6):
        for a, _ in cases.pairs(chance, n):
            for terms, _ in [(a, []), *cases.steered(chance, a, [cases.ONE] * n)][::3]:
                places = np.sort(chance.permutation(24)[: len(terms)])
                indices, grad = torch.ones(3, 8, dtype=torch.int64), torch.randn(24, 2)
                indices.view(-1)[places] = 0
                grad[places, 1] = floats(terms)
                zone = rules.row(terms)
                if zone is None:
                    continue
                step = steps.embedding_gradient(grad, indices, 2)
                for y in cases.claims(chance, zone)[::2]:
                    claimed = step.claiming(1, floats([y])[0])
                    refuted = judge(claimed, proofs.rounded_proof(*claimed.given, 1))
                    assert not refuted or zone.excludes(y)
                    seen[refuted] += 1
                    seen["not proven"] += zone.excludes(y) and not refuted
    assert min(seen[True], seen[False]) > 40
    assert seen["not proven"] < seen[True] / 10, seen


# ---- gas


@pytest.mark.parametrize(
    "kind, lanes, refuted, in_doubt",
    [
        ("contraction", 64, 97_000, 114_000),
        ("contraction", 1024, 391_000, 622_000),
        ("sum", 64, 71_000, 82_000),
        ("sum", 1024, 215_000, 367_000),
    ],
)
def test_a_proof_about_a_sum_costs_no_more_than_recorded(
    wire, people, deployment, kind, lanes, refuted, in_doubt
):
    """A wrong element's, and one whose rounding depends on what the window leaves out."""
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, lanes, generator=generator), torch.randn(3, lanes, generator=generator)
    family = {"contraction": "rounded_contraction", "sum": "rounded_reduction"}[kind]
    step = steps.contraction(a, b) if kind == "contraction" else steps.row_sum(a)
    wrong = step.claiming(1, neighbour(step.output.view(-1)[1]))
    for each, limit in ((wrong, refuted), (step, in_doubt)):
        proof = proofs.rounded_proof(*each.given, 1)
        used = each.cost(wire, people[0], getattr(deployment, family), proof)
        assert 0.8 * limit < used < limit, (kind, lanes, used)


@pytest.mark.parametrize("rule, limit", [(VALUE, 74_000), (OMISSION, 98_000)])
def test_a_proof_about_a_function_costs_no_more_than_recorded(wire, people, deployment, rule, limit):
    kept = steps.log({e: 0 for e in range(0, 4000, 2)}, 4096)
    x = torch.randn(100, generator=torch.Generator().manual_seed(1))
    step = steps.elementwise("sigmoid.default", [x], x.double().sigmoid(), kept=kept)
    proof = proofs.rounded_proof(*step.given, 1, rule)
    used = step.cost(wire, people[0], deployment.rounded_elementwise, proof)
    assert 0.8 * limit < used < limit, (rule, used)
