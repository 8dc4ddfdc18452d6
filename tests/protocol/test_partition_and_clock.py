"""Partition and clock against their definitions, exhaustively for small segments."""

import pytest

from tao.protocol.clock import deadline, is_expired
from tao.protocol.partition import child, cuts, degree, inner_cuts, unit_of


@pytest.mark.parametrize("fan_out", [2, 3, 8, 16])
def test_children_tile_the_segment_and_differ_by_at_most_one_operator(fan_out):
    for length in range(1, 80):
        bounds = cuts(5, 5 + length, fan_out)
        sizes = [high - low for low, high in zip(bounds, bounds[1:], strict=False)]
        assert bounds[0] == 5 and bounds[-1] == 5 + length
        assert len(sizes) == degree(5, 5 + length, fan_out) == min(fan_out, length)
        assert max(sizes) - min(sizes) <= 1 and sizes == sorted(sizes, reverse=True)
        assert [child(5, 5 + length, fan_out, i) for i in range(len(sizes))] == list(
            zip(bounds, bounds[1:], strict=False)
        )


def test_descent_always_reaches_one_operator():
    for fan_out in (2, 5, 16):
        for target in range(100):
            lo, hi = 0, 100
            while hi - lo > 1:
                bounds = cuts(lo, hi, fan_out)
                index = max(i for i, bound in enumerate(bounds[:-1]) if bound <= target)
                lo, hi = child(lo, hi, fan_out, index)
            assert (lo, hi) == (target, target + 1)


def test_a_segment_no_longer_than_the_arity_is_cut_at_every_operator():
    assert inner_cuts(3, 7, 8) == (4, 5, 6)


def test_a_run_is_cut_like_its_steps_until_one_is_left():
    assert [unit_of(0, hi, 5) for hi in (4, 5, 6, 10)] == [1, 1, 5, 5]
    for fan_out in (2, 3, 8):
        for steps in range(2, 40):
            assert cuts(0, 5 * steps, fan_out, 5) == tuple(5 * cut for cut in cuts(0, steps, fan_out))
    with pytest.raises(ValueError, match="no whole number"):
        cuts(0, 11, 2, 5)


@pytest.mark.parametrize(("lo", "hi", "fan_out"), [(3, 3, 2), (4, 3, 2), (-1, 3, 2), (0, 4, 1)])
def test_segments_that_cannot_be_cut_are_refused(lo, hi, fan_out):
    with pytest.raises(ValueError):
        degree(lo, hi, fan_out)


def test_child_out_of_range_is_refused():
    with pytest.raises(ValueError, match="there are 4"):
        child(0, 9, 4, 4)


def test_the_deadline_itself_is_still_in_time():
    last = deadline(1000, 60)
    assert not is_expired(last - 1, 1000, 60)
    assert not is_expired(last, 1000, 60)
    assert is_expired(last + 1, 1000, 60)
