"""The adjudicators agree with exact arithmetic, and say what is wrong with a proof that does not hold
together.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.deployment import FAMILIES
from support.encoding import Map, Tensor, operator_code
from support.graphs import Network, Node, Read, elementwise, embedding, gelu, linear, negate, relu, transpose
from support.oracle import contraction_bound, is_refuted, lanes
from support.proofs import prove
from support.raises import refused
from support.wire import Reverted

FLOATS = st.integers(0, 2**32 - 1).map(lambda bits: np.uint32(bits).view(np.float32))
MODERATE = st.floats(-8, 8, width=32).map(np.float32)


def refutes(deployment, network, output, element, proof=None, before=None):
    """What the operator's adjudicator says of the only node of the network."""
    record = network.records[0]
    movement = ("copy", "aten.embedding.default")
    family = "movement" if record.operator in movement else "exact"
    adjudicator = getattr(deployment, "contraction" if record.operator == "contraction" else family)
    before = [Tensor(array) for array in network.example] if before is None else before
    proof = prove(network, 0, before, output, element) if proof is None else proof
    leaf = (
        record.packed,
        [tensor.commitment for tensor in before],
        [output.commitment],
        network.commitment[0],
        len(network.parameters),
    )
    return deployment.wire.call(adjudicator, "refutes", leaf, proof.encoded)


def contraction(a, b, bias=None):
    k = len(a)
    inputs = {"x": np.array([a], np.float32)}
    parameters = {"w": np.array([b], np.float32)}
    if bias is not None:
        parameters["b"] = np.array([bias], np.float32)
    return Network(
        inputs, parameters, [linear("y", "x", "*w", 1, 1, k, None if bias is None else "*b")], ["y"]
    )


@settings(max_examples=60)
@given(st.data())
def test_a_contraction_is_refuted_outside_the_bound_and_never_inside(deployment, data):
    """The claimed element is put on either side of the bound, by a hair's breadth of the bound itself."""
    k = data.draw(st.sampled_from([1, 2, 7, 8, 9, 40]))
    bias = data.draw(st.none() | MODERATE)
    network = contraction(*(data.draw(st.lists(MODERATE, min_size=k, max_size=k)) for _ in range(2)), bias)
    shape = (1, 1)
    operands = network.operands(0, [Tensor(array) for array in network.example])
    exact, _, bound = contraction_bound(lanes(network, 0, operands, shape, 0))
    factor = data.draw(st.sampled_from([0.0, 0.5, 0.9, 1.1, 2.0, 100.0]))
    claimed = np.float32(
        float(exact + bound * int(factor * 10) / 10) * data.draw(st.sampled_from([1, 1, -1]))
    )
    output = Tensor(claimed.reshape(shape))
    expected = is_refuted(network, 0, [Tensor(array) for array in network.example], output, 0)
    found = refutes(deployment, network, output, 0)
    assert not (found and not expected), "an element inside the bound was refuted"
    distance = abs(float(claimed) - float(exact))
    if distance > 1.001 * float(bound) + 1e-30:
        assert found, "an element outside the bound was not refuted"


@settings(max_examples=60)
@given(st.lists(FLOATS, min_size=8, max_size=8), st.lists(FLOATS, min_size=8, max_size=8), FLOATS)
def test_no_bit_pattern_gets_an_honest_contraction_refuted(deployment, a, b, claimed):
    """Infinities, NaNs, subnormals and huge values included: what exact arithmetic does not refute stands."""
    network = contraction(a, b)
    output = Tensor(np.array([[claimed]], np.float32))
    if not all(np.isfinite(value) for value in (*a, *b)):
        with refused("NonFiniteOperand"):
            refutes(deployment, network, output, 0)
        return
    if refutes(deployment, network, output, 0):
        assert is_refuted(network, 0, [Tensor(array) for array in network.example], output, 0)


@settings(max_examples=40)
@given(st.data())
def test_exact_operators_are_refuted_iff_they_differ(deployment, data):
    values = np.array(data.draw(st.lists(FLOATS, min_size=6, max_size=6)), np.float32).reshape(2, 3)
    node = data.draw(
        st.sampled_from([relu("y", "x", (2, 3)), negate("y", "x", (2, 3)), transpose("y", "x", 2, 3)])
    )
    network = Network({"x": values}, {}, [node], ["y"])
    truth = network.step(0, [Tensor(values)])[0].array.copy()
    element = data.draw(st.integers(0, 5))
    if data.draw(st.booleans()):
        truth.ravel()[element] = data.draw(FLOATS)
    output = Tensor(truth)
    assert refutes(deployment, network, output, element) == is_refuted(
        network, 0, [Tensor(values)], output, element
    )


@pytest.mark.parametrize("index", [0, 2, 4])
def test_a_lookup_is_refuted_iff_it_differs(deployment, index):
    table = np.arange(15, dtype=np.float32).reshape(5, 3)
    network = Network({"i": np.array([1, index])}, {"t": table}, [embedding("y", "*t", "i", 5, 3)], ["y"])
    truth = table[[1, index]]
    assert not refutes(deployment, network, Tensor(truth), 4)
    false = truth.copy()
    false[1, 1] += 1
    assert refutes(deployment, network, Tensor(false), 4)


@pytest.mark.parametrize("index", [5, -1])
def test_a_lookup_outside_the_table_refutes_nothing(deployment, index):
    """Whatever row is opened in its place: the index is read first."""
    table = np.arange(15, dtype=np.float32).reshape(5, 3)
    network = Network({"i": np.array([1, 2])}, {"t": table}, [embedding("y", "*t", "i", 5, 3)], ["y"])
    good = Tensor(np.array([1, 2]))
    output = Tensor(np.zeros((2, 3), np.float32))
    proof = prove(network, 0, [good], output, 4)
    bad = Tensor(np.array([1, index]))
    _, data, path = bad.open(1)
    assert not refutes(deployment, network, output, 4, proof.with_operand(1, (data, path, [])), before=[bad])


def test_a_hint_can_only_make_a_proof_fail(deployment):
    network = contraction([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0])
    output = Tensor(np.array([[11.0]], np.float32))
    honest = Tensor(np.array([[10.0]], np.float32))
    proof = prove(network, 0, [Tensor(array) for array in network.example], output, 0)
    assert refutes(deployment, network, output, 0, proof)
    verdicts = set()
    for window in range(2, 509):
        for claim in (output, honest):
            _, data, path = claim.open(0)
            hinted = proof.__class__(0, proof.operands, (data, path), window)
            try:
                verdicts.add((claim is output, refutes(deployment, network, claim, 0, hinted)))
            except Reverted as reverted:
                assert reverted.error == "WindowTooLow"
    assert (False, True) not in verdicts
    assert (True, True) in verdicts
    for window in (0, 1, 509, 2**255):
        with refused("WindowOutOfRange", window):
            refutes(deployment, network, output, 0, proof.__class__(0, proof.operands, proof.output, window))


def one(node, **inputs):
    return Network(inputs or {"x": np.ones((2, 3), np.float32)}, {}, [node], ["y"])


@pytest.mark.parametrize(
    ("node", "error"),
    [
        (elementwise("aten.exp.default", "y", "x", (2, 3), lambda a: a), "UnsupportedOperator"),
        (Node("copy", "y", (Read("x"),), lambda a: a), "NoIndexMap"),
        (Node("copy", "y", (Read("x", Map((1,))),), lambda a: a), "MapRankMismatch"),
        (Node("copy", "y", (Read("x", Map((3, 1), 1)),), lambda a: a), "WrongLaneStride"),
        (Node("copy", "y", (Read("x", Map((3, 1))),) * 2, lambda a, b: a), "WrongOperandCount"),
        (Node("copy", "y", (Read("x", Map((3, 1))),), lambda a: a.astype(np.int32)), "TypeMismatch"),
        (Node("contraction", "y", (Read("x", Map((3, 1))),), lambda a: a, 3), "NotAContraction"),
        (
            Node(
                "contraction",
                "y",
                (Read("x", Map((3, 0), 2)), Read("x", Map((0, 3), 1))),
                lambda a, b: a @ b.T,
                3,
            ),
            "WrongLaneStride",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value.operator,
)
def test_a_record_that_cannot_be_decided_is_refused(deployment, node, error):
    network = one(node)
    output = network.step(0, [Tensor(network.example[0])])[0]
    with refused(error):
        try:
            refutes(deployment, network, output, 0)
        except (AttributeError, ValueError):
            # The record has no map to build a proof along: any proof will do.
            copy = one(elementwise("copy", "y", "x", (2, 3), lambda a: a))
            tensors = [Tensor(copy.example[0])]
            refutes(deployment, network, output, 0, prove(copy, 0, tensors, tensors[0], 0))


def test_booleans_have_no_sign_to_clip(deployment):
    network = one(elementwise("aten.relu.default", "y", "x", (2, 3), lambda a: a), x=np.ones((2, 3), bool))
    with refused("UnsupportedType"):
        refutes(deployment, network, Tensor(np.ones((2, 3), bool)), 0)


def test_an_operator_of_two_outputs_is_not_decided(deployment):
    network = one(relu("y", "x", (2, 3)))
    network.records = (replace(network.records[0], outputs=network.records[0].outputs * 2),)
    with refused("WrongOutputCount", 2, 1):
        refutes(deployment, network, Tensor(np.ones((2, 3), np.float32)), 0)


def test_garbage_is_no_proof(deployment):
    network = contraction([1.0], [1.0])
    output = Tensor(np.ones((1, 1), np.float32))

    class Garbage:
        encoded = b"garbage"

    with refused("MalformedProof"):
        refutes(deployment, network, output, 0, Garbage())
    exact = one(relu("y", "x", (2, 3)))
    with refused("MalformedProof"):
        refutes(deployment, exact, Tensor(np.ones((2, 3), np.float32)), 0, Garbage())


def test_the_adjudicators_name_their_operators(deployment):
    contraction_operators = deployment.wire.call(deployment.contraction, "operators")
    exact_operators = deployment.wire.call(deployment.exact, "operators")
    assert list(contraction_operators) == [operator_code("contraction")]
    assert {operator_code("aten.relu.default"), operator_code("aten.neg.default")} < set(exact_operators)
    everything = {
        bytes(op)
        for family in FAMILIES
        for op in deployment.wire.call(getattr(deployment, family), "operators")
    }
    assert {operator_code("copy"), operator_code("aten.embedding.default")} < everything
    assert operator_code(gelu("y", "x").operator) not in everything
