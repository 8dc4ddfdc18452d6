"""Average pooling and bilinear upsampling against exact rationals over torch's tensors: what torch's kernels make of
a drawn image stands, what is within tolerance is never refuted, and what is a hundredth beyond it always is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn import functional

from contracts.test_convolution_exact import claims
from support.encoding import Tensor
from support.images import Adaptive, Averages, Bilinear
from support.raises import refused
from support.windows import DRAWS, GAS, KINDS, NON_FINITE, Case, below, numbers, some_elements
from support.wire import Reverted

AVERAGE = "aten.avg_pool2d.default"
NAMES = {
    Averages: (AVERAGE,),
    Adaptive: ("aten.adaptive_avg_pool2d.default", "aten._adaptive_avg_pool2d.default"),
    Bilinear: ("aten.upsample_bilinear2d.default", "aten.upsample_bilinear2d.vec"),
}
Call = Averages | Adaptive | Bilinear


def image(random: np.random.Generator, kind: str, extents) -> np.ndarray:
    x = numbers(random, kind, (int(random.integers(1, 3)), int(random.integers(1, 4)), *extents))
    if random.integers(3) == 0:
        x[random.random(x.shape) < 0.1] *= np.float32(1e12)
    return x


def drawn(random: np.random.Generator, kind: str, what: type) -> tuple[Call, list[np.ndarray]]:
    """A call, and what several kernels make of it."""
    if what is Averages:
        kernel = tuple(int(k) for k in random.integers(1, 5, 2))
        padding = below(random, [k // 2 + 1 for k in kernel])
        extents = [k + int(random.integers(6)) for k in kernel]
        stride = tuple(int(s) for s in random.integers(1, 4, 2))
        divisor = int(random.integers(1, 20)) if random.integers(4) == 0 else None
        ceil, counts = (bool(flag) for flag in random.integers(0, 2, 2))
        call: Call = Averages(image(random, kind, extents), kernel, stride, padding, ceil, counts, divisor)
        return call, kernels(
            call.x,
            lambda x: functional.avg_pool2d(x, kernel, stride, padding, ceil, counts, divisor),
        )
    extents = [int(n) for n in random.integers(1, 12, 2)]
    size = [int(k) for k in random.integers(1, 25, 2)]
    x = image(random, kind, extents)
    if what is Adaptive:
        return Adaptive(x), kernels(x, lambda t: functional.adaptive_avg_pool2d(t, size))
    aligned = bool(random.integers(2))
    return Bilinear(x, aligned), kernels(
        x, lambda t: functional.interpolate(t, size, mode="bilinear", align_corners=aligned)
    )


def kernels(x: np.ndarray, call) -> list[np.ndarray]:
    given = torch.from_numpy(x)
    results = [call(given), call(given.contiguous(memory_format=torch.channels_last))]
    torch.set_flush_denormal(True)
    try:
        results.append(call(given))
    finally:
        torch.set_flush_denormal(False)
    return [np.ascontiguousarray(result.numpy()) for result in results]


def hint_of(call: Call, output: tuple[int, ...], element: int) -> int:
    """The lowest window that holds every number that the element reads."""
    flat = call.x.ravel().view(np.uint32)
    exponents = [flat[first : first + n] >> 23 & 0xFF for first, _, n in call.window.runs(output, element)]
    return max(1, int(np.concatenate(exponents).max()) - 63)


@pytest.fixture
def refutes(deployment):
    def ask(call: Call, y: np.ndarray, element: int, operator: str, hint: int | None = None) -> bool:
        case, output = Case.of(operator, call.window, call.x), Tensor(y)
        hint = hint_of(call, y.shape, element) if hint is None else hint
        proof = case.proof(output, element, hint=hint)
        return deployment.wire.call(deployment.pooling, "refutes", case.leaf(output), proof, gas=GAS)

    return ask


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", NAMES)
def test_images_are_refuted_outside_the_bound_and_never_inside(refutes, what, kind):
    random = np.random.default_rng(list(f"{what.__name__} {kind}".encode()))
    seen: Counter[str] = Counter()
    for _ in range(DRAWS // 2):
        call, results = drawn(random, kind, what)
        for element in sorted(some_elements(random, results[0].shape, 2)):
            operator = str(random.choice(NAMES[what]))
            bound = call.bound(results[0].shape, element)
            for y in results:
                assert abs(Fraction(float(y.ravel()[element])) - bound.exact) <= bound.tolerance
                assert not refutes(call, y, element, operator), (call, element)
                seen["honest"] += 1
            y = results[0].copy()
            for claim in claims(bound.exact, bound.tolerance):
                y.ravel()[element] = claim
                excess = abs(Fraction(float(claim)) - bound.exact) / bound.tolerance
                found = refutes(call, y, element, operator)
                if excess > 1 + Fraction(1, 2**15):
                    assert found, (call, element, float(excess))
                    seen["outside"] += 1
                elif excess <= 1:
                    assert not found, (call, element, float(excess))
                    seen["inside"] += 1
            y.ravel()[element] = random.choice(NON_FINITE)
            assert refutes(call, y, element, operator) == (bound.largest < 2**127)
    assert min(seen.values()) > DRAWS // 2, seen


def test_a_window_exponent_can_only_make_a_proof_about_an_average_fail(refutes):
    random = np.random.default_rng(7)
    tried = 0
    for what in (Averages, Adaptive):
        call, (y, *_) = drawn(random, "normal", what)
        for hint in (0, 1, 2, 40, 60, 63, 64, 65, 70, 90, 127, 140, 200, 254, 255, 2**256 - 1):
            try:
                assert not refutes(call, y, y.size // 2, NAMES[what][0], hint)
                tried += 1
            except Reverted as reverted:
                assert reverted.error in ("WindowTooLow", "WindowOutOfRange")
    assert tried > 10


def test_what_is_next_to_a_coordinate_counts_as_a_kernel_may_reach_it(refutes):
    """Corners are aligned and every second coordinate is a place; next to it lies a huge number, of which a kernel
    with a slightly smaller coordinate takes a share."""
    x = np.ones((1, 1, 5, 5), np.float32)
    x[0, 0, 1, 1] = 1e12
    call = Bilinear(x, True)
    shape, element = (1, 1, 9, 9), 4 * 9 + 4  # place (2, 2)
    assert call.coordinates(shape, element) == [2, 2]
    assert call.box(shape, element) == ([1, 2, 3], [1, 2, 3])
    y = np.ones(shape, np.float32)
    moved = [r - error * Fraction(99, 100) for r, error in zip((2, 2), call.errors(), strict=True)]
    y.ravel()[element] = float(call.at(x[0, 0], moved))
    assert y.ravel()[element] > 1
    assert not refutes(call, y, element, NAMES[Bilinear][0])
    y.ravel()[element] = 2e12 * float(sum(call.errors())) * 1.02
    assert refutes(call, y, element, NAMES[Bilinear][0])


@pytest.mark.parametrize("special", NON_FINITE)
def test_images_that_are_not_finite_refute_nothing(refutes, special):
    for what in NAMES:
        call, (y, *_) = drawn(np.random.default_rng(3), "normal", what)
        call.x[:] = special
        with refused("NotFinite" if what is Bilinear else "NonFiniteLane"):
            refutes(call, y, 0, NAMES[what][0], 1)


def test_records_that_are_none_of_images_are_refused(refutes):
    call = Bilinear(np.ones((1, 1, 2, 2), np.float32), False)
    y = np.ones((1, 1, 4, 4), np.float32)
    words = call.window.attributes

    class Other(Bilinear):
        """The same call with other words."""

        @property
        def window(self):
            return replace(super().window, attributes=self.words)

    def asked(given: tuple[int, ...]) -> None:
        other = Other(call.x, False)
        object.__setattr__(other, "words", given)
        refutes(other, y, 0, NAMES[Bilinear][0])

    with refused("NotAnImage", 3, 4):
        asked(words[:3])
    with refused("NotABoolean", 2):
        asked((*words[:3], 2))
    with refused("UnsupportedExtent", 0, 4):
        asked((0, *words[1:]))
    with refused("UnsupportedExtent", 2**20 + 1, 4):
        asked((2**20 + 1, *words[1:]))
