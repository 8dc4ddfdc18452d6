"""What the benchmark of the calibrated constant is built of."""

import pytest
import torch

from benchmarks.substitutions import tf32
from benchmarks.theta import (
    ADVERSARIAL,
    SCHEDULES,
    SIZE,
    SUBSTITUTIONS,
    adversarial,
    linear,
    profile_of,
    provable,
)
from tao.model import ModelBundle, trace
from tao.numerics.contraction import excess, theta_statistic
from tao.numerics.dot import THETA_ONE

LANES = 200
THETA = 9 * THETA_ONE


@pytest.fixture(scope="module")
def operands():
    torch.manual_seed(1)
    return torch.randn(SIZE, LANES), torch.randn(SIZE, LANES)


def test_every_schedule_is_a_kernel_of_its_own_within_theta(operands):
    outputs = [f(*operands) for f in SCHEDULES.values()]
    for y in outputs:
        assert 0 < theta_statistic(y, *operands).max() < 9
    assert len({y.numpy().tobytes() for y in outputs}) == len(SCHEDULES)


def test_every_substitution_is_beyond_theta_and_provably_so(operands):
    for substitute in SUBSTITUTIONS.values():
        y = substitute(*operands)
        assert theta_statistic(y, *operands).max() > 100
        tried, proven = provable(y, *operands, THETA)
        assert tried == proven > 8


def test_tf32_keeps_ten_bits_rounding_to_even():
    x = torch.tensor([1 + 2.0**-10, 1 + 2.0**-11, 1 + 3 * 2.0**-11, -(1 + 2.0**-11 + 2.0**-20)])
    assert tf32(x).tolist() == [1 + 2.0**-10, 1.0, 1 + 2.0**-9, -(1 + 2.0**-10)]


def test_inputs_made_for_it_take_an_honest_kernel_beyond_theta_and_never_beyond_the_bound():
    for make in ADVERSARIAL.values():
        a, b = make(1024)
        y = SCHEDULES["sequential"](a, b)
        assert theta_statistic(y, a, b).max() > 9
        assert excess(y, a, b).max() <= 1


def test_an_honest_prover_is_acquitted_by_the_members_whole_rule(operands):
    x, b = operands
    bundle = trace(linear(b), (x,))
    profile = profile_of(bundle, {name: [f(x, b)] for name, f in SCHEDULES.items()})
    found = adversarial(LANES, THETA, ModelBundle(bundle.graph, bundle.parameters, profile))
    honest = [each for kind in found.values() for each in kind.values() if each["honest"]]
    assert all(each["accepted"] for each in honest)
    assert not all(each["accepted_by_percentiles"] for each in honest)
