import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tao.errors import ProfileError
from tao.numerics.statistics import (
    GRID,
    SENTINEL,
    STATISTICS_LIMIT,
    VoteStatistics,
    deviation_statistics,
    exceedance,
    mask_limit,
    percentiles,
    typical_size,
)

NONE = (0.0,) * len(GRID)


def test_percentiles_are_nearest_rank():
    values = np.arange(1.0, 101.0)
    assert percentiles(values, (0.5, 50.0, 90.0, 99.9, 100.0)) == (1.0, 50.0, 90.0, 100.0, 100.0)
    assert percentiles(np.array([7.0]), GRID) == (7.0,) * len(GRID)
    assert percentiles(np.array([]), GRID) == NONE


def test_absolute_and_relative_statistics_follow_their_definition():
    own = torch.tensor([3.0, -4.0, 0.0, 5.0])
    claimed = own + torch.tensor([0.5, 0.0, -0.25, 1.0])
    statistics = deviation_statistics(claimed, own, (50.0, 100.0))
    scale = math.sqrt(50 / 4)
    assert statistics.scale == pytest.approx(scale)
    assert statistics.absolute == (0.25, 1.0)
    assert statistics.relative == pytest.approx((0.25 / scale, 1 / 5))
    assert not statistics.mismatch


@pytest.mark.parametrize(
    ("claimed", "own", "mismatch"),
    [
        ([1.0, math.inf], [1.0, math.inf], False),
        ([1.0, math.nan], [1.0, math.nan], False),
        ([1.0, -math.inf], [1.0, math.inf], True),
        ([1.0, math.nan], [1.0, 2.0], True),
        ([1.0, 2.0], [1.0, math.inf], True),
        ([math.nan, math.nan], [math.nan, math.nan], False),
    ],
)
def test_non_finite_elements_must_agree_and_leave_the_percentiles_alone(claimed, own, mismatch):
    statistics = deviation_statistics(torch.tensor(claimed), torch.tensor(own))
    assert statistics.mismatch is mismatch
    assert statistics.absolute == NONE
    assert exceedance(statistics, NONE, NONE, 3.0) == (math.inf if mismatch else 0.0)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool, torch.uint8])
def test_integers_and_booleans_must_be_equal(dtype):
    own = torch.tensor([0, 1, 1]).to(dtype)
    assert exceedance(deviation_statistics(own.clone(), own), NONE, NONE, 3.0) == 0
    assert (
        exceedance(deviation_statistics(torch.tensor([0, 1, 0]).to(dtype), own), NONE, NONE, 3.0) == math.inf
    )


def test_a_flushed_subnormal_is_no_deviation():
    own = torch.tensor([1e-40, 0.0])
    assert exceedance(deviation_statistics(torch.zeros(2), own), NONE, NONE, 1.0) == 0


def test_the_boundary_of_a_threshold_is_the_safety_factor():
    own = torch.ones(10)
    claimed = own.clone()
    claimed[0] += 0.25
    thresholds = (0.0, 0.0, 0.125, 0.125, 0.125)
    statistics = deviation_statistics(claimed, own)
    assert exceedance(statistics, thresholds, thresholds, 2.0) == 1.0
    assert exceedance(statistics, thresholds, thresholds, 1.5) > 1


def test_zero_thresholds_forgive_four_unit_roundoffs_and_no_more():
    own = torch.full((8,), 1.5)
    ulp = 2.0**-23
    for ulps, expected in ((2, False), (4, True)):
        statistics = deviation_statistics(own + ulps * ulp, own)
        assert (exceedance(statistics, NONE, NONE, 1.0) > 1) is expected


def test_a_profile_of_zeros_rejects_any_deviation_from_an_output_of_zeros():
    assert exceedance(deviation_statistics(torch.ones(3), torch.zeros(3)), NONE, NONE, 3.0) == math.inf


def test_outputs_of_other_types_are_not_compared():
    with pytest.raises(ValueError, match="cannot compare"):
        deviation_statistics(torch.ones(3), torch.ones(3).double())


@given(
    st.lists(st.floats(min_value=0, max_value=1e38) | st.just(math.inf), min_size=11, max_size=11),
    st.text(alphabet="abc-09 ", max_size=60),
)
def test_a_votes_statistics_survive_to_four_digits_within_the_limit(values, device):
    vote = VoteStatistics(GRID, tuple(values[:5]), tuple(values[5:10]), values[10], device)
    data = vote.encode()
    assert len(data) <= STATISTICS_LIMIT
    back = VoteStatistics.decode(data)
    assert back.device == device and back.grid == GRID
    assert (*back.absolute, *back.relative, back.exceedance) == pytest.approx(values, rel=1e-3)
    assert VoteStatistics.decode(back.encode()) == back


def test_statistics_over_the_limit_are_refused():
    with pytest.raises(ValueError, match="of 1024"):
        VoteStatistics(GRID, NONE, NONE, 0.0, "x" * 1024).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"grid":[50],"abs":[1,2],"rel":[1],"exceedance":1,"device":"x"}',
        b'{"grid":[50],"abs":[null],"rel":[1],"exceedance":1,"device":"x"}',
        b'{"grid":[50],"abs":[1],"rel":[1],"exceedance":"much","device":"x"}',
        b'{"grid":[50],"abs":[1],"rel":[1],"exceedance":1,"device":7}',
        b"[" * 5000,
    ],
)
def test_malformed_statistics_of_a_vote_are_refused_in_one_sentence(data):
    with pytest.raises(ProfileError, match="malformed"):
        VoteStatistics.decode(data)


MASKS = [-1e4, -1e9, torch.finfo(torch.float32).min, -math.inf]


def scores(mask: float, share: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Attention scores whose last keys are masked, and where."""
    own = 3 * torch.randn(16, 32, generator=torch.Generator().manual_seed(seed))
    hidden = torch.zeros(16, 32, dtype=torch.bool)
    hidden[:, round(32 * (1 - share)) :] = True
    return own.masked_fill(hidden, mask), hidden


@pytest.mark.parametrize("share", [1 / 32, 0.25, 0.5, 0.75, 0.84])
@pytest.mark.parametrize("change", [0.0, 1e-7, 3e-7, 1e-4, 1.0])
def test_a_finite_mask_gives_the_verdict_of_an_infinite_one(share, change):
    verdicts = []
    for mask in MASKS:
        own, hidden = scores(mask, share)
        noise = torch.randn(16, 32, generator=torch.Generator().manual_seed(1))
        claimed = torch.where(hidden, own, own + change * noise)
        verdicts.append(exceedance(deviation_statistics(claimed, own), NONE, NONE, 3.0))
    assert len(set(verdicts)) == 1
    assert (verdicts[0] > 1) is (change > 3e-7)


@pytest.mark.parametrize("mask", MASKS)
def test_a_mask_does_not_shelter_the_scores_beside_it_and_is_judged_itself(mask):
    own, _ = scores(mask, 0.75)
    claimed = own.clone()
    assert exceedance(deviation_statistics(claimed, own), NONE, NONE, 3.0) == 0
    claimed[3, 4] += 1e-4
    assert exceedance(deviation_statistics(claimed, own), NONE, NONE, 3.0) > 1
    for unmasked in (-5.0, 0.99 * mask if math.isfinite(mask) else -1e38):
        claimed = own.clone()
        claimed[0, 29] = unmasked
        assert exceedance(deviation_statistics(claimed, own), NONE, NONE, 3.0) > 1


@pytest.mark.parametrize("mask", MASKS[:3])
def test_scores_absorbed_by_a_mask_may_differ_by_its_last_place(mask):
    own, hidden = scores(mask, 0.5)
    claimed = torch.where(hidden, own.nextafter(torch.zeros(())), own)
    assert exceedance(deviation_statistics(claimed, own), NONE, NONE, 1.0) <= 1


def test_numbers_that_spread_without_a_gap_are_all_ordinary():
    generator = np.random.default_rng(0)
    normal, spread = generator.standard_normal(4096), 2.0 ** -generator.uniform(0, 60, 4096)
    heavy = np.exp(3 * generator.standard_normal(4096))
    relu = np.maximum(normal, 0)
    for values in (normal, spread, heavy, relu, 1e30 * normal[:0], normal[:1]):
        assert mask_limit(values) == SENTINEL
        rms = math.sqrt(np.mean(values**2)) if values.size else 0.0
        assert typical_size(values) == pytest.approx(rms)


def test_a_scale_forgets_a_few_outliers_and_keeps_what_lies_near():
    values = np.random.default_rng(1).standard_normal(1000)
    for size, forgotten in ((100.0, False), (1e4, True), (1e6, True), (1e300, True)):
        with_outlier = np.append(values, size)
        assert (typical_size(with_outlier) < 2) is forgotten
    assert typical_size(np.full(10, 1e30)) == 0


def test_the_limit_does_not_depend_on_last_bits():
    own, _ = scores(-1e9, 0.5)
    nudged = own.nextafter(torch.full((), math.inf))
    assert mask_limit(own.double().numpy()) == mask_limit(nudged.double().numpy()) < 64
