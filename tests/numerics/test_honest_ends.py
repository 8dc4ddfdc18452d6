"""Honest ends of segments are accepted by every honest judge, whatever inputs a client chooses against that: sums that
cancel, rows and elements much worse than the rest, single numbers, lucky judges, subnormal numbers, infinite masks. And
what makes room for that is no room for a lie."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from numerics.honest import calibrated, exceedance_of_a_thousandth, parameter, usual
from numerics.local import LocalDevice, shuffled
from tao.model import ModelBundle
from tao.numerics.measure import compare_segment


class Normed(nn.Module):
    """A norm, a layer and few outputs: `inner` numbers in the middle and `out` at the end."""

    def __init__(self, inner: int = 48, out: int = 10) -> None:
        super().__init__()
        self.norm, self.first, self.second = nn.LayerNorm(64), nn.Linear(64, inner), nn.Linear(inner, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(self.norm(x)))


class Bottleneck(nn.Module):
    """One number in the middle, of which a hundred follow."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(64, 1, bias=False), nn.Linear(1, 100, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))


class Scored(nn.Module):
    """One score for each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(nn.functional.gelu(self.first(x)))


class Summed(nn.Module):
    """Sums of 64 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.reshape(-1, 16, 64).sum(-1))


class Residual(nn.Module):
    """Ends in a row that keeps what came in beside what was computed."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.first, self.second = nn.LayerNorm(1024), nn.Linear(1024, 64), nn.Linear(64, 1024)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(nn.functional.gelu(self.first(self.norm(x))))


class Variance(nn.Module):
    """A variance as the difference of two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 32)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(-1, keepdim=True)
        variance = x.square().mean(-1, keepdim=True) - mean.square()
        return self.head((x - mean) / torch.sqrt(variance + 1e-5))


class Unit(nn.Module):
    """Divides by a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(64, 64, bias=False), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.head(x / x.norm(dim=-1, keepdim=True))


def exceedances(bundle: ModelBundle, x: Tensor, provers: int = 4, judges: int = 3) -> list[float]:
    """Of the whole graph's end, by devices that were not calibrated on."""
    found, count = [], len(bundle.graph)
    for prover in range(provers):
        end = shuffled(bundle, 100 + prover).run((x,))
        for judge in range(judges):
            own = shuffled(bundle, 200 + judge).run((x,))
            found.append(compare_segment(bundle, 0, (x,), count, end, own).exceedance)
    return found


def cancelling(bundle: ModelBundle, weight: Tensor, x: Tensor) -> Tensor:
    """`x` without what the rows of the weight see of it."""
    basis = torch.linalg.qr(weight.double().T).Q
    return (x.double() - x.double() @ basis @ basis.T).float()


def test_sums_that_cancel():
    bundle = calibrated(Bottleneck)
    for seed in range(40, 60):
        assert max(exceedances(bundle, cancelling(bundle, parameter(bundle, (1, 64)), usual(seed)))) <= 1


@pytest.mark.parametrize("mean", [1e2, 1e4, 1e6])
def test_a_mean_that_cancels_in_a_norm(mean):
    bundle = calibrated(Normed)
    for seed in range(40, 50):
        assert max(exceedances(bundle, usual(seed) + mean)) <= 1


@pytest.mark.parametrize("spread", [1e-2, 1e-4, 1e-6])
def test_one_row_that_is_nearly_constant_before_a_norm(spread):
    bundle = calibrated(Normed)
    for seed in range(40, 50):
        x = usual(seed)
        x[3] = 1 + spread * x[3]
        assert max(exceedances(bundle, x)) <= 1


def test_a_single_number():
    bundle = calibrated(Scored, 1, 64)
    worst = max(max(exceedances(bundle, usual(seed, 1, 64), provers=2, judges=2)) for seed in range(100, 250))
    assert 0.1 < worst <= 1


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_numbers_far_from_one(scale):
    bundle = calibrated(Bottleneck)
    assert max(exceedances(bundle, scale * usual(40))) <= 1


@pytest.mark.parametrize("make", [Normed, Bottleneck])
def test_a_thousandth_of_the_outputs_is_still_rejected(make):
    assert exceedance_of_a_thousandth(calibrated(make), usual(40)) > 10


def test_a_judge_that_is_exact_by_luck():
    """Pairs that cancel in the judge's order of summation, and in no other."""
    bundle = calibrated(Summed, 8, 1024)
    for seed in range(40, 60):
        halves = 1e6 * usual(seed, 8, 16, 32)
        x = torch.stack([halves, -halves], -1).reshape(8, 1024)
        own, end = LocalDevice("exact", bundle).run((x,)), shuffled(bundle, 100).run((x,))
        assert (end[0] - own[0]).abs().max() > 1e-3
        assert compare_segment(bundle, 0, (x,), len(bundle.graph), end, own).exceedance <= 1


def test_an_element_that_is_much_worse_than_its_row():
    bundle = calibrated(Residual, 8, 1024)
    for seed in range(40, 44):
        x = usual(seed, 8, 1024)
        x[:, 5], x[:, 6] = 60 * (1 + seed / 100), 4e3
        assert max(exceedances(bundle, x, provers=2, judges=2)) <= 1


def test_numbers_that_only_some_kernels_have():
    bundle, endless = calibrated(Variance), 0
    for seed in range(40, 60):
        x = usual(seed)
        x[3] = 1e4 * (1 + 1e-7 * x[3]) + seed
        ends = [shuffled(bundle, 100 + device).run((x,)) for device in range(3)]
        endless += not torch.cat([end[0] for end in ends]).isfinite().all()
        for end in ends:
            for own in ends:
                assert compare_segment(bundle, 0, (x,), len(bundle.graph), end, own).exceedance <= 1
        wrong = ends[0][0].clone()
        wrong[5] = torch.nan
        own = shuffled(bundle, 200).run((x,))
        assert compare_segment(bundle, 0, (x,), len(bundle.graph), (wrong,), own).exceedance == torch.inf
    assert endless >= 3


class Attentive(nn.Module):
    """Attention to those of 16 numbers that are no padding."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.head = nn.Linear(64, 192), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.mix(x).chunk(3, -1)
        scores = (query @ key.transpose(-1, -2) / 8).masked_fill(torch.arange(16) > 9, -torch.inf)
        return self.head(scores.softmax(-1) @ value)


def test_infinite_masks_excuse_no_claim_without_numbers():
    bundle = calibrated(Attentive, 2, 16, 64)
    x = usual(40, 2, 16, 64)
    (end,), own = shuffled(bundle, 100).run((x,)), shuffled(bundle, 200).run((x,))
    for lie in (torch.nan, torch.inf):
        claimed = (torch.full_like(end, lie),)
        assert compare_segment(bundle, 0, (x,), len(bundle.graph), claimed, own).exceedance == torch.inf
    assert compare_segment(bundle, 0, (x,), len(bundle.graph), (end,), own).exceedance <= 1


@contextmanager
def flushing() -> Iterator[None]:
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor does not flush subnormal numbers")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("scale", [1.0, 1e-18, 1e-20])
def test_kernels_that_flush_subnormal_numbers(scale):
    bundle = calibrated(Unit)
    x = scale * usual(40)
    with flushing():
        flushed = shuffled(bundle, 100).run((x,))
    usually = shuffled(bundle, 101).run((x,))
    assert scale == 1 or not torch.allclose(flushed[0], usually[0], equal_nan=True)
    for end, own in ((flushed, usually), (usually, flushed)):
        assert compare_segment(bundle, 0, (x,), len(bundle.graph), end, own).exceedance <= 1
    if scale > 1e-20:
        lie = (usually[0] + 10 * usually[0].std(),)
        assert compare_segment(bundle, 0, (x,), len(bundle.graph), lie, usually).exceedance > 10
