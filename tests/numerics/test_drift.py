import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.substitutions import int8
from numerics.transformer import example, forward
from tao.numerics import variants
from tao.numerics.drift import DRIFT_THRESHOLD, drift_ratio

WORKER = Path(__file__).with_name("transformer.py")


@pytest.fixture(scope="module")
def replays() -> tuple[Tensor, Tensor]:
    x, weights = example()
    single = forward(x, weights)
    return single, forward(x.double(), {name: w.double() for name, w in weights.items()})


def noisy(w: Tensor) -> Tensor:
    return w * (1 + 1e-3 * torch.randn(w.shape, generator=torch.Generator().manual_seed(1)))


def changed(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor, dict[str, Tensor]], Tensor]:
    return lambda x, weights: forward(x, {name: change(w) for name, w in weights.items()})


CHEATS = {
    "int8 weights": changed(int8),
    "bfloat16 weights": changed(lambda w: w.bfloat16().float()),
    "bfloat16 throughout": lambda x, weights: changed(Tensor.bfloat16)(x.bfloat16(), weights).float(),
    "weights off by 1e-3": changed(noisy),
    "another input": lambda x, weights: forward(x.flip(0), weights),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_what_saves_a_cheat_work_exceeds_the_threshold(cheat, replays):
    single, double = replays
    assert drift_ratio([CHEATS[cheat](*example())], [single], [double]) > 10 * DRIFT_THRESHOLD


@pytest.mark.parametrize(
    "name", ["native", "aten-default", "mkl-compatible", "baseline", "split-4", "composed"]
)
def test_honest_kernels_stay_far_below_the_threshold(name, replays, tmp_path):
    if name not in variants.available():
        pytest.skip(f"this processor cannot run {name}")
    single, double = replays
    file = tmp_path / "output.npy"
    subprocess.run([sys.executable, str(WORKER), name, str(file)], check=True)
    ratio = drift_ratio([torch.from_numpy(np.load(file))], [single], [double])
    assert 0 < ratio < 4


def test_the_ratio_is_the_worst_norm_of_the_worst_tensor():
    double = torch.ones(4, dtype=torch.float64)
    single = torch.ones(4) + 2.0**-10
    floor = 4 * 2.0**-24
    claimed = single.clone()
    claimed[0] = 1 + 2.0**-8
    expected = 4 * 2.0**-10 / (2.0**-10 + floor)
    assert drift_ratio([claimed], [single], [double]) == pytest.approx(expected)
    assert drift_ratio([single, claimed], [single] * 2, [double] * 2) == pytest.approx(expected)
    assert drift_ratio([single], [single], [double]) <= 1


def test_bit_equal_replays_forgive_a_few_unit_roundoffs():
    double = torch.ones(4, dtype=torch.float64)
    assert drift_ratio([double.float() + 2.0**-23], [double.float()], [double]) == pytest.approx(0.5)
    assert drift_ratio([torch.zeros(4)], [torch.zeros(4)], [torch.zeros(4).double()]) == 0
    assert drift_ratio([torch.ones(4)], [torch.zeros(4)], [torch.zeros(4).double()]) == math.inf


@pytest.mark.parametrize("claimed", [torch.tensor([1, 3]), torch.tensor([True, False])])
def test_integers_and_booleans_of_a_state_must_be_equal(claimed):
    other = claimed.flip(0)
    assert drift_ratio([claimed], [claimed], [claimed]) == 0
    assert drift_ratio([other], [claimed], [claimed]) == math.inf


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_non_finite_element_of_its_own_is_implausible(value):
    own = torch.tensor([1.0, 2.0])
    assert drift_ratio([torch.tensor([1.0, value])], [own], [own.double()]) == math.inf
    same = torch.tensor([1.0, value])
    assert drift_ratio([same], [same], [own.double()]) == 0


def test_states_of_other_tensors_are_refused():
    one = torch.ones(2)
    with pytest.raises(ValueError, match="cannot compare"):
        drift_ratio([torch.ones(3)], [one], [one.double()])
    with pytest.raises(ValueError):
        drift_ratio([one], [one, one], [one.double()])
