"""The drift of segments: the statistic by itself, and the votes that go by it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tao.execution import capture, replay
from tao.model import ModelBundle, trace
from tao.numerics.drift import DRIFT_THRESHOLD
from tao.numerics.measure import measure, measure_segment
from tao.numerics.profile import NodeTolerance, Profile, SegmentTolerance
from tao.numerics.segments import (
    Replays,
    SegmentStatistics,
    replays,
    segment_exceedance,
    segment_statistics,
)
from tao.numerics.statistics import GRID
from tao.protocol.partition import segments

U = 2.0**-24
SMALLEST = 2.0**-126
THRESHOLDS = (0.7, 1.7, 2.7, 3.5, 4.5)


def noisy(seed: int, shape: tuple[int, ...] = (16, 64), size: float = 1e-6) -> tuple[np.ndarray, np.ndarray]:
    """A float64 end, and one off by normal errors."""
    generator = np.random.default_rng(seed)
    exact = generator.standard_normal(shape)
    return exact, exact + size * generator.standard_normal(shape)


def test_deviations_are_counted_in_the_judges_own_errors():
    exact, single = noisy(0)
    judge = Replays(single, exact, U, SMALLEST)
    unit = math.sqrt(np.mean((single - exact) ** 2)) + U * math.sqrt(np.mean(exact**2))
    claimed = exact + 3 * unit
    found = judge.statistics(claimed, GRID)
    assert found.elements == pytest.approx((3.0,) * 5) and found.rows == pytest.approx((3.0,) * 5)
    assert found.floor == pytest.approx(4 * U * math.sqrt(np.mean(exact**2)) / unit)


def test_one_row_shows_in_the_rows_and_one_element_in_the_elements():
    exact, single = noisy(1, (100, 50))
    judge = Replays(single, exact, U, SMALLEST)
    claimed = exact.copy()
    claimed[7] += 4 * judge.noise
    found = judge.statistics(claimed, (50.0, 99.0, 100.0))
    assert found.rows == pytest.approx((0.0, 0.0, 4.0)) and found.elements[-1] == pytest.approx(4.0)
    claimed[7] = exact[7]
    claimed[3, 3] += 10 * judge.noise
    found = judge.statistics(claimed, (50.0, 99.0, 100.0))
    assert found.rows[-1] == pytest.approx(10 / math.sqrt(50)) and found.elements == pytest.approx((0, 0, 10))


@given(st.integers(0, 1000), st.floats(1e-6, 1e-2))
def test_honest_errors_of_any_size_pass_and_ten_times_as_much_does_not(seed, size):
    exact, single = noisy(seed, size=size)
    _, other = noisy(seed + 5000, size=size)
    other = exact + (other - noisy(seed + 5000)[0])
    judge = Replays(single, exact, U, SMALLEST)
    honest, cheating = (
        segment_exceedance([judge.statistics(end, GRID)], THRESHOLDS, (1.3,) * 5, 1.5)
        for end in (other, exact + 10 * (other - exact))
    )
    assert honest <= 1 < cheating


@pytest.mark.parametrize("mask", [-1e4, -1e9, -3e38])
def test_masks_neither_set_the_unit_nor_go_unjudged(mask):
    exact, single = noisy(2)
    plain = Replays(single, exact, U, SMALLEST)
    hidden = np.zeros(exact.shape, dtype=bool)
    hidden[:, 40:] = True
    masked, own = np.where(hidden, mask, exact), np.where(hidden, mask * (1 + U), single)
    judge = Replays(own, masked, U, SMALLEST)
    assert judge.noise == pytest.approx(plain.noise, rel=0.1)
    assert judge.statistics(own, GRID).elements[-1] < 5
    claimed = masked.copy()
    claimed[3, 50] *= 0.999
    assert judge.statistics(claimed, GRID).elements[-1] > 100


def test_what_is_not_finite_in_a_replay_counts_for_nothing_and_elsewhere_infinitely():
    exact, single = noisy(3)
    exact[0, 0], single[0, 0] = math.inf, math.inf
    exact[0, 1], single[0, 2] = math.nan, math.inf
    judge = Replays(single, exact, U, SMALLEST)
    claimed = np.where(np.isfinite(exact), exact, 7.0)
    assert judge.statistics(claimed, GRID).elements == (0.0,) * 5
    for value in (math.inf, -math.inf, math.nan):
        claimed[5, 5] = value
        assert judge.statistics(claimed, GRID).elements[-1] == math.inf
        assert judge.statistics(claimed, GRID).rows[-1] == math.inf


def test_a_segment_that_does_not_round_is_judged_in_unit_roundoffs():
    exact, _ = noisy(4)
    judge = Replays(exact, exact, U, SMALLEST)
    nothing = (0.0,) * 5
    for roundoffs, rejected in ((0.5, False), (5.9, False), (6.1, True)):
        found = judge.statistics(exact + roundoffs * U * judge.size, GRID)
        assert (segment_exceedance([found], nothing, nothing, 1.5) > 1) is rejected
    zeros = Replays(np.zeros((2, 3)), np.zeros((2, 3)), U, SMALLEST)
    assert segment_exceedance([zeros.statistics(np.zeros((2, 3)), GRID)], nothing, nothing, 1.5) == 0
    assert segment_exceedance([zeros.statistics(np.ones((2, 3)), GRID)], nothing, nothing, 1.5) == math.inf
    assert zeros.statistics(np.full((2, 3), 1e-40), GRID).elements == nothing


def test_the_worst_tensor_and_the_worst_percentile_decide():
    fine = SegmentStatistics((0.1,) * 5, (0.1,) * 5, 0.0)
    high = replace(fine, rows=(0.1, 0.1, 0.1, 0.1, 3.0))
    assert segment_exceedance([], THRESHOLDS, THRESHOLDS, 2.0) == 0
    assert segment_exceedance([fine, high, fine], THRESHOLDS, (1.0,) * 5, 2.0) == pytest.approx(1.5)
    assert segment_exceedance([replace(high, floor=10.0)], THRESHOLDS, (1.0,) * 5, 2.0) < 1


def test_states_of_other_types_are_not_compared_and_integers_count_for_nothing():
    one, index = torch.ones(3), torch.tensor([1, 2])
    with pytest.raises(ValueError, match="cannot compare"):
        segment_statistics([one.double()], [one], [one.double()])
    assert segment_statistics([index + 1], [index], [index]) == ()


# ---- on a model ----


class Deep(nn.Module):
    """Residual blocks, which add up what each does, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 96), nn.GELU(), nn.Linear(96, 48)) for _ in range(4)
        )
        self.head = nn.Linear(48, 6)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


@pytest.fixture(scope="module")
def inputs() -> tuple[Tensor]:
    return (torch.randn(32, 48, generator=torch.Generator().manual_seed(5)),)


@pytest.fixture(scope="module")
def bundle(inputs) -> ModelBundle:
    """With the operators' thresholds as wide as kernels differ, and segments' of normal errors."""
    torch.manual_seed(5)
    traced = trace(Deep(), inputs)
    node = NodeTolerance((4e-7, 1e-6, 2e-6, 2e-6, 4e-6), (4e-7, 1e-6, 2e-6, 2e-6, 4e-6))
    inside = [SegmentTolerance(lo, hi, THRESHOLDS, (1.3,) * 5) for lo, hi in segments(len(traced.graph), 3)]
    profile = Profile(traced.graph.root, (node,) * len(traced.graph), (), samples=1, segments=tuple(inside))
    return replace(traced, profile=profile)


def pushed(bundle: ModelBundle, share: float):
    """An override that moves every layer's outputs upwards, by a share of what its node tolerates."""

    def override(index, node, operands, outputs):
        if "linear" not in node.target:
            return outputs
        limit = bundle.profile.safety * torch.tensor(bundle.profile.nodes[index].relative[0])
        return [y + share * limit * y.abs().clamp_min(y.square().mean().sqrt()) for y in outputs]

    return override


def test_honest_runs_are_within_every_segment(bundle, inputs):
    count = len(bundle.graph)
    states = capture(bundle.graph, bundle.parameters, inputs, range(count + 1))
    for segment in bundle.profile.segments:
        found = measure_segment(bundle, segment.lo, states[segment.lo], segment.hi, states[segment.hi])
        assert found.exceedance <= 1 and found.drift_ratio <= 1


def test_drift_that_every_operator_tolerates_is_rejected_of_the_segment(bundle, inputs):
    """Each operator is pushed inside its own thresholds, all the same way: only the segments show it."""
    count = len(bundle.graph)
    states = capture(bundle.graph, bundle.parameters, inputs, range(count + 1), pushed(bundle, 0.9))
    for node in range(count):
        assert measure(bundle, node, states[node], states[node + 1]).exceedance <= 1
    assert measure_segment(bundle, 0, states[0], count, states[count]).exceedance > 1.25


def test_sensitive_inputs_are_given_the_room_that_rounding_takes_there(bundle):
    """A large mean cancels in the norm, so honest errors are large; thresholds in units of them hold."""
    x = (100 + 1e-2 * torch.randn(32, 48, generator=torch.Generator().manual_seed(6)),)
    count = len(bundle.graph)
    single = replay(bundle.graph, bundle.parameters, 0, x, count)
    double = replay(bundle.graph, bundle.parameters, 0, x, count, dtype=torch.float64)
    noise = replays(single[0], double[0]).noise
    calm = (torch.randn(32, 48, generator=torch.Generator().manual_seed(6)),)
    end = replay(bundle.graph, bundle.parameters, 0, calm, count)
    exact = replay(bundle.graph, bundle.parameters, 0, calm, count, dtype=torch.float64)
    assert noise > 10 * replays(end[0], exact[0]).noise
    other = [
        double[0].float() + noise * torch.randn(double[0].shape, generator=torch.Generator().manual_seed(1))
    ]
    assert measure_segment(bundle, 0, x, count, tuple(other)).exceedance <= 1


def test_a_segment_without_thresholds_exceeds_nothing(bundle, inputs):
    states = capture(bundle.graph, bundle.parameters, inputs, [1, 4])
    wrong = tuple(y + 1 for y in states[4])
    assert bundle.profile.segment(1, 4) is None
    found = measure_segment(bundle, 1, states[1], 4, wrong)
    assert found.exceedance == 0 and found.statistics == () and not found.is_calibrated
    assert found.excess == found.drift_ratio / DRIFT_THRESHOLD > 50
