"""Max pooling against torch's: a claim is refuted if and only if it is another number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.nn import functional

from support.encoding import Tensor, operator_code
from support.windows import (
    DRAWS,
    KINDS,
    NON_FINITE,
    Case,
    below,
    cost,
    numbers,
    pooling,
    refutes,
    some_elements,
)

POOLINGS = (
    "max_pool2d.default",
    "avg_pool2d.default",
    "adaptive_avg_pool2d.default",
    "_adaptive_avg_pool2d.default",
    "upsample_bilinear2d.default",
    "upsample_bilinear2d.vec",
)


@pytest.fixture(scope="module")
def adjudicator(deployment):
    return deployment.pooling


@dataclass(frozen=True)
class Pooling:
    x: np.ndarray
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    ceil: bool

    def case(self, layout: str) -> Case:
        window = pooling(self.x.shape, self.kernel, self.stride, self.padding, self.dilation, layout)
        return Case.of("aten.max_pool2d.default", window, self.x)

    def torch(self) -> np.ndarray:
        settings = self.kernel, self.stride, self.padding, self.dilation, self.ceil
        return functional.max_pool2d(torch.from_numpy(self.x), *settings).numpy()


def drawn_pooling(random: np.random.Generator, kind: str) -> Pooling:
    kernel = tuple(int(k) for k in random.integers(1, 5, 2))
    dilation = tuple(int(d) for d in random.choice([1, 1, 1, 2], 2))
    padding = below(random, [k // 2 + 1 for k in kernel])
    extents = [d * (k - 1) + 1 + int(random.integers(6)) for d, k in zip(dilation, kernel, strict=True)]
    x = numbers(random, kind, (int(random.integers(1, 3)), int(random.integers(1, 5)), *extents))
    for special in (*NON_FINITE, np.float32(-0.0), np.float32(1e-45)):
        x[random.random(x.shape) < 0.02] = special
    stride = tuple(int(s) for s in random.integers(1, 4, 2))
    return Pooling(x, kernel, stride, padding, dilation, bool(random.integers(2)))


def same(x: np.float32, y: np.float32) -> bool:
    return bool(x == y or np.isnan(x) and np.isnan(y))


def flushed(*numbers: np.float32) -> list[np.float32]:
    """The numbers with zero for subnormals, which kernels may take for zero."""
    return [np.float32(0) if abs(number) < np.float32(2.0**-126) else number for number in numbers]


@pytest.mark.parametrize("kind", KINDS)
def test_max_pooling_is_refuted_iff_it_differs_from_torch(adjudicator, wire, kind):
    random = np.random.default_rng(list(kind.encode()))
    seen = {True: 0, False: 0}
    for _ in range(DRAWS):
        call = drawn_pooling(random, kind)
        y = call.torch()
        for element in some_elements(random, y.shape, 2):
            true = y.ravel()[element]
            tried = [true, np.nextafter(true, np.float32(np.inf)), np.nextafter(true, np.float32(-np.inf))]
            tried += [np.float32(-true), *call.x[0].ravel()[:3], *NON_FINITE]
            for claim, layout in zip(tried, ["first", "last"] * 5, strict=False):
                claimed = y.copy()
                claimed.ravel()[element] = claim
                found = refutes(adjudicator, wire, call.case(layout), claimed, element)
                assert found == (not same(*flushed(claim, true))), (call, element, layout, claim)
                seen[found] += 1
    assert min(seen.values()) > 3 * DRAWS, seen


def test_a_pooling_window_of_padding_alone_refutes_nothing(adjudicator, wire):
    """A dilated window over an input of one row steps over it."""
    call = Pooling(np.ones((1, 2, 1, 3), np.float32), (2, 1), (1, 1), (1, 0), (2, 1), False)
    y = call.torch()
    assert not refutes(adjudicator, wire, call.case("last"), y, 0)
    assert not refutes(adjudicator, wire, call.case("last"), np.zeros_like(y), 0)


@pytest.mark.parametrize("layout", ["first", "last"])
def test_a_max_pooling_fits_a_transaction(adjudicator, wire, people, layout):
    random = np.random.default_rng(3)
    call = Pooling(numbers(random, "normal", (1, 64, 56, 56)), (3, 3), (2, 2), (1, 1), (1, 1), False)
    y = call.torch().copy()
    y.ravel()[y.size // 2] += 1
    output = Tensor(y)
    arguments = call.case(layout).leaf(output), call.case(layout).proof(output, y.size // 2)
    cost(adjudicator, wire, people, arguments, 180_000)


def test_the_adjudicator_names_its_operators(adjudicator, wire):
    assert list(wire.call(adjudicator, "operators")) == [operator_code(f"aten.{name}") for name in POOLINGS]
