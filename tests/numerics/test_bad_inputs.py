"""Models and inputs at the edges of floating point: a clear error or a sound verdict."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from numerics.local import LocalDevice, reordered
from tao.errors import ProfileError, UnsupportedOperator
from tao.model import ModelBundle, trace
from tao.numerics.calibrate import Settings, calibrate_on
from tao.numerics.measure import measure, measure_segment
from tao.numerics.profile import Device, NodeTolerance, Profile


class Edges(nn.Module):
    """A norm, a logarithm, which has no value below zero, a softmax and a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(32, 32), nn.LayerNorm(32)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.layer(x)
        return torch.softmax(self.norm(hidden), -1) + torch.log(hidden).mul(0.5)


def noise(seed: int) -> Tensor:
    return torch.randn(8, 32, generator=torch.Generator().manual_seed(seed))


INPUTS = {
    "NaN from negative logarithms": noise(1),
    "NaN given": noise(2).index_put((torch.tensor([0]), torch.tensor([0])), torch.tensor(math.nan)),
    "infinities given": noise(3).index_put((torch.tensor([1]), torch.tensor([2])), torch.tensor(math.inf)),
    "denormals": noise(4) * 2.0**-140,
    "mixed with denormals": torch.where(noise(5) > 0, noise(5), noise(6) * 2.0**-135),
    "huge": noise(7) * 1e37,
    "overflowing": noise(8) * 3e38,
    "constant rows": torch.ones(8, 32) * torch.arange(8.0)[:, None],
    "zeros": torch.zeros(8, 32),
}


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    torch.manual_seed(2)
    return trace(Edges(), (noise(0),))


def fleet(bundle: ModelBundle) -> list[LocalDevice]:
    return [LocalDevice(f"device-{seed}", bundle, reordered(seed) if seed else None) for seed in range(3)]


@pytest.mark.parametrize("kind", INPUTS)
def test_honest_devices_are_calibrated_and_accepted_and_a_changed_element_is_not(bundle, kind):
    x = (INPUTS[kind],)
    profile = calibrate_on(fleet(bundle), bundle, [x, (noise(20),)], settings=Settings(fan_out=2))
    calibrated = replace(bundle, profile=profile)
    other = LocalDevice("other", bundle, reordered(9))
    other.start("begin", list(x))
    for node in range(len(bundle.graph)):
        before = tuple(other.worker.state[value] for value in bundle.graph.live(node))
        outputs = other.worker.step()
        other.worker.hold(outputs)
        after = tuple(other.worker.state[value] for value in bundle.graph.live(node + 1))
        assert measure(calibrated, node, before, after).exceedance <= 1
        changed = after[-1].clone()
        flat = changed.view(-1)
        flat[3] = 7.0 if not flat[3].isfinite() else flat[3] * 1.5 + 1
        assert measure(calibrated, node, before, (*after[:-1], changed)).exceedance > 1


@pytest.mark.parametrize("kind", INPUTS)
def test_an_honest_end_is_within_its_segment_whatever_the_inputs(bundle, kind):
    x, count = (INPUTS[kind],), len(bundle.graph)
    profile = calibrate_on(fleet(bundle), bundle, [x, (noise(20),)], settings=Settings(fan_out=2))
    other = LocalDevice("other", bundle, reordered(9))
    other.start("begin", list(x))
    end = tuple(other.worker.segment(count))
    assert measure_segment(replace(bundle, profile=profile), 0, x, count, end).exceedance <= 1


def test_devices_that_disagree_where_a_number_ends_are_told_apart(bundle):
    def overflow(index, node, operands, outputs):
        return [torch.where(y.abs() == y.abs().max(), math.inf, y) for y in outputs]

    two = [LocalDevice("one", bundle), LocalDevice("two", bundle, overflow)]
    with pytest.raises(ProfileError, match=r"disagree on an integer or non-finite element at node 0 \("):
        calibrate_on(two, bundle, [(noise(1).abs(),)])


def test_a_value_outside_a_table_rejects_and_does_not_end_the_member():
    """A cheating prover can commit to any indices; the look-up has no result then."""
    model = trace(nn.Embedding(10, 4), (torch.tensor([1, 2, 3]),))
    count = len(model.graph)
    node = NodeTolerance((0.0,) * 5, (0.0,) * 5)
    profile = Profile(model.graph.root, (node,) * count, (Device("one", ""),), samples=1)
    model = replace(model, profile=profile)
    claimed = (torch.zeros(3, 4),)
    for index in (10, -11, 2**40):
        given = (torch.tensor([1, index, 3]),)
        assert measure(model, 0, given, claimed).exceedance == math.inf
        assert measure_segment(model, 0, given, count, claimed).exceedance == math.inf


class Strange(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft(x).real


class Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.ModuleDict({"inner": Strange()})

    def forward(self, x: Tensor) -> Tensor:
        return self.block["inner"](x)


def test_an_operator_without_support_fails_with_its_name_and_module():
    with pytest.raises(UnsupportedOperator, match=r"aten\.fft_fft.* in module block\.inner") as caught:
        trace(Holder(), (noise(0),))
    assert "\n" not in str(caught.value)


def test_a_profile_of_another_model_is_refused(bundle):
    profile = calibrate_on(fleet(bundle), bundle, [(noise(20),)], settings=Settings(fan_out=2))
    other = trace(nn.Linear(32, 32), (noise(0),))
    with pytest.raises(ProfileError, match="it is of graph 0x.* calibrate the model again"):
        replace(other, profile=profile)
