from fractions import Fraction
from itertools import product
from pathlib import Path
from struct import unpack_from

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tao.execution import capture
from tao.graph import export
from tao.numerics import contraction
from tao.numerics.contraction import excess, node_excess, node_theta, sums, theta_statistic
from tao.numerics.dot import THETA_ONE, exceeds, refuted, tolerance, violates, window_exponent
from tao.numerics.float32 import float_bits, value

INFINITY, NAN, LARGEST, ONE = 0x7F800000, 0x7FC00000, 0x7F7FFFFF, 0x3F800000


def encode(value: Fraction) -> int:
    """The float32 nearest to `value`, ties up."""
    sign, magnitude = (1 << 31, -value) if value < 0 else (0, value)
    if magnitude == 0:
        return 0
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    exponent -= Fraction(2) ** exponent > magnitude
    quantum = max(exponent - 23, -149)
    significand = int(magnitude / Fraction(2) ** quantum + Fraction(1, 2))
    if significand == 1 << 24:
        significand, quantum = significand >> 1, quantum + 1
    if quantum > 104:
        return sign | INFINITY
    return sign | (significand if significand < 1 << 23 else (quantum + 150 << 23) + significand - (1 << 23))


@st.composite
def floats(draw, kinds=("normal", "wide", "tiny", "subnormal", "huge", "zero")) -> int:
    """Finite float32 encodings with the exponents and significands that break things."""
    low, high = {
        "normal": (110, 135),
        "wide": (0, 254),
        "tiny": (0, 40),
        "subnormal": (0, 0),
        "huge": (180, 254),
        "zero": (0, 0),
    }[kind := draw(st.sampled_from(kinds))]
    fraction = st.sampled_from([0, 1, 0x7FFFFF]) | st.integers(0, 0x7FFFFF)
    sign = draw(st.integers(0, 1)) << 31
    return sign | (0 if kind == "zero" else draw(st.integers(low, high)) << 23 | draw(fraction))


@st.composite
def contractions(draw) -> tuple[list[int], list[int], int | None]:
    """Lanes and bias, half of the time with all but a few lanes cancelling."""
    lanes = draw(st.integers(1, 12))
    a, b = (draw(st.lists(floats(), min_size=lanes, max_size=lanes)) for _ in range(2))
    if draw(st.booleans()):
        a, b = a + [x ^ 1 << 31 for x in a], b + b
        a[draw(st.integers(0, len(a) - 1))] ^= draw(st.integers(0, 7))
    return a, b, draw(st.none() | floats())


@st.composite
def claims(draw) -> tuple[int, list[int], list[int], int | None]:
    """Contractions with a claimed element: honest, at the very edge of tolerance, or arbitrary."""
    a, b, bias = draw(contractions())
    s, _, tau = tolerance(a, b, bias)
    kind = draw(st.sampled_from(["edge", "edge", "honest", "any", "special"]))
    if kind == "edge":
        side, away = draw(st.sampled_from([-1, 1])), draw(st.integers(-30, 30))
        slack = Fraction(1 if away > 0 else -1, 1 << abs(away)) if away else 0
        y = encode(s + side * tau * (1 + slack)) + draw(st.integers(-1, 1)) & 0xFFFFFFFF
    elif kind == "honest":
        y = encode(s * (1 + Fraction(draw(st.integers(-4, 4)), 1 << 24)))
    else:
        y = (
            draw(floats())
            if kind == "any"
            else draw(st.sampled_from([INFINITY, INFINITY | 1 << 31, NAN, LARGEST]))
        )
    return y, a, b, bias


@settings(max_examples=400, deadline=None)
@given(claims(), st.integers(-70, 70))
@example((INFINITY, [LARGEST], [LARGEST], None), 0)
@example((INFINITY, [ONE], [LARGEST], None), 0)
def test_no_window_refutes_what_the_rational_rule_accepts(claim, offset):
    y, a, b, bias = claim
    for window in {window_exponent(a, b, bias), window_exponent(a, b, bias) + offset}:
        if refuted(y, a, b, bias, window):
            assert violates(y, a, b, bias)


@settings(max_examples=400, deadline=None)
@given(claims())
def test_the_suggested_window_refutes_all_but_a_thousandth_beyond_tolerance(claim):
    y, a, b, bias = claim
    s, t, tau = tolerance(a, b, bias)
    if y & INFINITY == INFINITY:
        clear = t + tau < Fraction(2) ** 127 * Fraction(999, 1000)
    else:
        clear = abs(value(y) - s) > tau * Fraction(1001, 1000)
    if clear:
        assert refuted(y, a, b, bias, window_exponent(a, b, bias))


@settings(max_examples=200, deadline=None)
@given(claims())
def test_the_vectorised_estimate_agrees_with_the_rational_rule(claim):
    y, a, b, bias = claim

    def tensor(bits):
        return torch.tensor(bits, dtype=torch.int64).to(torch.int32).view(torch.float32)

    def row(bits):
        return tensor([x - (1 << 32) if x >> 31 else x for x in bits])

    ratio = excess(row([y])[None], row(a)[None], row(b)[None], None if bias is None else row([bias]))[0, 0]
    if not 1 - 1e-6 < ratio < 1 + 1e-6:
        assert bool(ratio > 1) == violates(y, a, b, bias)


@settings(max_examples=200, deadline=None)
@given(claims(), st.integers(1 << 12, 1 << 24))
def test_the_theta_statistic_agrees_with_the_rational_rule(claim, theta):
    y, a, b, bias = claim

    def row(bits):
        signed = [x - (1 << 32) if x >> 31 else x for x in bits]
        return torch.tensor(signed, dtype=torch.int64).to(torch.int32).view(torch.float32)

    bias_row = None if bias is None else row([bias])
    ratio = theta_statistic(row([y])[None], row(a)[None], row(b)[None], bias_row)[0, 0] / (theta / THETA_ONE)
    if not 1 - 1e-3 < ratio < 1 + 1e-3:
        assert bool(ratio > 1) == exceeds(y, a, b, bias, theta)


@pytest.mark.parametrize("special", [INFINITY, NAN])
@pytest.mark.parametrize("place", ["a", "b", "bias"])
def test_a_lane_that_is_not_finite_refutes_nothing(special, place):
    a, b, bias = [ONE, ONE], [ONE, ONE], ONE
    a, b = ([special, ONE] if place == "a" else a), ([special, ONE] if place == "b" else b)
    bias = special if place == "bias" else bias
    for y in (0, LARGEST, INFINITY, NAN):
        assert not violates(y, a, b, bias)
        assert not refuted(y, a, b, bias, 254 - 63)


def test_a_window_below_the_largest_lane_loses_the_proof():
    a, b = [ONE], [ONE]
    window = window_exponent(a, b)
    assert window == 254 - 63
    assert refuted(0, a, b, None, window)
    assert not refuted(0, a, b, None, window - 1)


def test_the_window_counts_subnormals_as_exponent_one_and_the_bias_as_a_lane_of_factor_one():
    assert window_exponent([1], [200 << 23]) == 201 - 63
    assert window_exponent([0], [0xFE << 23]) == 2
    assert window_exponent([1], [1], 150 << 23) == 150 + 127 - 63


def test_a_flushed_subnormal_is_within_tolerance_and_a_lost_normal_is_not():
    subnormal, scale = 0x007FFFFF, 0x7E000000
    assert not violates(0, [subnormal], [scale])
    assert violates(0, [0x01000000], [scale])


@pytest.mark.parametrize("kernel", ["matmul", "sequential", "pairwise", "fused"])
def test_every_order_of_summation_stays_within_tolerance(kernel):
    generator = torch.Generator().manual_seed(5)
    a, b = torch.randn(6, 257, generator=generator), torch.randn(5, 257, generator=generator)
    bias = torch.randn(5, generator=generator)
    products = a[:, None] * b[None]
    y = {
        "matmul": lambda: a @ b.T + bias,
        "sequential": lambda: products.cumsum(-1)[..., -1] + bias,
        "pairwise": lambda: products.sum(-1) + bias,
        "fused": lambda: torch.addmm(bias, a, b.T),
    }[kernel]()
    ratio = excess(y, a, b, bias)
    assert 0 < ratio.max() < 0.2
    worst = int(ratio.argmax())
    row, column = divmod(worst, 5)
    bits = float_bits(a[row]), float_bits(b[column]), float_bits(bias[column])[0]
    assert not violates(float_bits(y[row, column])[0], *bits)


def test_a_deviation_of_int8_weights_is_refuted_on_a_real_layer():
    generator = torch.Generator().manual_seed(6)
    a, b = torch.randn(8, 384, generator=generator), torch.randn(16, 384, generator=generator) / 20
    scale = b.abs().amax(-1, keepdim=True) / 127
    y = a @ ((b / scale).round() * scale).T
    ratio = excess(y, a, b)
    assert ratio.max() > 10
    row, column = divmod(int(ratio.argmax()), 16)
    x, z = float_bits(a[row]), float_bits(b[column])
    assert refuted(float_bits(y[row, column])[0], x, z, None, window_exponent(x, z))


def test_blocks_do_not_change_the_estimate(monkeypatch):
    generator = torch.Generator().manual_seed(7)
    a, b = torch.randn(3, 2, 5, 7, generator=generator), torch.randn(3, 2, 4, 7, generator=generator)
    a[0, 0, 0, 0] = 1e-40
    bias = torch.randn(4, generator=generator)
    whole = sums(a, b, bias)
    monkeypatch.setattr(contraction, "_BLOCK", 11)
    for expected, actual in zip(whole, sums(a, b, bias), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-13, atol=1e-13)


def test_operands_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"cannot contract \(2, 3\) with \(2, 4\)"):
        sums(torch.ones(2, 3), torch.ones(2, 4))


class Products(nn.Module):
    """Every form of contraction: linear, batched, matrix by vector, vector by matrix, added to a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 5)
        self.plain = nn.Linear(5, 4, bias=False)
        self.vector = nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        hidden = self.plain(self.layer(x))
        scores = hidden @ hidden.transpose(1, 2)
        heads = hidden.view(2, 3, 2, 2).transpose(1, 2)
        mixed = torch.addmm(self.vector[:3], hidden[0], hidden[1].T)
        return scores, heads @ heads.mT, hidden @ self.vector, self.vector @ hidden[0].T, mixed


def test_the_excess_of_a_node_reads_operands_by_their_index_maps():
    torch.manual_seed(3)
    x = torch.randn(2, 3, 6)
    graph, parameters = export(Products(), (x,))
    contractions = [i for i, node in enumerate(graph.nodes) if node.operator == "contraction"]
    assert len(contractions) >= 7
    values = {graph.value_of_parameter(i): tensor for i, tensor in parameters.items()}
    states = capture(graph, list(parameters.values()), (x,), range(len(graph) + 1))
    for cut, state in states.items():
        values |= dict(zip(graph.live(cut), state, strict=True))
    for index in contractions:
        node = graph.nodes[index]
        y = values[node.outputs[0]]
        expected = torch.empty(y.shape, dtype=torch.float64)
        for at in product(*map(range, y.shape)):
            a, b, *bias = (
                values[operand.value].flatten()[
                    m.offset + sum(o * s for o, s in zip(at, m.strides, strict=True)) :
                ][: (node.reduction - 1) * m.lane_stride + 1]
                for operand, m in zip(node.operands, node.maps, strict=True)
            )
            expected[at] = excess(y[at].reshape(1, 1), a[None], b[None], bias[0] if bias else None)
        operands = [values[operand.value] for operand in node.operands]
        torch.testing.assert_close(node_excess(node, operands, y), expected, rtol=1e-6, atol=1e-9)
        assert node_excess(node, operands, y).max() < 1
        assert node_excess(node, operands, y + 1e-3).min() > 1


@pytest.mark.parametrize("module", [nn.Linear(9, 4), nn.Conv2d(1, 4, 3)])
def test_values_that_begin_inside_a_storage_are_read_where_they_begin(module):
    whole = torch.randn(3, 1, 9, 9, generator=torch.Generator().manual_seed(1))
    value = whole[2:].flatten(0, 2) if isinstance(module, nn.Linear) else whole[2:]
    with torch.no_grad():
        graph, own = export(module, (value,))
        parameters, y = list(own.values()), module(value)
    (node,) = (node for node in graph.nodes if node.reduction)
    statistics = [node_theta] + [node_excess] * (node.operator == contraction.CONTRACTION)
    for statistic in statistics:
        assert value.storage_offset()
        found = statistic(node, [value, *parameters], y)
        assert torch.equal(found, statistic(node, [value.clone(), *parameters], y))
        assert found.max() < 10


def test_the_mirror_agrees_with_the_vectors_that_the_contract_is_tested_on():
    """tests/forge/generate_vectors.py describes the file; verdict 1 is refuted, all others are not."""
    data = (Path(__file__).parents[1] / "forge" / "vectors" / "dot.bin").read_bytes()
    at, verdicts = 0, []
    while at < len(data):
        window, lanes, has_bias, verdict, y, bias = unpack_from(">HHBBII", data, at)
        words = unpack_from(f">{2 * lanes}I", data, at + 14)
        at += 14 + 8 * lanes
        a, b = words[:lanes], words[lanes:]
        assert refuted(y, a, b, bias if has_bias else None, window) is (verdict == 1)
        verdicts.append(verdict)
    assert set(verdicts) == {0, 1, 2, 3} and len(verdicts) >= 1000
