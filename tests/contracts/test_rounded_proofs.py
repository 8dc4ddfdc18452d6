"""The form of proofs about rounded elements: changed and misshapen ones, other operators, and what they cost."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from eth_abi import decode

from support import rounded_cases as cases
from support import steps
from support.rounded_steps import KINDS, PROOF, SUMS, changed, doubtful, encoding, floats, neighbour
from support.wire import Reverted
from tao.chain.sender import MOST_GAS
from tao.graph.maps import IndexMap
from tao.graph.operators import LOG
from tao.training import proofs, rules
from tao.training.proofs import BREAKDOWN, CONTRADICTION, OMISSION, VALUE
from tao.training.sums import nearest_sum


def test_each_operator_has_one_of_the_contracts(wire, deployment):
    from tao.tensors.keccak import keccak

    families = ("rounded_contraction", "rounded_reduction", "rounded_elementwise", "training")
    found = [bytes(op) for f in families for op in wire.call(getattr(deployment, f), "operators")]
    names = {*proofs.ROUNDED, *proofs.DRAWS, LOG}
    assert sorted(found) == sorted(keccak(name.encode())[:4] for name in names)


@pytest.mark.parametrize(
    "kind, rule",
    [
        *((kind, VALUE) for kind in KINDS),
        *((kind, BREAKDOWN) for kind in SUMS),
        ("sigmoid", CONTRADICTION),
        ("sigmoid", OMISSION),
    ],
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
    maps = (replace(scattered.bundle.graph.nodes[0].maps[0], strides=(0,)), None)
    flat = steps.Step.of(
        proofs.ROUNDED_EMBEDDING_GRADIENT, scattered.before[1:], maps, torch.zeros(6), 80, (5,)
    )
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


def with_node(step: steps.Step, **fields) -> steps.Step:
    """The step with other fields of its node."""
    graph = step.bundle.graph
    graph = replace(graph, nodes=(replace(graph.nodes[0], **fields),))
    return replace(step, bundle=replace(step.bundle, graph=graph))


def test_a_gradient_opens_its_run_and_every_row_of_the_indices_and_nothing_else(judge):
    step = doubtful("embedding_gradient")[0]
    proof = proofs.rounded_proof(*step.given, 2)
    operands = decode([PROOF], proof)[0][2]
    assert len(operands) == 1 + 2
    for wrong in (operands[:-1], (*operands, operands[-1])):
        with pytest.raises(Reverted, match="WrongOpeningCount"):
            judge(step, changed(proof, operands=wrong))
    with pytest.raises(Reverted, match="OperandMismatch"):
        judge(step, changed(proof, operands=(operands[1], *operands[1:])))
    (node,) = step.bundle.graph.nodes
    apart = with_node(step, maps=(replace(node.maps[0], lane_stride=2), None))
    with pytest.raises(Reverted, match="WrongLaneStride"):
        judge(apart, proof)
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
        for a, _ in [*cases.pairs(chance, n), ([cases.NAN] * n, [])]:
            for terms, _ in [(a, []), *cases.steered(chance, a, [cases.ONE] * n)][::3]:
                places = np.sort(chance.permutation(24)[: len(terms)])
                indices, grad = torch.ones(3, 8, dtype=torch.int64), torch.randn(24, 2)
                indices.view(-1)[places] = 0
                grad[places, 1] = floats(terms)
                zone = rules.row(terms)
                step = steps.embedding_gradient(grad, indices, 2)
                breaks = judge(step, proofs.rounded_proof(*step.given, 1, BREAKDOWN))
                assert breaks == (zone.mid is None)
                seen["breaks"] += breaks
                if breaks:
                    continue
                for y in cases.claims(chance, zone)[::2]:
                    claimed = step.claiming(1, floats([y])[0])
                    refuted = judge(claimed, proofs.rounded_proof(*claimed.given, 1))
                    assert not refuted or zone.excludes(y)
                    seen[refuted] += 1
                    seen["not proven"] += zone.excludes(y) and not refuted
    assert min(seen[True], seen[False]) > 40 and seen["breaks"] > 0
    assert seen["not proven"] < seen[True] / 10, seen


# ---- gas


@pytest.mark.parametrize(
    "kind, lanes, refuted, in_doubt",
    [
        ("contraction", 64, 98_000, 117_000),
        ("contraction", 1024, 392_000, 648_000),
        ("sum", 64, 72_000, 84_000),
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


FULL = {
    "zeros": lambda shape: torch.zeros(shape),
    "subnormal": lambda shape: torch.full(shape, 1e-40),
    "tiny": lambda shape: torch.full(shape, 1e-30),
    "ordinary": lambda shape: torch.randn(shape, generator=torch.Generator().manual_seed(1)),
}


@pytest.mark.parametrize("numbers", FULL)
@pytest.mark.parametrize("kind", ["contraction", "sum"])
def test_a_full_transaction_of_any_numbers_stays_below_the_cap(wire, people, deployment, kind, numbers):
    lanes = 40_000
    a = FULL[numbers]((1, lanes))
    if kind == "sum":
        maps = (IndexMap((lanes,), 1, 0),)
        step = steps.Step.of("rounded.aten.sum.dim_IntList", (a,), maps, torch.ones(1), lanes)
    else:
        maps = (IndexMap((lanes, 0), 1, 0), IndexMap((0, lanes), 1, 0))
        step = steps.Step.of(
            "rounded.contraction", (a, FULL["ordinary"]((1, lanes))), maps, torch.ones(1, 1), lanes
        )
    plan = proofs.rounded_plan(*step.given, 0)
    posting = next(plan.postings())
    assert len(plan.pieces) > len(posting.pieces)
    contract = deployment.rounded_contraction if kind == "contraction" else deployment.rounded_reduction
    call = {"from": people[0], "to": contract.address, "data": contract.data("post", posting.pieces)}
    used = int(wire.rpc("eth_estimateGas", call), 16)
    assert 0.3 * posting.gas < used <= 1.05 * posting.gas and used < MOST_GAS


@pytest.mark.parametrize("numbers", FULL)
def test_a_batch_of_one_token_is_decided_at_once_below_the_cap(wire, people, deployment, numbers):
    """Every place looked the row up, and there are as many as one transaction holds."""
    places, width = 8 * 1024, 1024
    columns, indices = FULL[numbers]((2, places)), torch.full((places // width, width), 50_256)
    maps = (IndexMap((0, places), 1, 0), None)
    output = torch.zeros(50_257, 2)
    output[-1] = nearest_sum(columns.double(), 24)
    name = proofs.ROUNDED_EMBEDDING_GRADIENT
    step = steps.Step.of(name, (columns, indices), maps, output, places)
    last = output.numel() - 1
    for claimed, refuted in ((output.view(-1)[last], False), (neighbour(output.view(-1)[last]), True)):
        each = step.claiming(last, claimed)
        plan = proofs.rounded_plan(*each.given, last)
        assert not plan.pieces
        assert each.refuted(wire, deployment.rounded_reduction, plan.proof) == refuted
        used = each.cost(wire, people[0], deployment.rounded_reduction, plan.proof)
        assert MOST_GAS / 10 < used < 2 / 3 * MOST_GAS, used
