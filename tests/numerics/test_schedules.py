"""Honest orders of summation, and what a judge accepts by them."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from numerics.local import LocalDevice, reordered
from tao.execution import capture, node_values
from tao.model import ModelBundle, trace
from tao.numerics.calibrate import LEAST_THETA, calibrate_on
from tao.numerics.contraction import has_theta, node_theta, theta_statistic
from tao.numerics.dot import THETA_ONE
from tao.numerics.measure import measure
from tao.numerics.schedules import (
    SCHEDULE_TOLERANCE,
    SCHEDULES,
    SPREAD,
    WORST,
    _lanes,
    interleaved,
    over_schedules,
    pairwise,
    sample_elements,
    sequential,
    worst_schedule,
)
from tao.numerics.settings import SAFETY
from tao.numerics.theta import has_constant

LANES = 2048


class Sums(nn.Module):
    """Contractions with and without bias, convolutions padded, strided, grouped and of either layout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.Conv2d(8, 6, 3, padding=1)
        self.grouped = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=3, bias=False)
        self.line = nn.Conv1d(6, 4, 3, padding=1)
        self.up, self.down = nn.Linear(36, 70), nn.Linear(70, 5, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        x = functional.relu(self.stem(image))
        x = self.line(self.grouped(self.deep(x)).flatten(2))
        hidden = self.up(x) @ self.up(x).transpose(1, 2)
        return hidden @ self.down(self.up(x))[:, :, 0:1]


class Layer(nn.Module):
    """One sum of many positive products, which a sequential kernel rounds one way."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(LANES, 6)
        self.linear.weight.data = torch.rand(6, LANES) / 2 + 0.5

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


def by_hand(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The layer in one accumulator per output, its bias first."""
    total = bias.expand(len(x), -1).clone()
    for lane in range(x.shape[1]):
        total += x[:, lane, None] * weight[:, lane]
    return total


@pytest.fixture(scope="module")
def layer() -> ModelBundle:
    torch.manual_seed(3)
    bundle = trace(Layer(), (torch.randn(4, LANES),))
    fleet = [LocalDevice(f"device-{seed}", bundle, reordered(seed) if seed else None) for seed in range(3)]
    profile = calibrate_on(fleet, bundle, [(torch.randn(4, LANES),) for _ in range(2)])
    return ModelBundle(bundle.graph, bundle.parameters, profile)


def one_sided() -> Tensor:
    return torch.rand(4, LANES, generator=torch.Generator().manual_seed(8)) / 2 + 0.5


def computed(bundle: ModelBundle, x: Tensor) -> Tensor:
    return capture(bundle.graph, bundle.parameters, (x,), [1])[1][0]


# ---- schedules ----


def test_every_schedule_adds_all_terms_and_each_in_its_own_order():
    terms = torch.rand(5, 1001, generator=torch.Generator().manual_seed(1))
    found = [schedule(terms) for schedule in SCHEDULES]
    for total in found:
        assert total.dtype == torch.float32 and total.shape == (5,)
        assert torch.allclose(total.double(), terms.double().sum(1), rtol=1e-5)
    assert len({total.numpy().tobytes() for total in found}) == len(SCHEDULES)


def test_sequential_loses_what_a_large_first_term_swallows_and_the_others_lose_less():
    terms = torch.full((1, 4096), 2.0**-25)
    terms[0, 0] = 1.0
    assert sequential(terms) == 1.0
    assert 1.0 < interleaved(terms) < pairwise(terms) < 1 + 4096 * 2.0**-25


@pytest.mark.parametrize("terms", [1, 2, 7, 8, 9])
def test_few_terms_are_added_as_well(terms):
    whole = torch.arange(1.0, terms + 1).repeat(2, 1)
    for schedule in SCHEDULES:
        assert schedule(whole).tolist() == [terms * (terms + 1) / 2] * 2


def test_a_sample_has_the_worst_elements_and_is_always_the_same():
    ratio = torch.zeros(40, 50)
    ratio.view(-1)[torch.arange(0, 2000, 2000 // WORST)[:WORST]] = 1.0
    chosen = sample_elements(ratio)
    assert set(ratio.flatten().nonzero().flatten().tolist()) <= set(chosen.tolist())
    assert SPREAD <= len(chosen) <= WORST + SPREAD and torch.equal(chosen, sample_elements(ratio.clone()))
    assert sample_elements(torch.zeros(2, 3)).tolist() == list(range(6))


# ---- lanes ----


def test_lanes_read_by_the_maps_sum_to_the_output_of_every_contraction_and_convolution():
    torch.manual_seed(5)
    images = (torch.randn(2, 3, 12, 12),)
    bundle = trace(Sums(), images)
    graph, tried = bundle.graph, set()
    states = capture(graph, bundle.parameters, images, range(len(graph) + 1))
    for index, node in enumerate(graph.nodes):
        if not has_theta(node):
            continue
        held = dict(zip(graph.live(index + 1), states[index + 1], strict=True))
        y = held[node.outputs[0]]
        values = node_values(graph, bundle.parameters, index, states[index])
        elements = torch.arange(y.numel())
        orders, bias = _lanes(node, values, torch.unravel_index(elements, tuple(y.shape)), elements)
        assert len(orders) == (1 if node.operator == "contraction" else 3)
        for a, b in orders:
            assert a.shape == b.shape == (y.numel(), node.reduction)
            total = (a.double() * b.double()).sum(1) + (0 if bias is None else bias.double())
            assert torch.allclose(total.float(), y.flatten(), rtol=1e-5, atol=1e-6), graph.names[index]
        assert 0 < worst_schedule(node, values, y.shape, elements) < 8
        assert over_schedules(node, values, y, y) <= 1 + 1e-9
        tried.add((node.operator, bias is None))
    assert len(tried) >= 5


# ---- what is accepted ----


def test_an_honest_sequential_kernel_on_inputs_made_for_it_is_accepted_and_percentiles_alone_reject_it(layer):
    x = one_sided()
    y = by_hand(x, *layer.parameters)
    found = measure(layer, 0, (x,), (y,))
    assert layer.profile.exceedance(0, found.statistics) > 1
    assert float(theta_statistic(y, x, *layer.parameters).max()) > layer.profile.nodes[0].theta / THETA_ONE
    assert found.exceedance <= 1 / SCHEDULE_TOLERANCE + 1e-3


def test_beyond_twice_the_worst_schedule_is_rejected_on_the_same_inputs(layer):
    x = one_sided()
    exact = (x.double() @ layer.parameters[0].double().T + layer.parameters[1].double()).float()
    error = by_hand(x, *layer.parameters) - exact
    worst = int(error.abs().argmax())
    for factor, accepted in ((1.9, True), (2.2, False)):
        y = exact.clone()
        y.view(-1)[worst] += factor * error.view(-1)[worst]
        assert (measure(layer, 0, (x,), (y,)).exceedance <= 1) is accepted


def test_low_precision_inputs_are_rejected_on_ordinary_and_on_such_inputs(layer):
    weight, bias = layer.parameters
    for x in (torch.randn(4, LANES, generator=torch.Generator().manual_seed(2)), one_sided()):
        y = x.bfloat16().float() @ weight.bfloat16().float().T + bias
        assert measure(layer, 0, (x,), (y,)).exceedance > 1


def test_a_wrong_element_that_is_not_finite_is_never_accepted(layer):
    x = one_sided()
    for value in (math.nan, math.inf):
        y = by_hand(x, *layer.parameters)
        y[1, 2] = value
        assert measure(layer, 0, (x,), (y,)).exceedance == math.inf


def test_a_deviation_where_every_schedule_is_exact_is_infinite(layer):
    node, x = layer.graph.nodes[0], torch.zeros(4, LANES)
    values = [x, layer.parameters[0], torch.zeros(6)]
    y = torch.zeros(4, 6)
    assert over_schedules(node, values, y, y) == 0
    y[0, 0] = 1e-3
    assert over_schedules(node, values, y, torch.zeros(4, 6)) == math.inf


def test_the_same_inputs_give_the_same_measurement(layer):
    x = one_sided()
    y = by_hand(x, *layer.parameters)
    assert measure(layer, 0, (x,), (y,)) == measure(layer, 0, (x,), (y,))


# ---- calibration ----


def test_calibration_sets_theta_above_a_sequential_kernel_that_no_device_is(layer):
    x = torch.randn(4, LANES, generator=torch.Generator().manual_seed(4))
    node, values = layer.graph.nodes[0], [x, *layer.parameters]
    theta = layer.profile.nodes[0].theta / THETA_ONE
    vendor = float(node_theta(node, values, computed(layer, x)).max())
    own = float(node_theta(node, values, by_hand(x, *layer.parameters)).max())
    assert SAFETY * vendor < own < theta < SAFETY * 6


def test_every_node_with_a_bound_has_theta_and_no_other():
    torch.manual_seed(5)
    images = (torch.randn(2, 3, 12, 12),)
    bundle = trace(Sums(), images)
    fleet = [LocalDevice(f"device-{seed}", bundle, reordered(seed)) for seed in range(2)]
    zeros = (torch.zeros(2, 3, 12, 12),)
    profile = calibrate_on(fleet, bundle, [images, zeros])
    for node, tolerance in zip(bundle.graph.nodes, profile.nodes, strict=True):
        assert (tolerance.theta > 0) == has_constant(node)
        assert not has_theta(node) or tolerance.theta >= SAFETY * LEAST_THETA * THETA_ONE
    assert sum(tolerance.theta > 0 for tolerance in profile.nodes) >= 8
