"""Rounding is IEEE's on every grid, midpoints are found in every binade, and both paths give the same
bits."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from tao.training import rounding
from tao.training.rounding import Zones, _round_torch, nearest, round_to_grid

GRIDS = (24, 11, 8)
NUMBERS = 200_000


def random_doubles(count: int, seed: int, low: int = -160, high: int = 130) -> Tensor:
    """Doubles with uniformly random exponents and signs, around and beyond those of float32."""
    generator = torch.Generator().manual_seed(seed)
    fraction = 1 + torch.rand(count, generator=generator, dtype=torch.float64)
    exponent = torch.randint(low, high, (count,), generator=generator)
    sign = 1 - 2 * torch.randint(0, 2, (count,), generator=generator).double()
    return sign * torch.ldexp(fraction, exponent)


def exact(f: float, bits: int) -> float:
    """RN by rational arithmetic: to nearest, ties to even, infinity from the midpoint above the largest
    on."""
    if f == 0:
        return 0.0
    magnitude = Fraction(abs(f))
    exponent = max(math.frexp(f)[1] - 1, -126) - (bits - 1)
    steps = round(magnitude / Fraction(2) ** exponent)  # ties to even
    value = steps * Fraction(2) ** exponent
    rounded = math.inf if value >= Fraction(2) ** 128 else float(value)
    return math.copysign(rounded, f) if rounded else 0.0


def midpoints(bits: int) -> Tensor:
    """Midpoints of neighbours in every binade, the subnormal ones and zero's included."""
    found = [2.0 ** (-126 - bits) * k for k in (1, 3, 5)]
    for exponent in range(-126, 128):
        spacing = 2.0 ** (exponent - bits + 1)
        for steps in (2 ** (bits - 1), 2 ** (bits - 1) + 1, 3 * 2 ** (bits - 2), 2**bits - 2):
            found.append((steps + 0.5) * spacing)
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("bits", GRIDS)
def test_rounding_is_exact_on_every_grid(bits: int) -> None:
    f = torch.cat([random_doubles(20_000, 1), midpoints(bits), -midpoints(bits), torch.tensor([0.0, -0.0])])
    expected = torch.tensor([exact(x, bits) for x in f.tolist()]).float()
    given = round_to_grid(f, None, bits)
    assert torch.equal(given.values.view(torch.int32), expected.view(torch.int32))
    assert not given.finite  # some of the doubles overflow


def test_rounding_to_float32_is_the_processors() -> None:
    f = random_doubles(NUMBERS, 2)
    with np.errstate(over="ignore", under="ignore"):
        expected = f.numpy().astype(np.float32) + np.float32(0)
    assert (round_to_grid(f).values.numpy().view(np.int32) == expected.view(np.int32)).all()


@pytest.mark.parametrize("bits", GRIDS)
@pytest.mark.parametrize("sign", (1, -1))
def test_midpoints_are_found_in_every_binade(bits: int, sign: int) -> None:
    middle = sign * midpoints(bits)
    for off in (0.0, 1e-12, -1e-12):
        near = middle * (1 + off)
        assert len(round_to_grid(near, Zones(relative=2e-12), bits).candidates) == len(near)
    away = middle * (1 + 2.0 ** -(bits + 3))
    assert len(round_to_grid(away, Zones(relative=2e-12), bits).candidates) == 0


def test_midpoints_are_found_in_every_decade() -> None:
    for decade in range(-44, 38):
        x = np.float32(10.0**decade)
        for _ in range(3):
            above = np.nextafter(x, np.float32(np.inf), dtype=np.float32)
            if np.isfinite(above):
                middle = torch.tensor([(float(x) + float(above)) / 2], dtype=torch.float64)
                assert round_to_grid(middle, Zones(relative=2.0**-50)).candidates.tolist() == [0]
            x = np.float32(x * np.float32(2.9))


def test_no_midpoint_within_the_zone_is_missed() -> None:
    # The zone is the distance to the midpoint, rounded up: float64 loses f +- zone without the widening.
    f = random_doubles(NUMBERS, 3, -140, 120)
    value = f.float()
    other = torch.nextafter(value, torch.copysign(torch.tensor(torch.inf), (f - value.double()).float()))
    middle = (value.double() + other.double()) / 2
    distance = torch.nextafter((f - middle).abs(), torch.tensor(torch.inf, dtype=torch.float64))
    found = round_to_grid(f, Zones(absolute=distance)).candidates
    assert len(found) == len(f)
    found = round_to_grid(f, Zones(absolute=distance * (1 - 1e-6))).candidates
    assert len(found) < len(f) / 100


ZONES = {
    "relative": Zones(relative=3e-9),
    "absolute": Zones(absolute=1e-9),
    "elements": Zones(absolute=torch.rand(3000 * 67, dtype=torch.float64) * 1e-8, relative=1e-10),
    "outer": Zones(
        absolute=torch.rand(3000, dtype=torch.float64) * 1e-4, rows=torch.rand(67, dtype=torch.float64) * 1e-4
    ),
    "groups": Zones(
        absolute=torch.rand(3, 1000, dtype=torch.float64) * 1e-4,
        rows=torch.rand(201, dtype=torch.float64) * 1e-4,
    ),
}


@pytest.mark.parametrize("name", ZONES)
@pytest.mark.parametrize("threads", (1, 2))
def test_compiled_and_plain_paths_give_the_same_bits(
    name: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounding, "_PARALLEL_FROM", 0)
    zone, generator = ZONES[name], torch.Generator().manual_seed(4)
    f = torch.randn(67, 3000, generator=generator, dtype=torch.float64).repeat(2, 1)[:67].contiguous()
    f[3, 5], f[4, 7], f[5, 9], f[6, 11] = torch.nan, torch.inf, -0.0, 1e-42
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        given = round_to_grid(f, zone)
    finally:
        torch.set_num_threads(before)
    out = torch.empty_like(given.values)
    candidates, finite = _round_torch(f, zone.widened(), 24, out)
    assert torch.equal(given.candidates, candidates)
    assert 100 < len(candidates) < f.numel() / 2
    assert torch.equal(given.values.view(torch.int32), out.view(torch.int32))
    assert not finite and not given.finite


@pytest.mark.parametrize("bits", GRIDS)
def test_zero_is_always_positive(bits: int) -> None:
    f = torch.tensor([-0.0, 0.0, -1e-60, 1e-60], dtype=torch.float64)
    assert not round_to_grid(f, None, bits).values.view(torch.int32).any()
    assert len(round_to_grid(f, Zones(absolute=1e-59), bits).candidates) == 0


def test_a_zone_at_elements_is_the_zone_over_all() -> None:
    f = torch.randn(67, 3000, dtype=torch.float64)
    elements = torch.randint(0, f.numel(), (100,))
    for zone in ZONES.values():
        assert torch.equal(zone.at(elements, f.view(-1)[elements]), zone.over(f).view(-1)[elements])


def test_results_and_grids_that_cannot_be_are_refused() -> None:
    f = torch.randn(6, 4, dtype=torch.float64)
    for wrong in (f.float(), f.T):
        with pytest.raises(ValueError, match="contiguous float64"):
            round_to_grid(wrong)
    with pytest.raises(ValueError, match="2 to 24 bits"):
        round_to_grid(f, None, 25)
    with pytest.raises(ValueError, match="does not fit"):
        round_to_grid(f, Zones(absolute=torch.ones(5, dtype=torch.float64)))


def test_nearest_keeps_what_is_on_the_grid() -> None:
    for bits in GRIDS:
        once = nearest(random_doubles(1000, 5), bits)
        assert torch.equal(nearest(once.double(), bits), once)
