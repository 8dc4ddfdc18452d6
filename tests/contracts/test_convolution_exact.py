"""Convolutions against exact rationals over torch's tensors: what torch's kernels make of a drawn shape stands, what
is within tolerance is never refuted, and what is a hundredth beyond it always is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn import functional

from support.encoding import Tensor, operator_code
from support.oracle import contraction_bound
from support.proofs import LOWEST_WINDOW, SPAN
from support.raises import refused
from support.windows import (
    DRAWS,
    KINDS,
    NON_FINITE,
    Case,
    Window,
    below,
    convolution,
    cost,
    numbers,
    refutes,
    some_elements,
)
from support.wire import Reverted

CONV1D, CONV2D = "aten.conv1d.default", "aten.conv2d.default"


@pytest.fixture(scope="module")
def adjudicator(deployment):
    return deployment.convolution


@dataclass(frozen=True)
class Convolution:
    """Arguments of torch's call, one stride, padding and dilation for each axis."""

    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def window(self, layout: str) -> Window:
        shapes = self.x.shape, self.weight.shape
        return convolution(*shapes, self.stride, self.padding, self.dilation, self.groups, layout)

    def case(self, layout: str, operator: str | None = None) -> Case:
        parameters = [self.weight] if self.bias is None else [self.weight, self.bias]
        usual = CONV1D if self.x.ndim == 3 else CONV2D
        return Case.of(operator or usual, self.window(layout), self.x, *parameters)

    def torch(self, channels_last: bool = False) -> np.ndarray:
        """[N, O, (Y,) X] of torch's kernel."""
        call = functional.conv1d if self.x.ndim == 3 else functional.conv2d
        x, weight = torch.from_numpy(self.x), torch.from_numpy(self.weight)
        if channels_last:
            x, weight = (t.movedim(1, -1).contiguous().movedim(-1, 1) for t in (x, weight))
        bias = None if self.bias is None else torch.from_numpy(self.bias)
        settings = self.stride, self.padding, self.dilation, self.groups
        return call(x, weight, bias, *settings).numpy()

    def lanes(self, output: Sequence[int], element: int) -> list[np.ndarray]:
        """Input, kernel and bias of one element, the padding as zeros."""
        n, o, *at = (int(c) for c in np.unravel_index(element, output))
        padded = np.pad(self.x, [(0, 0), (0, 0), *((p, p) for p in self.padding)])
        channels, *kernel = self.weight.shape[1:]
        group = o // (len(self.weight) // self.groups)
        places = [
            c * s + np.arange(k) * d
            for c, s, k, d in zip(at, self.stride, kernel, self.dilation, strict=True)
        ]
        lanes = padded[n][np.ix_(group * channels + np.arange(channels), *places)]
        bias = [] if self.bias is None else [self.bias[o : o + 1]]
        return [lanes.ravel(), self.weight[o].ravel(), *bias]


def drawn_convolution(random: np.random.Generator, kind: str) -> Convolution:
    axes = int(random.integers(1, 3))
    groups = int(random.choice([1, 1, 2, 3]))
    channels = int(random.choice([1, 2, 3, 9, 17]))
    depthwise = random.integers(5) == 0
    if depthwise:
        groups, channels = int(random.integers(2, 12)), 1
    outputs = groups * int(random.integers(1, 3))
    kernel = tuple(int(k) for k in random.integers(1, 5, axes))
    dilation = tuple(int(d) for d in random.choice([1, 1, 2, 3], axes))
    padding = below(random, [2 * k for k in kernel])
    least = [d * (k - 1) + 1 - 2 * p for d, k, p in zip(dilation, kernel, padding, strict=True)]
    extents = tuple(max(1, m) + int(random.integers(6)) for m in least)
    x = numbers(random, kind, (int(random.integers(1, 3)), groups * channels, *extents))
    weight = numbers(random, kind, (outputs, channels, *kernel))
    bias = numbers(random, kind, (outputs,)) if random.integers(2) else None
    stride = tuple(int(s) for s in random.integers(1, 4, axes))
    return Convolution(x, weight, bias, stride, padding, dilation, groups)


def exponents(values: np.ndarray) -> np.ndarray:
    return np.maximum(values.view(np.uint32) >> 23 & 0xFF, 1).astype(int)


def best_window(a: np.ndarray, b: np.ndarray, bias: Sequence[np.ndarray] = ()) -> int:
    tops = (exponents(a) + exponents(b))[(a != 0) & (b != 0)].tolist()
    tops += [int(exponents(c)[0]) + 127 for c in bias if c[0] != 0]
    return max([LOWEST_WINDOW, *(top - SPAN for top in tops)])


def rounded(target: Fraction, up: bool) -> np.float32:
    """The FP32 number next to the target, above or below it."""
    number = np.float32(float(target))
    if up and Fraction(float(number)) < target:
        return np.nextafter(number, np.float32(np.inf))
    if not up and Fraction(float(number)) > target:
        return np.nextafter(number, np.float32(-np.inf))
    return number


def claims(exact: Fraction, tau: Fraction) -> Iterator[np.float32]:
    """Within a hair's breadth of the tolerance, and a hundredth beyond it, on both sides."""
    inside, outside = tau * (1 - Fraction(1, 2**16)), tau * Fraction(101, 100)
    yield rounded(exact + inside, up=False)
    yield rounded(exact - inside, up=True)
    yield rounded(exact + outside, up=True)
    yield rounded(exact - outside, up=False)


def honest_results(call: Convolution) -> list[np.ndarray]:
    """What several kernels make of it."""
    results = [call.torch(), call.torch(channels_last=True)]
    with torch.backends.mkldnn.flags(enabled=False):
        results.append(call.torch())
    torch.set_flush_denormal(True)
    try:
        results.append(call.torch())
    finally:
        torch.set_flush_denormal(False)
    return results


def layouts(call: Convolution) -> list[str]:
    representable = call.x.ndim == 3 or call.dilation[-1] == 1 or call.weight.shape[1] == 1
    return ["first", "last"] if representable else ["last"]


@pytest.mark.parametrize("kind", KINDS)
def test_convolutions_are_refuted_outside_the_bound_and_never_inside(adjudicator, wire, kind):
    random = np.random.default_rng(list(kind.encode()))
    seen = {"honest": 0, "inside": 0, "sharp": 0, "outside": 0, "all padding": 0}
    for _ in range(DRAWS):
        call = drawn_convolution(random, kind)
        results = honest_results(call)
        y = results[0]
        for element in some_elements(random, y.shape, 2):
            a, b, *bias = call.lanes(y.shape, element)
            exact, total, tau = contraction_bound([lane.tolist() for lane in (a, b, *bias)])
            window = best_window(a, b, bias)
            for layout in layouts(call):
                case = call.case(layout)
                seen["all padding"] += not case.window.runs(y.shape, element)
                for result in results:
                    assert not refutes(adjudicator, wire, case, result, element, window), (call, element)
                    seen["honest"] += 1
                for claim in claims(exact, tau):
                    claimed = y.copy()
                    claimed.ravel()[element] = claim
                    excess = abs(Fraction(float(claim)) - exact) / tau
                    found = refutes(adjudicator, wire, case, claimed, element, window)
                    if excess >= Fraction(101, 100):
                        assert found, (call, element, layout, float(excess))
                        seen["outside"] += 1
                    elif excess <= 1:
                        assert not found, (call, element, layout, float(excess))
                        seen["inside"] += 1
                        seen["sharp"] += excess > 1 - Fraction(1, 2**15)
                assert total + tau < 2**127
                claimed = y.copy()
                claimed.ravel()[element] = random.choice(NON_FINITE)
                assert refutes(adjudicator, wire, case, claimed, element, window)
    assert min(seen.values()) > DRAWS, seen


@pytest.mark.parametrize("layout", ["first", "last"])
def test_the_bound_is_met_within_one_part_in_2_16_where_the_sum_cancels(adjudicator, wire, layout):
    """A bias that takes the sum away leaves claims as fine as the tolerance itself."""
    random = np.random.default_rng(16)
    sharp = 0
    for _ in range(DRAWS):
        x, weight = numbers(random, "normal", (1, 12, 5, 5)), numbers(random, "normal", (2, 4, 3, 3))
        plain = Convolution(x, weight[:1].repeat(3, 0), None, (1, 1), (1, 1), (1, 1), 3)
        element = int(random.integers(75))
        a, b = plain.lanes((1, 3, 5, 5), element)
        bias = np.full(3, -np.dot(a.astype(float), b.astype(float)), np.float32)
        call = Convolution(x, plain.weight, bias, (1, 1), (1, 1), (1, 1), 3)
        exact, _, tau = contraction_bound([a.tolist(), b.tolist(), bias[:1].tolist()])
        y = call.torch().copy()
        case = call.case(layout, "aten.convolution.default")
        window = best_window(a, b, [bias])
        assert not refutes(adjudicator, wire, case, y, element, window)
        for claim in claims(exact, tau):
            y.ravel()[element] = claim
            excess = abs(Fraction(float(claim)) - exact) / tau
            assert refutes(adjudicator, wire, case, y, element, window) == (excess > 1), float(excess)
            sharp += 1 - Fraction(1, 2**15) < excess < 1
    assert sharp > DRAWS


def test_a_window_exponent_can_only_make_a_proof_fail(adjudicator, wire):
    random = np.random.default_rng(7)
    call = drawn_convolution(random, "normal")
    y = call.torch()
    element = y.size // 2
    case = call.case("last")
    found = []
    for window in range(LOWEST_WINDOW, 509, 3):
        try:
            found.append(refutes(adjudicator, wire, case, y, element, window))
        except Reverted as reverted:
            assert reverted.error == "WindowTooLow"
    assert found and not any(found)
    with refused("WindowOutOfRange", 509):
        refutes(adjudicator, wire, case, y, element, 509)


def test_infinite_inputs_refute_nothing(adjudicator, wire):
    random = np.random.default_rng(8)
    call = Convolution(
        numbers(random, "normal", (1, 3, 4, 4)),
        numbers(random, "normal", (2, 3, 3, 3)),
        None,
        *[(1, 1)] * 3,
        1,
    )
    call.x[0, 1, 1, 1] = np.inf
    with refused("NonFiniteOperand"):
        refutes(adjudicator, wire, call.case("last"), call.torch(), 5, 200)


def test_the_adjudicator_names_its_operators(adjudicator, wire):
    names = CONV1D, CONV2D, "aten.convolution.default"
    assert list(wire.call(adjudicator, "operators")) == [operator_code(name) for name in names]


# ---- cost


def image(channels: int, outputs: int, extent: int, kernel: int, **settings: int) -> Convolution:
    random = np.random.default_rng(3)
    groups = settings.get("groups", 1)
    x = numbers(random, "normal", (1, channels, extent, extent))
    weight = numbers(random, "normal", (outputs, channels // groups, kernel, kernel))
    pair = [(settings.get(name, default),) * 2 for name, default in (("stride", 1), ("padding", 0))]
    return Convolution(x, weight, np.zeros(outputs, np.float32), *pair, (1, 1), groups)


COSTS = {
    "3x3, C = 64": (image(64, 64, 14, 3, padding=1), "last", 560_000),
    "3x3, C = 512": (image(512, 512, 7, 3, padding=1), "last", 1_900_000),
    "1x1, C = 2048": (image(2048, 512, 7, 1), "last", 800_000),
    "7x7, C = 3": (image(3, 64, 56, 7, stride=2, padding=3), "first", 1_100_000),
    "depthwise 3x3, channels first": (image(96, 96, 14, 3, padding=1, groups=96), "first", 240_000),
    "depthwise 3x3, channels last": (image(96, 96, 14, 3, padding=1, groups=96), "last", 500_000),
    "patches 16x16, C = 3": (image(3, 64, 32, 16, stride=16), "first", 2_700_000),
}
"""Gas of a refutation, by layer."""


@pytest.mark.parametrize("name", COSTS)
def test_a_convolution_fits_a_transaction(adjudicator, wire, people, name):
    call, layout, limit = COSTS[name]
    case, y = call.case(layout), call.torch().copy()
    element = int(np.ravel_multi_index([size // 2 for size in y.shape], y.shape))
    y.ravel()[element] += 1
    lanes = call.lanes(y.shape, element)
    output = Tensor(y)
    arguments = case.leaf(output), case.proof(output, element, best_window(*lanes[:2], lanes[2:]))
    cost(adjudicator, wire, people, arguments, limit)
