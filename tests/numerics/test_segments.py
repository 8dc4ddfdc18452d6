"""The drift of segments: the statistic by itself, and the votes that go by it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from numerics.local import shuffled
from tao.execution import capture, replay
from tao.model import ModelBundle, trace
from tao.numerics.drift import DRIFT_THRESHOLD
from tao.numerics.measure import FEWEST, judge_end, measure, measure_segment
from tao.numerics.noise import DRAWS, NoisySegment
from tao.numerics.profile import NodeTolerance, Profile, SegmentTolerance
from tao.numerics.segments import (
    Noise,
    SegmentStatistics,
    noise,
    segment_exceedance,
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


def test_deviations_are_counted_in_the_noise_of_their_row():
    exact, single = noisy(0)
    single[3] = exact[3] + 5 * (single[3] - exact[3])
    rows = np.sqrt(np.mean((single - exact) ** 2, axis=1))
    unit = np.maximum(rows, np.median(rows)) + U * math.sqrt(np.mean(exact**2))
    judge = Noise(exact, [single], U, SMALLEST)
    assert judge.noise == pytest.approx(unit) and unit[3] > 3 * np.median(unit)
    found = judge.statistics(exact + 3 * unit[:, None], GRID)
    assert found.elements == pytest.approx((3.0,) * 5) and found.rows == pytest.approx((3.0,) * 5)
    assert found.floor == pytest.approx(4 * U * math.sqrt(np.mean(exact**2)) / np.median(unit), rel=0.02)
    assert found.count == exact.size


def test_of_several_judges_the_quietest_counts_and_drawn_errors_where_they_are_larger():
    exact, single = noisy(0)
    loud = exact + 7 * (single - exact)
    quiet = Noise(exact, [single], U, SMALLEST)
    assert (Noise(exact, [loud, single], U, SMALLEST).noise == quiet.noise).all()
    judge = Noise(exact, [single], U, SMALLEST)
    judge.draw(single, single)
    assert (judge.noise == quiet.noise).all()
    judge.draw(*[loud] * 10**3)
    assert judge.noise == pytest.approx(Noise(exact, [loud], U, SMALLEST).noise, rel=1e-2)
    assert (judge.noise > 4 * quiet.noise).all()


def test_a_row_without_errors_of_its_own_has_those_of_the_others():
    exact, single = noisy(0)
    single[5] = exact[5]
    judge = Noise(exact, [single], U, SMALLEST)
    assert judge.noise[5] == pytest.approx(np.median(judge.noise), rel=0.02)


def test_what_ties_move_may_be_off_by_as_much_again_and_no_further():
    exact, single = noisy(0)
    other = exact.copy()
    other[2] += 1.0
    other[4, 4] += 1e-9
    claimed = single.copy()
    claimed[2] = other[2]
    judge = Noise(exact, [single], U, SMALLEST)
    assert judge.statistics(claimed).rows[-1] > 1e5
    judge.turn(other)
    assert judge.statistics(claimed).rows[-1] < 2 and judge.moved[4, 4] == 0
    claimed[2] = exact[2] - 1.9
    assert judge.statistics(claimed).rows[-1] < 2
    claimed[2] = exact[2] + 2.1
    assert judge.statistics(claimed).rows[-1] > 1e4
    claimed[2] = exact[2]
    claimed[3, 3] += 1.0
    assert judge.statistics(claimed).elements[-1] > 1e5


def test_an_element_counts_in_its_own_errors_where_they_are_much_larger_than_its_rows():
    exact, single = noisy(0)
    drawn = [noisy(0)[1] for _ in range(4)]
    quiet, found = Noise(exact, [single], U, SMALLEST), Noise(exact, [single], U, SMALLEST)
    quiet.draw(*drawn)
    for each in drawn:
        each[3, 3] = exact[3, 3] + 1e-3
    found.draw(*drawn[:3])
    found.draw(drawn[3])
    own = np.sqrt(np.mean(np.square(drawn[0] - exact)[3]))
    assert found.units[3, 3] == pytest.approx(1e-3 / 3) and found.units[3, 3] > 2 * own
    assert found.units[5] == pytest.approx(quiet.units[5], rel=0.1)


def test_what_some_replay_has_no_number_for_may_be_none():
    exact, single = noisy(0)
    other = single.copy()
    other[7, 7] = math.inf
    judge = Noise(exact, [single], U, SMALLEST)
    judge.turn(other)
    claimed = single.copy()
    claimed[7, 7] = math.nan
    assert judge.statistics(claimed).elements[-1] < 5
    claimed[7, 6] = math.nan
    assert judge.statistics(claimed).elements[-1] == math.inf


def test_masks_count_in_their_own_errors_where_those_are_more_than_in_proportion():
    exact, single = noisy(2)
    exact[3, 5:9], single[3, 5:9] = 1e9, 1e9 + 5e4
    judge = Noise(exact, [single], U, SMALLEST)
    assert judge.units[3, 5] == pytest.approx(5e4) and judge.units[3, 4] < 1


def test_one_row_shows_in_the_rows_and_one_element_in_the_elements():
    exact, single = noisy(1, (100, 50))
    judge = Noise(exact, [single], U, SMALLEST)
    claimed = exact.copy()
    claimed[7] += 4 * judge.noise[7]
    found = judge.statistics(claimed, (50.0, 99.0, 100.0))
    assert found.rows == pytest.approx((0.0, 0.0, 4.0)) and found.elements[-1] == pytest.approx(4.0)
    claimed[7] = exact[7]
    claimed[3, 3] += 10 * judge.noise[3]
    found = judge.statistics(claimed, (50.0, 99.0, 100.0))
    assert found.rows[-1] == pytest.approx(10 / math.sqrt(50)) and found.elements == pytest.approx((0, 0, 10))


@given(st.integers(0, 1000), st.floats(1e-6, 1e-2))
def test_honest_errors_of_any_size_pass_and_ten_times_as_much_does_not(seed, size):
    exact, single = noisy(seed, size=size)
    _, other = noisy(seed + 5000, size=size)
    other = exact + (other - noisy(seed + 5000)[0])
    judge = Noise(exact, [single], U, SMALLEST)
    honest, cheating = (
        segment_exceedance([judge.statistics(end, GRID)], THRESHOLDS, (1.3,) * 5, 1.5)
        for end in (other, exact + 10 * (other - exact))
    )
    assert honest <= 1 < cheating


@pytest.mark.parametrize("mask", [-1e4, -1e9, -3e38])
def test_masks_neither_set_the_unit_nor_go_unjudged(mask):
    exact, single = noisy(2)
    plain = Noise(exact, [single], U, SMALLEST)
    hidden = np.zeros(exact.shape, dtype=bool)
    hidden[:, 40:] = True
    masked, own = np.where(hidden, mask, exact), np.where(hidden, mask * (1 + U), single)
    judge = Noise(masked, [own], U, SMALLEST)
    assert judge.noise == pytest.approx(plain.noise, rel=0.4)
    assert np.median(judge.noise) == pytest.approx(np.median(plain.noise), rel=0.1)
    assert judge.statistics(own, GRID).elements[-1] < 5
    claimed = masked.copy()
    claimed[3, 50] *= 0.999
    assert judge.statistics(claimed, GRID).elements[-1] > 100


def test_what_is_not_finite_in_a_replay_counts_for_nothing_and_elsewhere_infinitely():
    exact, single = noisy(3)
    exact[0, 0], single[0, 0] = math.inf, math.inf
    exact[0, 1], single[0, 2] = math.nan, math.inf
    judge = Noise(exact, [single], U, SMALLEST)
    claimed = np.where(np.isfinite(exact), exact, 7.0)
    assert judge.statistics(claimed, GRID).elements == (0.0,) * 5
    assert not judge.counted[0, :3].any() and judge.counted.sum() == exact.size - 3
    for value in (math.inf, -math.inf, math.nan):
        claimed[5, 5] = value
        assert judge.statistics(claimed, GRID).elements[-1] == math.inf
        assert judge.statistics(claimed, GRID).rows[-1] == math.inf


def test_a_segment_that_does_not_round_is_judged_in_unit_roundoffs():
    exact, _ = noisy(4)
    judge = Noise(exact, [exact], U, SMALLEST)
    nothing = (0.0,) * 5
    for roundoffs, rejected in ((0.5, False), (6.3, False), (6.5, True)):
        found = judge.statistics(exact + roundoffs * U * judge.size, GRID)
        assert (segment_exceedance([found], nothing, nothing, 1.5) > 1) is rejected
    zeros = Noise(np.zeros((2, 3)), [np.zeros((2, 3))], U, SMALLEST)
    assert segment_exceedance([zeros.statistics(np.zeros((2, 3)), GRID)], nothing, nothing, 1.5) == 0
    assert segment_exceedance([zeros.statistics(np.ones((2, 3)), GRID)], nothing, nothing, 1.5) == math.inf
    assert zeros.statistics(np.full((2, 3), 1e-40), GRID).elements == nothing


def test_the_worst_tensor_and_the_worst_percentile_decide():
    fine = SegmentStatistics((0.1,) * 5, (0.1,) * 5, 0.0, 10**18)
    high = replace(fine, rows=(0.1, 0.1, 0.1, 0.1, 3.0))
    assert segment_exceedance([], THRESHOLDS, THRESHOLDS, 2.0) == 0
    assert segment_exceedance([fine, high, fine], THRESHOLDS, (1.0,) * 5, 2.0) == pytest.approx(1.5)
    assert segment_exceedance([replace(high, floor=10.0)], THRESHOLDS, (1.0,) * 5, 2.0) < 1


@pytest.mark.parametrize(("count", "factor"), [(1, 3.0), (4, 2.0), (10_000, 1.02)])
def test_limits_of_few_numbers_are_wider(count, factor):
    found = SegmentStatistics((1.0,) * 5, (0.0,) * 5, 0.0, count)
    assert segment_exceedance([found], (0.5,) * 5, (1.0,) * 5, 2.0) == pytest.approx(1 / factor)


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
    calm = torch.randn(32, 48, generator=torch.Generator().manual_seed(6))
    count = len(bundle.graph)

    def judged(x: Tensor) -> tuple[float, float]:
        segment = NoisySegment(bundle.graph, bundle.parameters, 0, (x,), count)
        own = replay(bundle.graph, bundle.parameters, 0, (x,), count)
        found = noise(segment.exact[0], [own[0]])
        other = shuffled(bundle, 1).run((x,))
        return float(np.median(found.noise)), measure_segment(bundle, 0, (x,), count, other).exceedance

    (sensitive, exceedance), (usual, _) = judged(100 + 1e-2 * calm), judged(calm)
    assert sensitive > 10 * usual and 0 < exceedance <= 1


def test_more_is_drawn_the_less_certain_it_is_that_an_end_is_wrong(bundle, inputs, monkeypatch):
    drawn, count = [], len(bundle.graph)
    draws = NoisySegment.drawn

    def counted(segment):
        for end in draws(segment):
            drawn.append(end)
            yield end

    monkeypatch.setattr(NoisySegment, "drawn", counted)
    (honest,) = bundle.run(inputs).values
    (exact,) = NoisySegment(bundle.graph, bundle.parameters, 0, inputs, count).exact
    noise = (honest - exact).square().mean().sqrt()

    def judged(size: float) -> tuple[float, int]:
        drawn.clear()
        end = (honest + size * noise * torch.randn(honest.shape, generator=torch.Generator().manual_seed(1)),)
        return measure_segment(bundle, 0, inputs, count, end).exceedance, len(drawn)

    exceedance, none = judged(0)
    assert exceedance <= 1 and none == 0
    exceedance, all_of_them = judged(12)
    assert 1 < exceedance < 5.6 and all_of_them == DRAWS
    exceedance, few = judged(1e6)
    assert exceedance > 1000 and few == FEWEST
    exceedance, all_of_them = judged(math.inf)
    assert exceedance == math.inf and all_of_them == DRAWS


def test_tensors_of_other_types_are_not_compared(bundle, inputs):
    segment = NoisySegment(bundle.graph, bundle.parameters, 0, inputs, len(bundle.graph))
    (end,) = bundle.run(inputs).values
    with pytest.raises(ValueError, match="cannot compare"):
        judge_end(bundle.profile, segment, [end.double()], [end])


def test_only_tensors_that_exceed_their_limits_are_judged_again(bundle, inputs):
    """The statistics of the others stay in units of the judge's own errors."""
    segment = bundle.profile.segments[1]
    states = capture(bundle.graph, bundle.parameters, inputs, [segment.lo, segment.hi])
    noisy = NoisySegment(bundle.graph, bundle.parameters, segment.lo, states[segment.lo], segment.hi)
    own = [states[segment.hi][place] for place in noisy.computed]
    honest, exceedance = judge_end(bundle.profile, noisy, own, own)
    assert exceedance <= 1
    for place in range(len(own)):
        claimed = [y + 1 if number == place else y for number, y in enumerate(own)]
        found, exceedance = judge_end(bundle.profile, noisy, claimed, own)
        assert exceedance > 1
        same = [number for number in range(len(own)) if found[number] == honest[number]]
        assert len(own) > 1 and same == [number for number in range(len(own)) if number != place]


def test_a_segment_without_thresholds_exceeds_nothing(bundle, inputs):
    states = capture(bundle.graph, bundle.parameters, inputs, [1, 4])
    wrong = tuple(y + 1 for y in states[4])
    assert bundle.profile.segment(1, 4) is None
    found = measure_segment(bundle, 1, states[1], 4, wrong)
    assert found.exceedance == 0 and found.statistics == () and not found.is_calibrated
    assert found.excess == found.drift_ratio / DRIFT_THRESHOLD > 50
