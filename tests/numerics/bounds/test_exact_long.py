"""Bounds over 2^16 terms against exact arithmetic: sums are integers, functions balls of 640 bits; and kernels' results
against the exact rule itself."""

from functools import cache

import numpy as np
import pytest
import torch
from flint import arb, ctx
from torch import Tensor

from benchmarks.kernels import KINDS, draw, fused, pairwise, sequential
from support import exact_normalisation, exact_rows
from support.exact_elementwise import SMALLEST_NORMAL, Bound
from support.exact_sums import Sums, dot_tolerance, gamma, mean_tolerance, sum_tolerance
from tao.graph.literals import Slot
from tao.numerics import bounds

N = 1 << 16
ROWS = (*KINDS, "near overflow")
SLOTS = [Slot(0), Slot(1), Slot(2)]
EPSILON = 1e-5


@pytest.fixture(autouse=True)
def precise_balls():
    before, ctx.prec = ctx.prec, 640
    yield
    ctx.prec = before


def words(x: Tensor) -> list[int]:
    """FP32 encodings."""
    return x.detach().contiguous().flatten().numpy().view(np.uint32).tolist()


def row_of(kind: str) -> Tensor:
    return torch.randn(N) * 2.0**107 if kind == "near overflow" else draw(kind, N)


@cache
def inputs() -> Tensor:
    """A row of every kind, [kinds, N]."""
    torch.manual_seed(16)
    return torch.stack([row_of(kind) for kind in ROWS])


def folded(terms: Tensor) -> Tensor:
    """256 blocks of 256, one after the other."""
    return sequential(sequential(terms.unflatten(-1, (256, 256))))


def schedules(terms: Tensor) -> list[Tensor]:
    return [sequential(terms), folded(terms), pairwise(terms), terms.sum(-1)]


@cache
def totals() -> list[Tensor]:
    """The rows' sums."""
    return schedules(inputs())


@cache
def squares() -> list[Tensor]:
    """The sums of the rows' squares."""
    return schedules(inputs() * inputs())


@cache
def exact_sums() -> list[Sums]:
    return [Sums.of(row.numpy()) for row in inputs()]


def conforms(found: bounds.Bound, index, rule: Bound | None, results, spare: int = 2) -> None:
    """The tolerance at an index is the rule's, or up to 4% and `spare` times the smallest normal number more, and
    covers the reference's error; no result lies outside the rule."""
    tau, reference = float(found.tolerance[index]), float(found.value[index])
    if rule is None or not rule.largest + rule.tolerance < arb(2) ** 127:
        return
    assert arb(tau) >= rule.tolerance + abs(arb(reference) - rule.exact)
    assert arb(tau) <= rule.tolerance * arb("1.04") + spare * SMALLEST_NORMAL
    for y in results:
        assert not rule.violates(*words(y[index]))


def bound(target: str, args: list, *operands: Tensor) -> bounds.Bound:
    return bounds.bound(target, args, {}, operands)[0]


def sum_rule(sums: Sums) -> Bound:
    return Bound(sums.s, sum_tolerance(sums), sums.t)


def mean_rule(sums: Sums) -> Bound:
    return Bound(sums.s / sums.n, mean_tolerance(sums), sums.t * (1 + 2 * gamma(sums.n)))


def means() -> list[Tensor]:
    return [y / N for y in totals()] + [y * torch.tensor(1 / N) for y in totals()]


def test_long_sums_and_means_follow_the_exact_rule():
    x = inputs()
    total = bound("aten.sum.dim_IntList", [Slot(0), [-1]], x)
    mean = bound("aten.mean.dim", [Slot(0), [-1]], x)
    for place, sums in enumerate(exact_sums()):
        conforms(total, place, sum_rule(sums), totals())
        conforms(mean, place, mean_rule(sums), [x.mean(-1), *means()])


def test_norms_of_long_rows_follow_the_exact_rule():
    x = inputs()
    found = bound("aten.linalg_vector_norm.default", [Slot(0), 2, [-1]], x)
    results = [x.norm(dim=-1), *(y.sqrt() for y in squares())]
    for place, row in enumerate(x.numpy()):
        squared = Sums.of_products(row, row)
        flushed = (4 * N * SMALLEST_NORMAL).sqrt() + 2 * SMALLEST_NORMAL
        relative = (gamma(N + 1) / 2 + arb(2) ** -22) * (1 + arb(2) ** -7)
        exact = squared.s.sqrt()
        conforms(found, place, Bound(exact, relative * exact + flushed, 2 * squared.s), results)


def test_long_running_sums_follow_the_exact_rule():
    x = inputs()
    found = bound("aten.cumsum.default", [Slot(0), -1], x)
    results = x.cumsum(-1), x.T.contiguous().cumsum(0).T
    lanes = sorted({0, 1, 2, N - 1, *torch.randint(N, (12,)).tolist()})
    for place, row in enumerate(x.numpy()):
        for lane in lanes:
            conforms(found, (place, lane), sum_rule(Sums.of(row[: lane + 1])), results)


@cache
def factors() -> tuple[Tensor, Tensor, list[Bound]]:
    """Rows of factors, products of which stay finite, and their exact rules."""
    torch.manual_seed(17)
    other = {"huge": "normal", "outlier": "normal", "near overflow": "subnormal"}
    a, b = inputs(), torch.stack([row_of(other.get(kind, kind)) for kind in ROWS])
    sums = [Sums.of_products(*rows) for rows in zip(a.numpy(), b.numpy(), strict=True)]
    return a, b, [Bound(each.s, dot_tolerance(each), each.t) for each in sums]


LOST = 2 * N
"""Of the smallest normal number: T is computed in FP32, and what is flushed on the way is allowed for."""


def test_long_products_follow_the_exact_rule():
    a, b, rules = factors()
    found = bound("aten.bmm.default", SLOTS[:2], a[:, None], b[..., None])
    blocks = fused(*(x.unflatten(-1, (256, 256)) for x in (a, b)))
    results = [*schedules(a * b), sequential(blocks), torch.bmm(a[:, None], b[..., None])[:, 0, 0]]
    dots = [torch.dot(x, y) for x, y in zip(a, b, strict=True)]
    for place, rule in enumerate(rules):
        conforms(found, (place, 0, 0), rule, [y[:, None, None] for y in results], LOST)
        dot = bound("aten.dot.default", SLOTS[:2], a[place], b[place])
        conforms(dot, (), rule, [dots[place]], LOST)


def test_convolutions_over_many_channels_follow_the_exact_rule():
    a, b, rules = factors()
    for place, rule in enumerate(rules):
        x, w = a[place].reshape(1, -1, 2, 4), b[place].reshape(1, -1, 2, 4)
        call = [*SLOTS[:2], None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1]
        found = bound("aten.convolution.default", call, x, w)
        last = (memory.contiguous(memory_format=torch.channels_last) for memory in (x, w))
        conforms(found, (0, 0, 0, 0), rule, [torch.conv2d(x, w), torch.conv2d(*last)], LOST)


@pytest.mark.parametrize("kind", ["normal", "cancelling", "offset", "outlier"])
def test_softmaxes_of_long_rows_follow_the_exact_rule(kind):
    ctx.prec = 320
    x = inputs()[ROWS.index(kind)] * (0.01 if kind == "offset" else 1)
    row = exact_rows.Row(words(x))
    shift = x - x.max()
    e = shift.exp()
    sums = schedules(e)
    results = {
        "softmax": [torch.softmax(x, -1), *(e / total for total in sums), e * (1 / sums[0])],
        "log_softmax": [torch.log_softmax(x, -1), *(shift - total.log() for total in sums)],
    }
    lanes = {int(x.argmax()), int(x.argmin()), 0, N - 1, *torch.randint(N, (40,)).tolist()}
    for name, computed in results.items():
        found = bound(f"aten.{name}.int", [Slot(0), -1], x)
        rules = {lane: exact_rows.bound(name, row, lane) for lane in lanes}
        assert any(rules.values())
        for lane, rule in rules.items():
            conforms(found, lane, rule, computed)


NORMALISED = {
    "layer_norm": (exact_normalisation.layer_bound, [Slot(0), [N], Slot(1), Slot(2), EPSILON]),
    "rms_norm": (exact_normalisation.rms_bound, [Slot(0), [N], Slot(1), EPSILON]),
}


def normalised(x: Tensor, w: Tensor, b: Tensor) -> list[Tensor]:
    """The rows, by the one-pass variance."""
    results = []
    for total, square in zip(totals(), squares(), strict=True):
        mean = (total / N)[:, None]
        variance = ((square / N)[:, None] - mean * mean).clamp_min(0)
        results.append((x - mean) / (variance + EPSILON).sqrt() * w + b)
    return results


@cache
def exact_row(place: int) -> exact_normalisation.Row:
    return exact_normalisation.Row.of(words(inputs()[place]))


@pytest.mark.parametrize("name", NORMALISED)
def test_normalised_long_rows_follow_the_exact_rule(name):
    exact, call = NORMALISED[name]
    torch.manual_seed(18)
    w, b = torch.randn(N), torch.randn(N) if name == "layer_norm" else torch.zeros(N)
    operands = (inputs(), w, b)[: call.count(Slot(1)) + call.count(Slot(2)) + 1]
    found, x = bound(f"aten.{name}.default", call, *operands), inputs()
    if name == "layer_norm":
        results = [torch.layer_norm(x, [N], w, b, EPSILON), *normalised(x, w, b)]
    else:
        results = [torch.nn.functional.rms_norm(x, [N], w, EPSILON)]
        results += [x * (1 / (square[:, None] / N + EPSILON).sqrt()) * w for square in squares()]
    check_rows(found, exact, x, w, b, results)


def check_rows(found, exact, x: Tensor, w: Tensor, b: Tensor, results: list[Tensor]) -> None:
    """Some lanes of every row, one of which is the largest; of some rows at least the rule decides."""
    epsilon, decided = words(torch.tensor(EPSILON))[0], 0
    for place, bits in enumerate(map(words, x)):
        row = exact_row(place)
        for lane in {int(x[place].abs().argmax()), *torch.randint(N, (10,)).tolist()}:
            rule = exact(row, bits[lane], *words(w[lane]), *words(b[lane]), epsilon)
            conforms(found, (place, lane), rule, results)
            decided += rule is not None
    assert decided >= 20


def test_normalised_groups_of_long_channels_follow_the_exact_rule():
    torch.manual_seed(19)
    x, (w, b) = inputs().reshape(-1, 4, N // 4), torch.randn(2, 4)
    call = [Slot(0), 1, Slot(1), Slot(2), EPSILON]
    found = bound("aten.group_norm.default", call, x, w, b)
    flat = bounds.Bound(found.value.flatten(1), found.tolerance.flatten(1))
    wide = [v.repeat_interleave(N // 4) for v in (w, b)]
    results = [torch.group_norm(x, 1, w, b, EPSILON).flatten(1), *normalised(inputs(), *wide)]
    check_rows(flat, exact_normalisation.layer_bound, inputs(), *wide, results)


def test_normalised_channels_follow_the_exact_rule():
    """Inference reads no row: every element by itself."""
    torch.manual_seed(20)
    x, (w, b, mean) = inputs().T, torch.randn(3, len(ROWS))
    variance = torch.rand(len(ROWS))
    target = "aten._native_batch_norm_legit_no_training.default"
    found = bound(target, [*map(Slot, range(5)), 0.1, EPSILON], x, w, b, mean, variance)
    results = [torch.batch_norm(x, w, b, mean, variance, False, 0.1, EPSILON, False)]
    scale = w * (variance + EPSILON).rsqrt()
    results.append(x * scale + (b - mean * scale))
    epsilon = words(torch.tensor(EPSILON))[0]
    for place in range(len(ROWS)):
        w_, b_, m, v = (words(p[place])[0] for p in (w, b, mean, variance))
        for index in torch.randint(N, (10,)).tolist():
            rule = exact_normalisation.batch_bound(words(x[index, place])[0], w_, b_, epsilon, m, v)
            conforms(found, (index, place), rule, results, 4)


WINDOWS = {1: [N], 2: [256, 256], 3: [32, 32, 64]}


@pytest.mark.parametrize("rank", WINDOWS)
def test_averages_of_large_windows_follow_the_exact_rule(rank):
    window = WINDOWS[rank]
    x = inputs().reshape(1, -1, *window)
    aten, pool, adaptive = torch.ops.aten, f"avg_pool{rank}d", f"adaptive_avg_pool{rank}d"
    for name, literal in ((pool, window), (adaptive, [1] * rank)):
        found = bound(f"aten.{name}.default", [Slot(0), literal], x)
        results = [y.reshape(found.value.shape) for y in (getattr(aten, name)(x, literal), *means())]
        for place, sums in enumerate(exact_sums()):
            conforms(found, (0, place, *[0] * rank), mean_rule(sums), results, LOST)


def test_a_sequential_sum_that_loses_half_a_unit_at_every_addition_nearly_reaches_its_bound():
    x = torch.full((1, N), 1.0)
    x[0, 1:] = 2.0**-24
    found = bound("aten.sum.dim_IntList", [Slot(0), [-1]], x)
    lost = Sums.of(x.numpy()).s - arb(float(sequential(x)))
    assert lost == (N - 1) * arb(2) ** -24
    assert 0.9 < float(found.excess(sequential(x))) < 1
