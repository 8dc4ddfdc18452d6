"""The calibrated constants of other operators than sums of products: their units are natural, and accuse nobody."""

import math

import pytest
import torch
from torch import Tensor, nn

from numerics.local import LocalDevice, reordered
from tao.chain.build import load_build
from tao.chain.deployment import ADJUDICATORS
from tao.commands.calibrate import largest_constants
from tao.graph.literals import Slot, fill
from tao.graph.operators import resolve
from tao.model import trace
from tao.numerics.bounds import bound
from tao.numerics.calibrate import LEAST_THETA, calibrate_on
from tao.numerics.contraction import has_theta
from tao.numerics.dot import THETA_ONE
from tao.numerics.settings import SAFETY
from tao.numerics.theta import UNITS, has_constant, unit_statistic

ROWS = 8
HONEST = 3.0
"""Of torch's kernels at any length of a row."""
Call = tuple[str, list, tuple[Tensor, ...]]


def calls(n: int, scale: float = 1.0) -> list[Call]:
    """A call of every target on rows of n numbers of this size."""
    x, w, b = (torch.randn(ROWS, n) + 1) * scale, torch.randn(n), torch.randn(n)
    rows, along, slots = [Slot(0), [-1]], [Slot(0), -1], [Slot(1), Slot(2)]
    grouped = x.reshape(ROWS // 2, 4, n // 2), w[:4], b[:4]
    return [
        ("aten.sum.default", [Slot(0)], (x[0],)),
        ("aten.sum.dim_IntList", rows, (x,)),
        ("aten.mean.default", [Slot(0)], (x[0],)),
        ("aten.mean.dim", rows, (x,)),
        ("aten.cumsum.default", along, (x,)),
        ("aten.linalg_vector_norm.default", [Slot(0), 2, [-1]], (x,)),
        ("aten.softmax.int", along, (x,)),
        ("aten._softmax.default", [*along, False], (x,)),
        ("aten.log_softmax.int", along, (x,)),
        ("aten._log_softmax.default", [*along, False], (x,)),
        ("aten.layer_norm.default", [Slot(0), [n], *slots, 1e-5], (x, w, b)),
        ("aten.rms_norm.default", [Slot(0), [n], Slot(1), 1e-5], (x, w)),
        ("aten.group_norm.default", [Slot(0), 2, *slots, 1e-5], grouped),
    ]


def compute(call: Call, operands: tuple[Tensor, ...] | None = None) -> Tensor:
    target, args, given = call
    return resolve(target)(*fill(args, {}, given if operands is None else operands)[0])


def largest(call: Call, y: Tensor) -> float:
    target, args, operands = call
    found = unit_statistic(target, args, {}, operands, y)
    assert found.shape == y.shape and found.isfinite().all()
    return float(found.max())


@pytest.mark.parametrize("n, scale", [(16, 1.0), (16, 1e4), (1024, 1e-6), (1 << 12, 1.0)])
def test_honest_kernels_stay_within_a_few_units_at_any_length_and_scale(n, scale):
    torch.manual_seed(n)
    made = calls(n, scale)
    assert {target for target, *_ in made} == set(UNITS)
    for call in made:
        # Of softmax only differences count, so large ones are another function's.
        if "softmax" not in call[0] or scale <= 1:
            assert largest(call, compute(call)) <= HONEST, call[0]


def test_inputs_of_half_the_precision_are_far_beyond():
    torch.manual_seed(1)
    for call in calls(256):
        narrow = compute(call, tuple(x.bfloat16().float() for x in call[2]))
        assert largest(call, narrow) > 20 * HONEST, call[0]


@pytest.mark.parametrize("name", ["gelu", "exp", "tanh", "reciprocal", "rsqrt"])
def test_the_unit_of_a_function_is_its_proven_bound(name):
    torch.manual_seed(3)
    call = f"aten.{name}.default", [Slot(0)], (torch.rand(100) + 0.5,)
    (proven,) = bound(*call[:2], {}, call[2])
    for share in (0.5, 2.0):
        found = unit_statistic(*call[:2], {}, call[2], proven.value - share * proven.tolerance)
        assert found.tolist() == pytest.approx([share] * 100)
    assert 0 < largest(call, compute(call)) < 1


def test_the_unit_of_a_sum_is_that_of_its_product_with_ones():
    torch.manual_seed(2)
    x = torch.randn(4, 100)
    y = x.double().sum(-1) + 5 * 2.0**-24 * math.sqrt(100) * x.double().norm(dim=-1)
    found = unit_statistic("aten.sum.dim_IntList", [Slot(0), [-1]], {}, (x,), y)
    assert found.tolist() == pytest.approx([5.0] * 4, rel=1e-9)


def test_masks_flushed_numbers_and_results_that_are_not_finite_measure_nothing():
    x = torch.tensor([[0.5, -math.inf, -1e9, 1.0], [1e-40, 0.0, -1e-40, 0.0], [math.nan, 1.0, 2.0, 3.0]])
    for target, args in (("aten.softmax.int", [Slot(0), -1]), ("aten.sum.dim_IntList", [Slot(0), [-1]])):
        y = resolve(target)(*fill(args, {}, (x,))[0])
        assert float(unit_statistic(target, args, {}, (x,), y).max()) < 1
    assert float(unit_statistic(target, args, {}, (x,), torch.zeros(3))[1]) == 0


def test_integers_add_exactly_and_half_precision_has_no_bound_so_that_neither_has_a_statistic():
    call = "aten.sum.dim_IntList", [Slot(0), [-1]], {}
    assert unit_statistic(*call, (torch.ones(2, 3, dtype=torch.int64),), torch.tensor([3, 3])) is None
    half = torch.ones(2, 3, dtype=torch.float16)
    assert unit_statistic(*call, (half,), half.sum(-1)) is None


class Rows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(96, 96), nn.LayerNorm(96)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        hidden = nn.functional.gelu(self.norm(self.layer(x)).relu())
        return hidden.softmax(-1), hidden.sum(-1), hidden.mean(-1), hidden.log_softmax(-1)


def test_a_calibration_stores_the_constants_of_all_families_and_says_them_by_operator():
    torch.manual_seed(6)
    x = (torch.randn(5, 96),)
    bundle = trace(Rows(), x)
    fleet = [LocalDevice(f"device-{seed}", bundle, reordered(seed)) for seed in range(2)]
    profile = calibrate_on(fleet, bundle, [x])
    thetas = {
        node.operator: tolerance.theta / THETA_ONE
        for node, tolerance in zip(bundle.graph.nodes, profile.nodes, strict=True)
    }
    known = {node.operator for node in bundle.graph.nodes if has_constant(node)}
    assert len(known) == 7 and "aten.relu.default" in thetas.keys() - known
    assert all(0 < thetas[operator] < 100 for operator in known)
    assert thetas["contraction"] >= SAFETY * LEAST_THETA
    assert not any(thetas[operator] for operator in thetas.keys() - known)
    lines = largest_constants(bundle.graph, profile)
    assert [line.partition(":")[0] for line in lines] == sorted(known)
    assert lines[-1].endswith(f"units of rounding, theta {thetas['contraction']:.3g}")
    assert [line.partition(":")[0] for line in lines if "of the proven bound" in line] == [
        "aten.gelu.default"
    ]


def test_only_adjudicators_of_sums_of_products_measure_so_that_no_other_constant_accuses():
    build = load_build()
    measuring = {name for name in ADJUDICATORS if "exceeds" in str(build[name].abi)}
    assert measuring == {"ContractionAdjudicator", "ConvolutionAdjudicator"}
    assert not any(has_theta(node) for node in trace(nn.Softmax(-1), (torch.randn(2, 3),)).graph.nodes)
