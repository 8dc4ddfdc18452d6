"""Values and tolerances against exact arithmetic: rationals, and balls of 200 bits for the functions."""

import math
from fractions import Fraction

import flint
import pytest
import torch

from benchmarks.kernels import KINDS, anything, draw
from tao.graph.literals import Slot
from tao.numerics import dot
from tao.numerics.bounds import bound, tolerance
from tao.numerics.bounds.rule import Rule
from tao.numerics.float32 import float_bits

U, MIN = Fraction(1, 1 << 24), Fraction(1, 1 << 126)
BITS = 200


@pytest.fixture(autouse=True)
def precise_balls():
    before, flint.ctx.prec = flint.ctx.prec, BITS
    yield
    flint.ctx.prec = before


def gamma(n: int) -> Fraction:
    return n * U / (1 - n * U)


def ball(x: float) -> flint.arb:
    return flint.arb(x)


def rational(x: flint.arb) -> Fraction:
    """The middle of a ball; 0 below 2^-2000, which would have too many digits."""
    if abs(x) < flint.arb(2) ** -2000:
        return Fraction(0)
    mantissa, exponent = x.mid().man_exp()
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


def holds(found, formula: Fraction, value: Fraction, index) -> None:
    """The tolerance at `index` is the formula's or up to 4% more, and covers the reference's error."""
    tau, reference = Fraction(float(found.tolerance[index])), Fraction(float(found.value[index]))
    assert tau >= formula + abs(reference - value)
    assert tau <= formula * Fraction(104, 100)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lanes", [1, 7, 200])
def test_a_contraction_is_never_allowed_less_than_the_rational_rule(kind, lanes):
    torch.manual_seed(lanes)
    a, b, bias = draw(kind, 3, lanes), draw("normal" if kind == "huge" else kind, 2, lanes), torch.randn(2)
    found = bound("aten.linear.default", [Slot(0), Slot(1), Slot(2)], {}, (a, b, bias))[0]
    cheap = tolerance("aten.linear.default", [Slot(0), Slot(1), Slot(2)], {}, (a, b, bias))[0]
    for i in range(3):
        for j in range(2):
            lane_bits = [float_bits(x) for x in (a[i], b[j], bias[j : j + 1])]
            s, _, tau = dot.tolerance(lane_bits[0], lane_bits[1], lane_bits[2][0])
            holds(found, tau, s, (i, j))
            assert Fraction(float(cheap[i, j])) >= tau


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("terms", [1, 2, 100])
def test_sums_and_means_are_never_allowed_less_than_the_rational_rule(kind, terms):
    torch.manual_seed(terms)
    x = draw(kind, 4, terms)
    total = bound("aten.sum.dim_IntList", [Slot(0), [-1]], {}, (x,))[0]
    mean = bound("aten.mean.dim", [Slot(0), [-1]], {}, (x,))[0]
    for row in range(4):
        exact = [Fraction(v) for v in x[row].tolist()]
        t, d = sum(map(abs, exact)), sum(abs(v) for v in exact if abs(v) < MIN)
        holds(total, gamma(terms - 1) * t + terms * MIN + d, sum(exact), row)
        lost = ((terms + 1) * MIN + d) / terms + 2 * MIN
        holds(mean, gamma(terms + 2) * t / terms + lost, sum(exact) / terms, row)


def half() -> flint.arb:
    return ball(0.5)


FUNCTIONS = {
    "exp": (lambda x: x.exp(), 6),
    "tanh": (lambda x: x.tanh(), 6),
    "erf": (lambda x: x.erf(), 6),
    "sin": (lambda x: x.sin(), 6),
    "cos": (lambda x: x.cos(), 6),
    "log": (lambda x: x.log(), 4),
    "sqrt": (lambda x: x.sqrt(), 4),
    "rsqrt": (lambda x: x.rsqrt(), 6),
    "reciprocal": (lambda x: 1 / x, 6),
    "sigmoid": (lambda x: 1 / (1 + (-x).exp()), 10),
    "silu": (lambda x: x / (1 + (-x).exp()), 12),
    "gelu": (lambda x: x * half() * (-x * half().sqrt()).erfc(), 0),
    "log1p": (lambda x: (1 + x).log(), 6),
    "expm1": (lambda x: x.exp() - 1, 6),
    "erfc": (lambda x: x.erfc(), 10),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_elementary_function_is_allowed_its_coefficient_about_its_exact_value(name):
    function, coefficient = FUNCTIONS[name]
    torch.manual_seed(11)
    x = anything(400)
    x = x[(x.abs() >= 2.0**-100) & (x.abs() < 2.0**30)]
    found = bound(f"aten.{name}.default", [Slot(0)], {}, (x,))[0]
    checked = 0
    for i, argument in enumerate(x.tolist()):
        value, tau = float(found.value[i]), float(found.tolerance[i])
        if not math.isfinite(tau) or abs(value) < 2.0**-900:
            continue
        flint.ctx.prec = BITS + 400 if name in ("log1p", "expm1", "sigmoid") else BITS
        exact = rational(function(ball(argument)))
        more = {"gelu": 16 * U * abs(Fraction(argument)), "erf": 16 * U}.get(name, 0)
        assert Fraction(tau) >= coefficient * U * abs(exact) + more + 2 * MIN + abs(Fraction(value) - exact)
        checked += 1
    assert checked > 100


def polynomial_erf(x: torch.Tensor) -> torch.Tensor:
    """Abramowitz and Stegun, 7.1.26, in float32, as libraries without an erf of their own have it."""
    t = 1 / (1 + 0.3275911 * x.abs())
    powers = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return (1 - powers * (-x * x).exp()) * x.sign()


def test_an_erf_that_is_accurate_absolutely_stays_inside():
    x = torch.cat([torch.logspace(-12, 1, 200_000), torch.linspace(1e-6, 1, 200_000)])
    found = bound("aten.erf.default", [Slot(0)], {}, (x,))[0]
    excess = found.excess(polynomial_erf(x))
    assert polynomial_erf(x).dtype == torch.float32 and 0.3 < float(excess.max()) < 0.8
    relative = (polynomial_erf(x).double() - found.value).abs() / (6 * float(U) * found.value.abs())
    assert float(relative.max()) > 100


@pytest.mark.parametrize("kind", ["normal", "offset", "outlier", "equal", "subnormal", "cancelling"])
def test_softmax_values_and_tolerances_agree_with_balls(kind):
    torch.manual_seed(2)
    x = draw(kind, 3, 40)
    found = bound("aten.softmax.int", [Slot(0), -1], {}, (x,))[0]
    logs = bound("aten.log_softmax.int", [Slot(0), -1], {}, (x,))[0]
    for row in range(3):
        shifts = [Fraction(max(x[row].tolist())) - Fraction(v) for v in x[row].tolist()]
        balls = [flint.arb(flint.fmpq(d.numerator, d.denominator)) for d in shifts]
        weights = [(-d).exp() for d in balls]
        total = sum(weights, ball(0))
        average = sum((w * d for w, d in zip(weights, balls, strict=True)), ball(0)) / total
        for i in range(0, 40, 7):
            r = (3 * (shifts[i] + rational(average)) + 19) * U + gamma(39)
            if shifts[i] < 600 and r < Fraction(1, 256):
                y = rational(weights[i] / total)
                error = abs(Fraction(float(found.value[row, i])) - y)
                assert Fraction(float(found.tolerance[row, i])) >= y * r * (1 + r) + 2 * MIN + error
            log = -shifts[i] - rational(total.log())
            error = abs(Fraction(float(logs.value[row, i])) - log)
            assert error <= Fraction(float(logs.tolerance[row, i])) / 2**16


@pytest.mark.parametrize("kind", ["normal", "offset", "outlier", "equal", "zero", "cancelling"])
def test_normalised_values_agree_with_balls_to_a_fraction_of_their_tolerance(kind):
    torch.manual_seed(4)
    n, x, w, b = 50, draw(kind, 2, 50), torch.randn(50), torch.randn(50)
    eps = float(torch.tensor(1e-5))
    layer = bound("aten.layer_norm.default", [Slot(0), [n], Slot(1), Slot(2), eps], {}, (x, w, b))[0]
    rms = bound("aten.rms_norm.default", [Slot(0), [n], Slot(1), eps], {}, (x, w))[0]
    for row in range(2):
        exact = [Fraction(v) for v in x[row].tolist()]
        mean = sum(exact) / n
        for found, centre in ((layer, mean), (rms, Fraction(0))):
            width = sum((v - centre) ** 2 for v in exact) / n + Fraction(eps)
            root = flint.arb(flint.fmpq(width.numerator, width.denominator)).rsqrt()
            for i in range(0, n, 9):
                y = (exact[i] - centre) * rational(root) * Fraction(float(w[i]))
                y += Fraction(float(b[i])) if found is layer else 0
                tau = float(found.tolerance[row, i])
                if math.isfinite(tau):
                    assert abs(Fraction(float(found.value[row, i])) - y) <= Fraction(tau) / 2**16


@pytest.mark.parametrize("n", [1, 10, 1000, 1 << 20])
def test_the_probabilistic_gamma_is_the_published_one_or_the_worst_case_if_smaller(n):
    rule = Rule("probabilistic", failure=1e-6)
    published = math.exp(rule.lambda_of(n) * math.sqrt(n) * 2.0**-24 + n * 2.0**-48 / (1 - 2.0**-24)) - 1
    assert rule.gamma(n) == pytest.approx(min(published, Rule().gamma(n)), rel=1e-6)
    assert 2 * n * math.exp(-((rule.lambda_of(n) * (1 - 2.0**-24)) ** 2) / 2) == pytest.approx(1e-6)
    assert rule.gamma(n) <= Rule().gamma(n)
