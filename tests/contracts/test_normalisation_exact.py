"""The rule of normalisations against Arb: what torch's kernels and textbook algorithms make of a row stands,
nothing within tolerance is refuted, and everything beyond it by more than a hair's breadth is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
from flint import arb

from support import exact_normalisation as reference
from support.exact_elementwise import Bound, is_finite
from support.floats import around
from support.harness import harness
from support.wire import Reverted

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
GAS = 1_000_000_000
HAIR = 1 + arb(2) ** -18
"""Out of tolerance by this factor, refutation is required."""
ROWS = {1: 12, 2: 12, 3: 12, 77: 12, 768: 12, 4096: 2}
"""Rows of each length for each kind of row, many times as many in the deep profile."""
MORE = 6 if DEEP else 1
SPAN, LAST_WINDOW = 63, 254
INFINITY, NAN, SIGN, ONE = 0x7F800000, 0x7FC00000, 0x80000000, 0x3F800000
EPSILONS = (1e-5, 1e-5, 1e-5, 1e-12, 1e-6, 0.1, 0.0, 1e-41, 1e-30, 1e30)
PARAMETERS = (0.0, 1.0, -1.0, 1e-41, 1e-30, 1e30, 2.0**100, -(2.0**-100), 3e38)


def words_of(values: np.ndarray | Sequence[float]) -> np.ndarray:
    return np.asarray(values, np.float32).view(np.uint32)


def packed(words: np.ndarray | Sequence) -> bytes:
    return np.asarray(words, ">u4").tobytes()


@pytest.fixture(scope="module")
def batch(wire, people):
    """The harness over the libraries."""
    return harness(wire, people, "NormalisationBatch")


def refuted(batch, name: str, row: np.ndarray, window: int, cases: Sequence[Sequence[int]]) -> list[bool]:
    arguments = (name == "rms", packed(row), window, packed(cases))
    verdicts = batch.wire.call(batch.contract, "refutesRow", *arguments, gas=GAS)
    return [verdict == 1 for verdict in verdicts]


def best_window(row: np.ndarray) -> int:
    return max(1, int((row >> 23 & 0xFF).max()) - SPAN)


# ---- rows


def _normal(random: np.random.Generator, n: int) -> np.ndarray:
    return random.normal(0, 1, n) * 10.0 ** random.integers(-3, 4)


def _shifted(random: np.random.Generator, n: int) -> np.ndarray:
    """From a mean of a tenth of sigma to one of 10^6 sigma."""
    return random.normal(0, 1, n) + 10.0 ** random.integers(-1, 7)


def _outlier(random: np.random.Generator, n: int) -> np.ndarray:
    row = random.normal(0, 1, n)
    row[random.integers(n)] = 10.0 ** random.integers(3, 16)
    return row


def _nearly_constant(random: np.random.Generator, n: int) -> np.ndarray:
    return np.float32(random.normal()) + random.integers(-2, 3, n) * 2.0 ** -random.integers(10, 26)


def _wide(random: np.random.Generator, n: int) -> np.ndarray:
    return random.normal(0, 1, n) * 2.0 ** random.integers(-120, 50, n)


def _minute(random: np.random.Generator, n: int) -> np.ndarray:
    return random.normal(0, 1, n) * 10.0 ** random.integers(-44, -15)


def _huge(random: np.random.Generator, n: int) -> np.ndarray:
    return random.normal(0, 1, n) * 10.0 ** random.integers(12, 37)


KINDS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": _normal,
    "shifted": _shifted,
    "constant": lambda random, n: np.full(n, random.normal() * 10.0 ** random.integers(-6, 3)),
    "zeros": lambda random, n: np.zeros(n),
    "outlier": _outlier,
    "nearly constant": _nearly_constant,
    "wide": _wide,
    "minute": _minute,
    "subnormal": lambda random, n: random.integers(-(2**23), 2**23, n) * 2.0**-149,
    "huge": _huge,
}


def parameters(random: np.random.Generator, n: int) -> np.ndarray:
    if random.integers(2):
        return random.normal(0, 1, n).astype(np.float32)
    return random.choice(np.array(PARAMETERS, np.float32), n)


# ---- kernels


def _tensors(*arrays: np.ndarray | None) -> list[torch.Tensor | None]:
    return [None if array is None else torch.from_numpy(array) for array in arrays]


def torch_layer(x: np.ndarray, w: np.ndarray, b: np.ndarray, eps: float) -> np.ndarray:
    x, w, b = _tensors(x, w, b)
    return torch.nn.functional.layer_norm(x, (len(x),), w, b, eps).numpy()


def torch_rms(x: np.ndarray, w: np.ndarray, b: np.ndarray, eps: float) -> np.ndarray:
    x, w = _tensors(x, w)
    return torch.nn.functional.rms_norm(x, (len(x),), w, eps).numpy()


def one_pass(x: np.ndarray, w: np.ndarray, b: np.ndarray, eps: float) -> np.ndarray:
    """In FP32 one after another, folded to scale and shift."""
    n, total, squares = np.float32(len(x)), np.float32(0), np.float32(0)
    for number in x:
        total, squares = total + number, squares + number * number
    mean = total / n
    variance = np.maximum(squares / n - mean * mean, np.float32(0))
    scale = w / np.sqrt(variance + np.float32(eps))
    return x * scale + (b - mean * scale)


def two_pass(x: np.ndarray, w: np.ndarray, b: np.ndarray, eps: float) -> np.ndarray:
    n, total, squares = np.float32(len(x)), np.float32(0), np.float32(0)
    for number in x:
        total = total + number
    mean = total * (np.float32(1) / n)
    for number in x:
        squares = squares + (number - mean) * (number - mean)
    return (x - mean) * (np.float32(1) / np.sqrt(squares / n + np.float32(eps))) * w + b


def welford(x: np.ndarray, w: np.ndarray, b: np.ndarray, eps: float) -> np.ndarray:
    mean, moment = np.float32(0), np.float32(0)
    for k, number in enumerate(x, 1):
        delta = number - mean
        mean = mean + delta / np.float32(k)
        moment = moment + delta * (number - mean)
    rstd = np.float32(1) / np.sqrt(moment / np.float32(len(x)) + np.float32(eps))
    return (x * rstd - mean * rstd) * w + b


def sequential_rms(x: np.ndarray, w: np.ndarray, b: np.ndarray, eps: float) -> np.ndarray:
    squares = np.float32(0)
    for number in x:
        squares = squares + number * number
    return x * (w * (np.float32(1) / np.sqrt(squares / np.float32(len(x)) + np.float32(eps))))


KERNELS = {"layer": (torch_layer, one_pass, two_pass, welford), "rms": (torch_rms, sequential_rms)}
BOUNDS = {"layer": reference.layer_bound, "rms": reference.rms_bound}


def results(name: str, x: np.ndarray, w: np.ndarray, b: np.ndarray, eps: float) -> list[np.ndarray]:
    """What each kernel makes of the row, with subnormals and without."""
    found = []
    for flush in (False, True):
        torch.set_flush_denormal(flush)
        try:
            with np.errstate(all="ignore"):
                found += [words_of(kernel(x, w, b, eps)) for kernel in KERNELS[name]]
        finally:
            torch.set_flush_denormal(False)
    return found


# ---- claims


def claims(bound: Bound) -> Iterator[int]:
    """Claimed results on both sides of the tolerance, and non-finite ones."""
    for factor in (1 - arb(2) ** -16, arb("1.01")):
        yield from around(bound.exact + factor * bound.tolerance)
        yield from around(bound.exact - factor * bound.tolerance)
    yield INFINITY
    yield NAN


def expectation(bound: Bound | None, y: int) -> bool | None:
    """Whether y has to be refuted; None between tau and a hair more, where either is right."""
    if bound is None or not bound.violates(y):
        return False
    return True if not is_finite(y) or bound.deviation(y) > HAIR * bound.tolerance else None


def lanes_of(random: np.random.Generator, x: np.ndarray) -> list[int]:
    """The largest number's lane, and two others."""
    return sorted({int(np.abs(x).argmax()), *random.integers(0, len(x), 2).tolist()})


def judged(batch, name: str, row: np.ndarray, cases: list, expected: list, window: int) -> None:
    for case, verdict, wanted in zip(cases, refuted(batch, name, row, window, cases), expected, strict=True):
        assert wanted is None or verdict == wanted, f"{name} n={len(row)} {list(map(hex, case))}: {verdict}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", KERNELS)
def test_what_is_within_tolerance_stands_and_what_is_not_is_refuted(batch, name, kind):
    random = np.random.default_rng(list((name + kind).encode()))
    tally = {False: 0, True: 0, None: 0, "undefined": 0}
    for n, rows in ROWS.items():
        for _ in range(MORE * rows):
            x = KINDS[kind](random, n).astype(np.float32)
            w, b = parameters(random, n), parameters(random, n) * (name == "layer")
            eps = float(np.float32(random.choice(EPSILONS)))
            row = words_of(x)
            sums = reference.Row.of(row)
            kernels = results(name, x, w, b, eps)
            cases, expected = [], []
            for lane in lanes_of(random, x):
                inputs = [int(words_of(some)) for some in (x[lane], w[lane], b[lane], eps)]
                bound = BOUNDS[name](sums, *inputs)
                honest = {int(kernel[lane]) for kernel in kernels}
                tried = honest | {int(random.integers(2**32))} | set(claims(bound) if bound else (0, NAN))
                for y in sorted(tried):
                    cases.append((*inputs, y))
                    expected.append(expectation(bound, y))
                    if expected[-1] and y in honest:
                        pytest.fail(f"a kernel is out of tolerance: {n} {[hex(word) for word in cases[-1]]}")
                    tally["undefined" if bound is None else expected[-1]] += 1
            judged(batch, name, row, cases, expected, best_window(row))
    assert tally[False] > 100 and tally[True] > 50, tally


def test_group_normalisation_by_torch_stands_in_either_memory_format(batch):
    random = np.random.default_rng(6)
    tried = 0
    for offset in (0.0, 10.0, 1000.0):
        for groups, channels, side in ((4, 8, 7), (2, 16, 12), (8, 32, 16)):
            x = (random.normal(0, 1, (2, channels, side, side)) + offset).astype(np.float32)
            w, b = (random.normal(0, 1, channels).astype(np.float32) for _ in range(2))
            n = channels // groups * side**2
            for layout in (torch.contiguous_format, torch.channels_last):
                tensor = torch.from_numpy(x).contiguous(memory_format=layout)
                y = torch.nn.functional.group_norm(tensor, groups, *_tensors(w, b), 1e-5)
                claimed = words_of(y.contiguous().numpy().reshape(-1, n))
                for g, numbers in enumerate(x.reshape(-1, n)):
                    row = words_of(numbers)
                    channel = g % groups * (channels // groups) + np.arange(n) // side**2
                    inputs = (words_of(some) for some in (w[channel], b[channel], np.full(n, 1e-5)))
                    cases = np.stack((row, *inputs, claimed[g]), -1)[:: max(1, n // 64)]
                    assert not any(refuted(batch, "layer", row, best_window(row), cases))
                    tried += len(cases)
    assert tried > 5_000


def test_a_group_far_from_zero_is_refuted_where_the_bound_has_a_meaning(batch):
    random = np.random.default_rng(7)
    x = (random.normal(0, 1, 768) + 10).astype(np.float32)
    row = words_of(x)
    inputs = (int(row[5]), ONE, 0, int(words_of(1e-5)))
    bound = reference.layer_bound(reference.Row.of(row), *inputs)
    wrong = next(around(bound.exact + arb("1.01") * bound.tolerance))
    assert refuted(batch, "layer", row, best_window(row), [(*inputs, wrong)]) == [True]
    assert float(bound.tolerance) < 0.1


@pytest.mark.parametrize("name", KERNELS)
def test_hostile_hints_only_make_a_proof_fail(batch, name):
    random = np.random.default_rng(8)
    outcomes = {"reverted": 0, "refuted": 0, "stood": 0}
    for kind in KINDS:
        for n in (1, 2, 77, 768):
            x = KINDS[kind](random, n).astype(np.float32)
            row, eps = words_of(x), int(words_of(random.choice(EPSILONS)))
            sums = reference.Row.of(row)
            lane = int(random.integers(n))
            inputs = (int(row[lane]), ONE, 0, eps)
            bound = BOUNDS[name](sums, *inputs)
            tried = sorted(set(claims(bound))) if bound else [0, ONE, NAN]
            cases = [(*inputs, y) for y in tried]
            best = best_window(row)
            for window in (1, max(best - 1, 1), LAST_WINDOW, *random.integers(1, 255, 12 * MORE).tolist()):
                try:
                    verdicts = refuted(batch, name, row, window, cases)
                except Reverted as reverted:
                    assert reverted.error == "WindowTooLow"
                    outcomes["reverted"] += 1
                    continue
                for y, verdict in zip(tried, verdicts, strict=True):
                    assert not verdict or expectation(bound, y) is not False, (kind, n, window, hex(y))
                    outcomes["refuted" if verdict else "stood"] += 1
    assert min(outcomes.values()) > 100, outcomes


@pytest.mark.parametrize("kind", KINDS)
def test_the_sums_contain_the_exact_ones_whatever_the_window(batch, kind):
    random = np.random.default_rng(list(kind.encode()))
    for n in (1, 2, 7, 8, 9, 77, 768):
        row = words_of(KINDS[kind](random, n).astype(np.float32))
        exact = reference.Row.of(row)
        best = best_window(row)
        for window in (best, min(best + 20, LAST_WINDOW), min(best + SPAN, LAST_WINDOW), LAST_WINDOW):
            found = batch.wire.call(batch.contract, "sums", packed(row), window, gas=GAS)
            wanted = (exact.total, exact.magnitude, exact.squares)
            for (mid, rad, exp), value in zip(found, wanted, strict=True):
                distance = abs(arb(mid) * arb(2) ** exp - value)
                assert distance <= arb(rad) * arb(2) ** exp
                if window == best:
                    scale = exact.squares if value is exact.squares else exact.magnitude
                    assert arb(rad) * arb(2) ** exp <= scale * n * arb(2) ** -62


def test_infinite_and_nan_numbers_of_a_row_are_not_summed(batch):
    for special in (INFINITY, INFINITY | SIGN, NAN, 0x7F800001):
        for lane in range(17):
            row = np.full(17, ONE, np.uint32)
            row[lane] = special
            with pytest.raises(Reverted, match="NonFiniteLane"):
                refuted(batch, "layer", row, 192, [(ONE, ONE, 0, 0, 0)])


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("special", [INFINITY, INFINITY | SIGN, NAN])
def test_infinite_and_nan_inputs_refute_nothing(batch, position, special):
    case = [ONE, ONE, ONE, int(words_of(1e-5)), 0x7F000000]
    case[position] = special
    row = words_of([1.0, -2.0, 3.0])
    for name in KERNELS:
        if name == "rms" and position == 2:
            continue
        try:
            assert refuted(batch, name, row, best_window(row), [case]) == [False]
        except Reverted as reverted:
            assert reverted.error == "NotFinite"


# ---- batch normalisation


def torch_batch(x, w, b, eps, mean, variance):
    x, *columns = _tensors(x.reshape(1, -1), mean, variance, w, b)
    return torch.nn.functional.batch_norm(x, *columns, False, 0.1, eps)[0].numpy()


def direct_batch(x, w, b, eps, mean, variance):
    return (x - mean) / np.sqrt(variance + np.float32(eps)) * w + b


def folded_batch(x, w, b, eps, mean, variance):
    scale = w * (np.float32(1) / np.sqrt(variance + np.float32(eps)))
    return x * scale + (b - mean * scale)


def weighted_batch(x, w, b, eps, mean, variance):
    return w * (x - mean) * (np.float32(1) / np.sqrt(variance + np.float32(eps))) + b


@pytest.mark.parametrize(
    "x, weight, mean, variance",
    [(1e29, 1e10, 0.0, 1e38), (3e38, 1.0, -3e38, 8e37), (1e-30, 3e38, 2.0, 1e30)],
)
def test_a_finite_batch_norm_that_an_honest_order_overflows_on_the_way_to_is_not_refuted(
    batch, x, weight, mean, variance
):
    words = [int(word) for word in words_of([x, weight, 0.0, mean, variance])]
    eps = int(words_of(1e-5))
    bound = reference.batch_bound(*words[:3], eps, *words[3:])
    assert abs(bound.exact) < 2.0**100
    for infinite in (INFINITY, INFINITY | SIGN):
        case = packed([(*words[:3], eps, infinite, *words[3:])])
        assert batch.wire.call(batch.contract, "refutesBatch", case, gas=GAS) == b"\0"


@pytest.mark.parametrize("eps", sorted(set(EPSILONS)))
def test_batch_normalisation_within_tolerance_stands_and_beyond_it_is_refuted(batch, eps):
    random = np.random.default_rng(9)
    count = 3_000 if DEEP else 300
    eps = float(np.float32(eps))
    x, mean = (random.normal(0, 1, count) * 10.0 ** random.integers(-20, 20, count) for _ in range(2))
    x[::2], mean[::2] = random.normal(0, 1, (2, len(x[::2])))
    mean[::3] = x[::3] * (1 + random.integers(-3, 4, len(x[::3])) * 2.0**-23)
    variance = np.abs(random.normal(0, 1, count)) * 10.0 ** random.integers(-3, 3, count)
    variance[::5] = random.choice(np.array([0, 1e-40, 1e-30, 1e30, 3e38, -1.0]), len(variance[::5]))
    x, mean, variance = (some.astype(np.float32) for some in (x, mean, variance))
    w, b = parameters(random, count), parameters(random, count)
    kernels = []
    for flush in (False, True):
        torch.set_flush_denormal(flush)
        with np.errstate(all="ignore"):
            some = (torch_batch, direct_batch, folded_batch, weighted_batch)
            kernels += [words_of(kernel(x, w, b, eps, mean, variance)) for kernel in some]
        torch.set_flush_denormal(False)
    cases, expected = [], []
    word = int(words_of(eps))
    columns = (words_of(column).tolist() for column in (x, w, b, mean, variance))
    for lane, (*front, m, v) in enumerate(zip(*columns, strict=True)):
        bound = reference.batch_bound(*front, word, m, v)
        honest = {int(kernel[lane]) for kernel in kernels}
        for y in sorted(honest | {int(random.integers(2**32))} | set(claims(bound) if bound else (0, NAN))):
            cases.append((*front, word, y, m, v))
            expected.append(expectation(bound, y))
            if expected[-1] and y in honest:
                pytest.fail(f"a kernel is out of tolerance: {[hex(word) for word in cases[-1]]}")
    verdicts = b"".join(
        batch.wire.call(batch.contract, "refutesBatch", packed(cases[at : at + 500]), gas=GAS)
        for at in range(0, len(cases), 500)
    )
    for case, verdict, wanted in zip(cases, verdicts, expected, strict=True):
        assert wanted is None or bool(verdict) == wanted, f"{list(map(hex, case))}: {verdict}"
    assert expected.count(True) > 2 * count and expected.count(False) > 2 * count
