"""No real or simulated kernel leaves its bound, on the volume of a quick test."""

import math

import pytest
import torch

from benchmarks.cases import FAMILIES
from benchmarks.kernels import sums
from benchmarks.soundness import check, judge
from tao.graph.literals import Slot
from tao.numerics.bounds import FAMILIES as BOUNDED
from tao.numerics.bounds import Bound, bound, tolerance

SLOTS = [Slot(0), Slot(1), Slot(2)]
ROUNDED = [family for family in FAMILIES if family != "exact"]


def excess(target, args, operands, y, **options):
    return float(bound(target, args, {}, operands, **options)[0].excess(y).max())


def test_exact_results_are_what_another_way_gives():
    found = check("exact", 60_000, seed=1)
    assert found["elements"] >= 60_000 and found["violations"] == found["worst_ratio"] == 0


@pytest.fixture(scope="module", params=ROUNDED)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def cases(family):
    torch.manual_seed(5)
    return list(FAMILIES[family]())


def test_every_operator_with_a_bound_has_cases_in_its_family(family, cases):
    rules = {target: getattr(rule, "func", rule) for target, rule in BOUNDED.items()}
    expected = {target for target, rule in rules.items() if rule.__module__.endswith(f".{family}")}
    assert {target for target, *_ in cases} == expected and expected


def test_every_bound_is_in_a_family_of_the_benchmark():
    rules = {getattr(rule, "func", rule).__module__.rpartition(".")[2] for rule in BOUNDED.values()}
    assert rules == set(ROUNDED)


def test_no_kernel_leaves_the_bound(cases):
    found = judge(cases)
    assert found["elements"] >= 60_000
    assert found["violations"] == 0 and 0 < found["worst_ratio"] <= 1


def test_the_cheap_tolerance_is_no_smaller_than_the_full_one(cases):
    for target, args, kwargs, operands, _ in cases:
        full = bound(target, args, kwargs, operands)[0]
        cheap = tolerance(target, args, kwargs, operands)[0].double()
        both = full.tolerance.isfinite() & cheap.isfinite()
        assert isinstance(full, Bound) and full.tolerance.dtype == torch.float64
        assert (full.tolerance >= 0).all()
        # Both cover the formula with 2^-16 to spare; evaluations in FP32 differ by a part of that.
        assert (cheap[both] >= full.tolerance[both] * (1 - 2.0**-17)).all(), target


@pytest.mark.parametrize("kind", ["products", "sums"])
def test_no_kernel_leaves_the_probabilistic_bound_on_random_inputs(kind):
    # Adversarial inputs correlate roundings, which the probabilistic model excludes.
    torch.manual_seed(3)
    for n in (50, 1000, 5000):
        a, b = torch.randn(200, n), torch.randn(200, n)
        if kind == "products":
            call, operands, results = "aten.bmm.default", (a[:, None], b[..., None]), sums(a * b)
            results = [y[:, None, None] for y in results]
            assert all(excess(call, SLOTS[:2], operands, y, kind="probabilistic") <= 1 for y in results)
        else:
            for y in sums(a):
                assert excess("aten.sum.dim_IntList", [Slot(0), [-1]], (a,), y, kind="probabilistic") <= 1


@pytest.mark.parametrize("n", [1, 2, 1000, 1 << 16])
def test_long_sums_of_either_sign_stay_inside_and_nearly_use_the_bound_at_two_terms(n):
    torch.manual_seed(n)
    for x in (torch.rand(4, n) + 1, torch.randn(4, n), torch.full((4, n), 1.1)):
        forward = x[:, 0]
        for column in x.T[1:]:
            forward = forward + column
        assert excess("aten.sum.dim_IntList", [Slot(0), [-1]], (x,), forward) <= 1
        assert excess("aten.sum.dim_IntList", [Slot(0), [-1]], (x,), x.sum(-1)) <= 1


@pytest.mark.parametrize("alpha, beta", [(1e-40, 1), (-1e-40, 1e-40), (1, 1e-44)])
def test_subnormal_scales_may_count_as_zero(alpha, beta):
    torch.manual_seed(0)
    c, a, b = torch.randn(9) * 1e20, torch.randn(7, 30) * 1e15, torch.randn(30, 9) * 1e15
    found = bound("aten.addmm.default", SLOTS, {"alpha": alpha, "beta": beta}, (c, a, b))[0]
    kept = [scale if abs(scale) >= 2.0**-126 else 0.0 for scale in (alpha, beta)]
    flushed = kept[0] * (a @ b) + kept[1] * c
    assert not (found.excess(torch.addmm(c, a, b, alpha=alpha, beta=beta)) > 1).any()
    assert not (found.excess(flushed) > 1).any()


@pytest.mark.parametrize("alpha, beta", [(1, 1), (0.5, 2), (-3.7, 0), (1e-30, 0.3)])
def test_scaled_products_with_an_addend_stay_inside(alpha, beta):
    torch.manual_seed(0)
    c, a, b = torch.randn(9), torch.randn(7, 30), torch.randn(30, 9)
    options = {"alpha": alpha, "beta": beta}
    found = bound("aten.addmm.default", SLOTS, options, (c, a, b))[0]
    a32, b32 = torch.tensor(alpha, dtype=torch.float32), torch.tensor(beta, dtype=torch.float32)
    for y in (torch.addmm(c, a, b, **options), (a32 * a) @ b + b32 * c, a32 * (a @ b) + b32 * c):
        assert not (found.excess(y) > 1).any()


def test_a_result_that_no_order_can_overflow_to_is_outside():
    x = torch.tensor([[1.0, 2.0]])
    found = bound("aten.sum.dim_IntList", [Slot(0), [-1]], {}, (x,))[0]
    assert found.excess(torch.tensor([torch.inf])) == torch.inf
    huge = torch.tensor([[2.0**127, 2.0**127, -(2.0**127)]])
    found = bound("aten.sum.dim_IntList", [Slot(0), [-1]], {}, (huge,))[0]
    assert found.excess(torch.tensor([torch.inf])) == 0


def test_inputs_that_are_not_finite_refute_nothing():
    x = torch.tensor([[1.0, torch.inf, 2.0], [torch.nan, 1.0, 2.0]])
    for target, args in (
        ("aten.softmax.int", [Slot(0), -1]),
        ("aten.layer_norm.default", [Slot(0), [3]]),
        ("aten.sum.dim_IntList", [Slot(0), [-1]]),
    ):
        found = bound(target, args, {}, (x,))[0]
        assert found.tolerance.isinf().all() and not tolerance(target, args, {}, (x,))[0].isfinite().any()


X = torch.linspace(-1, 1, 12).reshape(3, 4) * 2.0**-8
LARGE, EDGE = torch.full((4,), 1e30), torch.full((4,), 3e38)
OVERFLOWING = {
    "hardswish": ("aten.hardswish.default", 1, [], {}, (torch.tensor([8e37]),)),
    "a scaled addend": ("aten.add.Tensor", 2, [], {"alpha": 1.5}, (EDGE, -EDGE)),
    "the product of addcmul": ("aten.addcmul.default", 3, [], {"value": 1e-30}, (X[0], LARGE, LARGE)),
    "the sum that alpha scales": (
        "aten.addmm.default", 3, [], {"alpha": 1e-30}, (X[:, :1], LARGE.expand(3, 4), LARGE[:, None])
    ),
    "the factor that alpha scales": (
        "aten.addmm.default", 3, [], {"alpha": 1e30}, (X[:, :1], (LARGE * 1e-10).expand(3, 4), X[:1].T * 1e-30)
    ),
    "the weight of layer_norm": (
        "aten.layer_norm.default", 1, [[4], Slot(1), Slot(2), 1e-5], {}, (X, EDGE, X[0])
    ),
    "the weight of rms_norm": ("aten.rms_norm.default", 1, [[4], Slot(1), 1e-5], {}, (X, EDGE)),
    "the weight of batch_norm": (
        "aten._native_batch_norm_legit_no_training.default",
        5,
        [0.1, 1e-5],
        {},
        (X[..., None], EDGE, X[0], X[0], X[0].abs() * 1e-3),
    ),
    "the weighted difference of batch_norm": (
        "aten._native_batch_norm_legit_no_training.default",
        5,
        [0.1, 1e-5],
        {},
        (torch.full((3, 4, 1), 1e29), LARGE * 1e-20, X[0], X[0] * 0, LARGE * 1e8),
    ),
    "the difference of batch_norm": (
        "aten._native_batch_norm_legit_no_training.default",
        5,
        [0.1, 1e-5],
        {},
        (torch.full((3, 4, 1), 3e38), X[0] ** 0, X[0], -EDGE, LARGE * 8e7),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OVERFLOWING)
def test_what_overflows_on_the_way_to_a_finite_value_is_not_refuted(name):
    target, count, more, kwargs, operands = OVERFLOWING[name]
    found = bound(target, [*map(Slot, range(count)), *more], kwargs, operands)[0]
    finite = found.value.abs() < 2.0**127
    assert finite.any()
    assert not (found.excess(torch.full_like(found.value, math.inf))[finite] > 0).any()


def test_a_scaled_product_whose_first_factors_are_lost_is_not_refuted():
    b, c, scale = torch.tensor([1e-25]), torch.tensor([1e20]), 1e-20
    flushed = torch.addcmul(torch.zeros(1), torch.zeros(1), c)
    found = bound("aten.addcmul.default", SLOTS, {"value": scale}, (torch.zeros(1), b, c))[0]
    assert found.value > 0 and found.excess(flushed) <= 1
