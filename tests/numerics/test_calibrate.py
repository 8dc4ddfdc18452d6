import dataclasses
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from tao.errors import ProfileError
from tao.model import ModelBundle, trace
from tao.numerics import variants
from tao.numerics.calibrate import Settings, calibrate
from tao.numerics.process import VariantProcess, processes, step_together
from tao.numerics.profile import Profile
from tao.numerics.statistics import deviation_statistics
from tao.numerics.variants import VariantError
from tao.tensors.store import TensorStore

DEVICES = [name for name in ("native", "mkl-compatible", "composed") if name in variants.available()]


class Block(nn.Module):
    """A layer, a softmax, a norm and a copy: bits differ between variants at all but the copy."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(192, 192), nn.LayerNorm(192)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = nn.functional.gelu(self.norm(self.layer(x)))
        return torch.softmax(hidden @ hidden.mT / 192, -1), hidden.argmax(-1)


def sample(seed: int) -> tuple[Tensor]:
    return (torch.randn(4, 24, 192, generator=torch.Generator().manual_seed(seed)),)


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    torch.manual_seed(0)
    return trace(Block(), sample(0))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> TensorStore:
    return TensorStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def progress() -> list[tuple[int, int]]:
    return []


@pytest.fixture(scope="module")
def profile(bundle, store, progress) -> Profile:
    return calibrate(
        bundle,
        [sample(1), sample(2)],
        DEVICES,
        store.url,
        lambda *done: progress.append(done),
        Settings(fan_out=3),
    )


@pytest.fixture(scope="module")
def workers(bundle, store) -> Iterator[list[VariantProcess]]:
    """The first device, and one left out of the calibration that differs from it in contractions alone."""
    with processes(["native", "split-4"], bundle, store) as both:
        yield both


@pytest.fixture(scope="module")
def outputs(bundle, workers) -> list[list[tuple[Tensor, ...]]]:
    """Per node, the outputs of both workers on an input not calibrated on."""
    return list(step_together(workers, bundle.graph, sample(3)))


def test_the_profile_fits_its_graph_and_says_what_it_was_made_from(bundle, profile, progress):
    assert dataclasses.replace(bundle, profile=profile).tolerances_root == profile.root
    assert Profile.from_json(profile.to_json()) == profile
    assert [device.name for device in profile.devices] == DEVICES
    assert profile.samples == 2
    count = 2 * len(bundle.graph)
    assert sorted(set(progress)) == [(done, count) for done in range(1, count + 1)]


def test_devices_that_differ_leave_thresholds_and_exact_operators_none(bundle, profile):
    operators = [node.operator for node in bundle.graph.nodes]
    by_operator = dict(zip(operators, profile.nodes, strict=True))
    assert 0 < by_operator["contraction"].absolute[-1] < 1e-4
    assert 0 < by_operator["aten.gelu.default"].relative[-1] < 1e-4
    assert set(by_operator["aten.argmax.default"].absolute) == {0.0}


def test_a_device_left_out_is_accepted_at_every_operator(profile, outputs):
    for node, (own, claimed) in enumerate(outputs):
        statistics = [deviation_statistics(y, mine) for y, mine in zip(claimed, own, strict=True)]
        assert profile.exceedance(node, statistics) <= 1


@pytest.mark.parametrize(
    "cheat",
    [
        lambda y: y.bfloat16().float(),
        lambda y: y + 1e-3 * y.abs().mean(),
        lambda y: torch.where(torch.arange(y.numel()).view(y.shape) == 7, y + 0.01, y),
    ],
    ids=["bfloat16 output", "offset", "one element"],
)
def test_an_output_tampered_with_is_rejected_at_every_floating_point_operator(cheat, profile, outputs):
    for node, (own, claimed) in enumerate(outputs):
        if claimed[0].is_floating_point():
            assert profile.exceedance(node, [deviation_statistics(cheat(claimed[0]), own[0])]) > 10


def test_another_index_is_rejected(bundle, profile, outputs):
    node = [node.operator for node in bundle.graph.nodes].index("aten.argmax.default")
    own = outputs[node][0][0]
    assert profile.exceedance(node, [deviation_statistics(own.roll(1, -1), own)]) == math.inf


def test_every_operator_starts_from_the_first_devices_values(bundle, outputs):
    for node, (first, second) in zip(bundle.graph.nodes, outputs, strict=True):
        same = torch.equal(first[0], second[0])
        assert same is (node.operator != "contraction")


def test_a_process_judges_outputs_by_their_drift(workers):
    judge, prover = workers
    honest = prover.run(sample(5))
    assert 0 < judge.judge(sample(5), honest)[0] < 4
    assert judge.judge(sample(5), (honest[0] + 1e-3, honest[1]))[0] > 100
    assert judge.judge(sample(5), (honest[0], honest[1] + 1))[0] == math.inf


def test_a_process_that_fails_is_named(bundle, store, capfd):
    with VariantProcess("native", store, bundle.save(store)) as worker:
        with pytest.raises(VariantError, match="kernel variant 'native' ended"):
            worker.run((torch.ones(3),))


def test_calibration_refuses_what_it_cannot_compare(bundle, store):
    with pytest.raises(ProfileError, match="at least two different ones"):
        calibrate(bundle, [sample(1)], ["native", "native"], store.url)
    with pytest.raises(ProfileError, match="at least one input"):
        calibrate(bundle, [], ["native", "one-thread"], store.url)
    with pytest.raises(VariantError, match="no kernel variant 'gpu'"):
        calibrate(bundle, [sample(1)], ["native", "gpu"], store.url)
