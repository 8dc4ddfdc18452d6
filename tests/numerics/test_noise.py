"""Random errors against exact arithmetic, and the replays that are made of them."""

import math
from fractions import Fraction
from itertools import accumulate

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tao.execution import Executor
from tao.model import ModelBundle, trace
from tao.numerics.noise import DRAWS, LARGE, TURNS, Errors, NoisySegment, _disturb, disturb, round_at_random

TYPES = {torch.float32: 24, torch.float16: 11, torch.bfloat16: 8}
"""Types and the bits of their significands."""
U = 2.0**-24


def drawn(
    values: list[float], dtype: torch.dtype = torch.float32, counter: int = 0, times: int = 1
) -> list[float]:
    return round_at_random(torch.tensor(values, dtype=torch.float64), dtype, counter, times).tolist()


@given(
    st.floats(2.0**-14, 2.0**15) | st.floats(-(2.0**15), -(2.0**-14)),
    st.sampled_from(list(TYPES)),
    st.integers(0, 2**60),
)
def test_a_number_goes_to_one_of_its_two_neighbours(value, dtype, counter):
    (found,) = drawn([value], dtype, counter)
    _, exponent = math.frexp(value)
    grid = Fraction(2) ** (exponent - TYPES[dtype])
    below = math.floor(Fraction(value) / grid) * grid
    assert Fraction(found) in {below, below + grid} if below != Fraction(value) else found == value
    assert torch.tensor(found, dtype=torch.float64).to(dtype).item() == found


@pytest.mark.parametrize("share", [0.0, 0.125, 0.5, 0.9])
def test_up_or_down_is_as_likely_as_the_neighbour_is_near(share):
    count, grid = 40_000, 2.0**-23
    ups = (torch.tensor(drawn([1 + share * grid] * count)) > 1).double().mean().item()
    assert ups == pytest.approx(share, abs=4 * math.sqrt(0.25 / count)) and (share > 0) is (ups > 0)


def test_numbers_of_the_type_infinities_and_nan_stay():
    kept = [0.0, -0.0, 1.0, -3.5, 2.0**-126, 2.0**-149, math.inf, -math.inf]
    assert drawn(kept) == kept and math.isnan(drawn([math.nan])[0])
    assert drawn([1e300, -1e300]) == [math.inf, -math.inf]
    assert math.copysign(1, drawn([-0.0])[0]) == -1
    double = torch.tensor([0.1], dtype=torch.float64)
    assert torch.equal(round_at_random(double, torch.float64, 0), double)


def test_larger_errors_are_those_of_rounding_times_a_factor_on_numbers_of_the_type():
    values = (1 + torch.rand(1000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).tolist()
    for value, once, often in zip(values, drawn(values), drawn(values, times=16), strict=True):
        assert (
            often == torch.tensor(value + 16 * (once - value)).item() and abs(often - value) < 16 * 2.0**-23
        )
    kept = [0.0, 1.0, -3.5, math.inf, -math.inf]
    assert drawn(kept, times=16) == kept and math.isnan(drawn([math.nan], times=16)[0])


def test_every_position_every_value_and_every_draw_has_numbers_of_its_own():
    halves = [1 + 2.0**-24] * 4096
    first, second = (torch.tensor(drawn(halves, counter=c)) > 1 for c in (0, 1 << 36))
    assert torch.equal(first, torch.tensor(drawn(halves)) > 1)
    for a, b in ((first, second), (first[1:], first[:-1]), (first[64:], first[:-64])):
        assert (a == b).double().mean().item() == pytest.approx(0.5, abs=0.04)


def partial_sums(terms: list[float], lanes: int, block: int) -> float:
    """Sum of the squares of all that a kernel rounds which sums these terms so: products, and partial sums."""
    total, sums = sum(term**2 for term in terms), []
    for lane in range(lanes):
        mine, of_blocks = terms[lane::lanes], 0.0
        for start in range(0, len(mine), block):
            inside = list(accumulate(mine[start : start + block]))
            of_blocks += inside[-1]
            total += sum(partial**2 for partial in inside) + of_blocks**2
        sums.append(of_blocks)
    while len(sums) > 1:
        half = len(sums) // 2
        sums = [low + high for low, high in zip(sums[:half], sums[half:], strict=True)]
        total += sum(partial**2 for partial in sums)
    return total


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("kind", ["any", "of one sign", "alternating"])
def test_disturbed_terms_add_up_to_what_their_partial_sums_are_rounded_by(lanes, kind):
    terms = torch.randn(24, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    if kind != "any":
        terms = terms.abs() + 1
    if kind == "alternating":
        terms[1::2] *= -1
    sums, unit = torch.empty(20_000, dtype=torch.float64), 1e-3
    rows = terms.repeat(len(sums), 1)
    found = torch.empty_like(rows)
    _disturb(rows.numpy(), found.numpy(), unit, lanes, 4, 7)
    errors = (found - rows).sum(1)
    expected = unit * math.sqrt(partial_sums(terms.tolist(), lanes, 4) / 3)
    assert errors.square().mean().sqrt().item() == pytest.approx(expected, rel=0.03)
    assert abs(errors.mean().item()) < 4 * expected / math.sqrt(len(sums))


def test_zeros_stay_and_other_dimensions_are_walked_as_the_last_one():
    values = torch.randn(5, 7, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    values[2] = 0
    found = disturb(values, U, 1, 7, dim=1)
    assert torch.equal(found, disturb(values.movedim(1, -1), U, 1, 7).movedim(-1, 1))
    endless = torch.tensor([math.inf, -math.inf, 1.0], dtype=torch.float64).repeat(50)
    assert torch.equal(disturb(endless, U, 1, 7).isinf(), endless.isinf())
    assert torch.equal(found[2], values[2]) and 0 < ((found - values) / values)[0].abs().max() < 9 * U
    assert disturb(values[:0], U, 16, 7).shape == (0, 7, 3)


class Narrow(nn.Module):
    """Layers of 64 and an output of few numbers."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(nn.functional.gelu(self.first(x)))


def traced(module: nn.Module, *inputs: Tensor) -> ModelBundle:
    torch.manual_seed(3)
    return trace(module, inputs)


def segment(bundle: ModelBundle, *inputs: Tensor) -> NoisySegment:
    return NoisySegment(bundle.graph, bundle.parameters, 0, inputs, len(bundle.graph))


def test_drawn_replays_scatter_around_the_exact_one_by_unit_roundoffs():
    x = torch.randn(50, 64, generator=torch.Generator().manual_seed(1))
    bundle = traced(Narrow(3), x)
    found = segment(bundle, x)
    (exact,), ends = found.exact, list(found.drawn())
    assert torch.equal(exact, Executor(bundle.graph, bundle.parameters, torch.float64).run((x,))[0])
    errors = torch.stack([end - exact for (end,) in ends])
    assert len(ends) == DRAWS and len({float(each.sum()) for each in errors}) == DRAWS
    assert 0.2 * U < errors.square().mean().sqrt() / exact.square().mean().sqrt() < 5 * U
    for (one,), (other,) in zip(ends, segment(bundle, x).drawn(), strict=True):
        assert torch.equal(one, other)


def test_other_starts_have_other_errors():
    x = torch.ones(1, 64)
    bundle = traced(Narrow(3), x)
    errors = []
    for value in (x, x, x * 2):
        found = segment(bundle, value)
        errors.append([end - found.exact[0] for (end,) in found.drawn()])
    for one, same, other in zip(*errors, strict=True):
        assert torch.equal(one, same) and not torch.equal(one * 2, other)


def test_a_sum_that_cancels_is_as_noisy_as_its_terms():
    """Rounding the result alone would show nothing: it is small."""
    x = torch.randn(50, 64, generator=torch.Generator().manual_seed(1))
    layer = nn.Linear(64, 1, bias=False)
    bundle = traced(layer, x)
    (weight,) = bundle.parameters
    onto = (x.double() @ weight.T.double()) / weight.double().square().sum()
    flat = (x.double() - onto * weight.double()).float()
    terms = (flat * weight).square().sum(1).sqrt().median()
    found = segment(bundle, flat)
    assert found.exact[0].abs().max() < terms / 1e5
    noise = torch.stack([end - found.exact[0] for (end,) in found.drawn()]).square().mean().sqrt()
    assert 0.5 * U * terms < noise < 10 * U * terms


class Difference(nn.Module):
    """A product less what it nearly is."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.addcmul(-x, x, y)


def test_a_product_that_cancels_in_a_sum_is_as_noisy_as_it_is_large():
    x, y = torch.randn(200, generator=torch.Generator().manual_seed(1)), torch.ones(200)
    bundle = traced(Difference(), x, y)
    found = segment(bundle, x, y)
    assert not found.exact[0].any()
    noise = torch.stack([end for (end,) in found.drawn()]).square().mean().sqrt()
    assert 0.3 * U < noise < 10 * U


class Convolved(nn.Module):
    """A convolution whose bias is computed, of an input repeated by a view."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))

    def forward(self, x: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        return nn.functional.conv2d(x, self.weight, torch.exp(bias)), bias.expand(4096, 4).sum(0)


def test_a_bias_is_no_row_and_what_a_view_repeats_is_not_copied(monkeypatch):
    x, bias = torch.randn(2, 3, 8, 8), torch.randn(4)
    bundle, seen = traced(Convolved(), x, bias), []

    def look(values, *rest):
        seen.append(tuple(values.shape))
        return disturb(values, *rest)

    monkeypatch.setattr("tao.numerics.noise.disturb", look)
    assert len(list(segment(bundle, x, bias).drawn())) == DRAWS
    assert set(seen) == {(2, 3, 8, 8)}


class Temperature(nn.Module):
    """A number computed first, which the inputs are then multiplied by."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.exp(t) * torch.tanh(x)


def test_a_segment_is_as_narrow_as_the_numbers_that_all_of_it_hangs_on():
    bottle = nn.Sequential(nn.Linear(64, 2), nn.Linear(2, 100))
    assert segment(traced(bottle, torch.randn(8, 64)), torch.randn(8, 64)).narrowest == 16
    x, t = torch.randn(50, 64), torch.randn(1)
    assert segment(traced(Temperature(), x, t), x, t).narrowest == 50 * 64


class Scaled(nn.Module):
    """One product."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 0.75


def test_flushing_reaches_every_element_and_ends():
    x = torch.full((400_000,), 2.0**-140)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = NoisySegment(trace(Scaled(), (x,)).graph, (), 0, (x,), 1)
        ((flushed,),) = found.flushed
        assert torch.get_num_threads() == 2 and not flushed.any() and (x * 1.0).all()
        assert found.exact[0].all()
    finally:
        torch.set_num_threads(before)


class Masked(nn.Module):
    """What no kernel rounds: integers as floating-point numbers, and masks made of them."""

    def forward(self, mask: Tensor, x: Tensor) -> Tensor:
        return torch.where(mask.sum(-1, keepdim=True) > 3, (1.0 - mask) * -(2.0**127), torch.relu(-x))


def test_what_no_kernel_rounds_is_exact_in_every_draw():
    mask = (torch.arange(8) < torch.tensor([[2], [3], [4], [8]])).float()
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    bundle = traced(Masked(), mask, x)
    found = segment(bundle, mask, x)
    assert found.exact[0].isfinite().all() and all(
        torch.equal(end, found.exact[0]) for (end,) in found.drawn()
    )


class Chosen(nn.Module):
    """A row looked up by the largest of two numbers, and the largest themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Embedding(64, 4)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        values, indices = torch.exp(x).topk(2)
        return self.rows(indices) + torch.exp(y)[:, None, None], values


def test_ties_are_broken_alike_in_every_draw_and_otherwise_in_turned_replays():
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(16, 64, generator=generator), torch.randn(16, generator=generator)
    x[5, 40] = x[5].max() + 1
    x[5, 20] = x[5].max() * (1 - 2**-23)
    bundle = traced(Chosen(), x, y)
    found = segment(bundle, x, y)
    rows, values = found.exact
    for drawn_rows, drawn_values in found.drawn():
        assert 0 < (drawn_rows - rows).abs().max() < 1e-4 and (drawn_values - values).abs().max() < 1e-4
    turned = list(found.turned())
    assert 0 < len(turned) <= TURNS
    for turned_rows, turned_values in turned:
        moved = (turned_rows != rows).flatten(1).any(1)
        assert moved[5] and moved.sum() == 1 and torch.equal(turned_values, values)


def test_errors_are_as_many_times_larger_as_is_asked_for():
    x = torch.randn(200, 64, generator=torch.Generator().manual_seed(1))
    bundle = traced(Narrow(3), x)
    executor = Executor(bundle.graph, bundle.parameters, torch.float64)
    (exact,) = executor.run((x,))

    def size(times: int) -> Tensor:
        errors = Errors(bundle.graph, 7, 0, times)
        (end,) = executor.advance(0, (x,), len(bundle.graph), errors.rounded, disturb=errors.disturbed)
        return (end - exact).square().mean().sqrt()

    assert (size(LARGE) / size(1)).item() == pytest.approx(LARGE, rel=0.15)
