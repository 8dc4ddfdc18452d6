"""A step replayed on another device gives the trainer's bits with the log, and not without; a log that no
honest trainer writes is refused by step, node and element."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tao.errors import ModelError
from tao.execution import Executor
from tao.graph import Graph
from tao.graph.rounding import LOGGED, SUMS, Kind, kind
from tao.numerics import variants
from tao.training import kernels, rounding, sums, trace_step, zones
from tao.training.kernels import Piece
from tao.training.log import ELEMENT_BITS, END, LogError, Writer, read
from tao.training.policies import Recorder, ReplayError
from tao.training.replay import Replay
from tao.training.rounding import round_to_grid
from training.cases import BATCH, CASES, SEED, graph_steps
from training.orders import ORDERS, compute_in, compute_worst
from training.steps import Tape, cancelling, perceptron

STEPS = 400
SMALL = {"batch": 8, "inputs": 16, "hidden": 12, "classes": 4}


def same(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    return all(torch.equal(_bits(x), _bits(y)) for x, y in zip(a, b, strict=True))


def _bits(x: Tensor) -> Tensor:
    return x.view(torch.int32) if x.dtype == torch.float32 else x


def without_entries(log: Tensor) -> Tensor:
    return torch.tensor([[END], [0]]).expand_as(log).clone()


def with_entry(log: Tensor, node: int, element: int, value: float) -> Tensor:
    """The log with one entry more, or another value for it."""
    entries = {k: v for k, v in zip(*log.tolist(), strict=True) if k != END}
    entries[node << ELEMENT_BITS | element] = _bits(torch.tensor(value)).item() & 0xFFFFFFFF
    changed = without_entries(log)
    changed[:, : len(entries)] = torch.tensor(sorted(entries.items())).T
    return changed


def node_of(graph: Graph, operator: str) -> int:
    return next(i for i, node in enumerate(graph.nodes) if node.operator == f"rounded.{operator}")


def plain_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process round sums as it happens to compute them."""

    def settle(piece: Piece, bits: int, out: Tensor) -> bool:
        return round_to_grid(piece.f, None, bits, out).finite

    monkeypatch.setattr(sums, "settle", settle)


@pytest.mark.parametrize("order", ["backward", "pairwise", "blocked", "largest first"])
def test_another_order_of_summation_gives_the_same_bits_without_a_log(
    order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, parameters, inputs = cancelling()
    replay = Replay(graph, parameters)
    outputs, log = replay.record(inputs)
    compute_in(monkeypatch, ORDERS[order])
    assert not len(read(log))
    replayed, corrections = replay.replay(inputs, log)
    assert same(outputs, replayed) and not corrections
    mine, empty = replay.record(inputs)
    assert same(outputs[:-1], mine[:-1]) and not len(read(empty))
    plain_rounding(monkeypatch)
    other, _ = replay.record(inputs)
    assert not same(outputs[:-1], other[:-1]) or order == "largest first"  # devices do differ


@pytest.mark.parametrize("bits", (24, 11, 8))
def test_the_worst_device_gives_the_same_bits_on_every_grid(
    bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, parameters, inputs = cancelling()
    replay = Replay(graph, parameters, bits)
    outputs, log = replay.record(inputs)
    differs = 0
    for seed in range(10):
        with monkeypatch.context() as patch:
            compute_worst(patch, seed)
            replayed, corrections = replay.replay(inputs, log)
            assert same(outputs, replayed) and not corrections
            plain_rounding(patch)
            differs += not same(outputs[:-1], replay.record(inputs)[0][:-1])
    assert differs == 10


BOUNDARY = 2.0**-23
"""Its sigmoid is 1/2 + 2^-25 - 2^-69 / 48: devices may round it up."""


def logistic(capacity: int = 64) -> tuple[Graph, list[Tensor], tuple[Tensor, ...]]:
    """Sigmoids, every other of which is all but a midpoint."""
    tape = Tape(capacity)
    x = tape.input(torch.tensor([BOUNDARY, 0.3] * 8))
    y = tape("sigmoid.default", x)
    return tape.finish(y, tape("mul.Tensor", y, y)), tape.parameters, (x.tensor,)


def test_the_log_makes_another_function_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, parameters, inputs = logistic()
    replay = Replay(graph, parameters)
    compute_in(monkeypatch, ORDERS["vendor"], 1)
    outputs, log = replay.record(inputs)
    assert len(read(log)) == 8
    corrected = 0
    for seed in range(10):
        with monkeypatch.context() as patch:
            compute_in(patch, ORDERS["vendor"], seed)
            replayed, corrections = replay.replay(inputs, log)
            assert same(outputs, replayed)
            compute_in(patch, ORDERS["vendor"], seed)
            alone, none = replay.replay(inputs, without_entries(log))
            assert same(outputs[:-1], alone[:-1]) == (not corrections) and not none
            corrected += len(corrections)
    assert corrected > 5


def test_a_run_of_many_steps_has_no_false_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, parameters, inputs = perceptron(**SMALL)
    replay, orders = Replay(graph, parameters), list(ORDERS.values())
    state, entries = inputs, 0
    for step in range(STEPS):
        outputs, log = replay.record(state, step)
        with monkeypatch.context() as patch:
            compute_in(patch, orders[step % len(orders)], step)
            replayed, _ = replay.replay(state, log, step)
        assert same(outputs, replayed), step
        assert outputs[0].item() == step + 1
        entries += len(read(log))
        state = outputs
    assert entries < 10  # only functions are logged
    assert not torch.equal(state[2], inputs[2])


@pytest.mark.parametrize("name", CASES)
def test_traced_networks_replay_in_other_orders(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]()
    traced = trace_step(case.module, case.loss, case.description, case.dataset, BATCH, log_capacity=8192)
    replay = Replay(traced.graph, traced.parameters)
    state = traced.pack(case.module, case.optimizer, SEED)
    for step, order in enumerate(("backward", "blocked", "largest first")):
        outputs, log = replay.record(state, step)
        with monkeypatch.context() as patch:
            compute_in(patch, ORDERS[order], step)
            replayed, _ = replay.replay(state, log, step)
        assert same(outputs, replayed)
        assert len(read(log)) < 3  # only functions are logged
        state = outputs
    again = CASES[name]()
    reference, _ = graph_steps(traced, traced.pack(again.module, again.optimizer, SEED), 3, torch.float64)
    for mine, other in zip(state[2:-1], reference[2:-1], strict=True):
        assert torch.allclose(mine.double(), other.double(), rtol=1e-3, atol=1e-5)


_CHILD = """
import sys
from tao.numerics import variants
variants.apply(sys.argv[1])
import torch
variants.configure_torch(sys.argv[1])
from tao.training.replay import Replay
from training.steps import cancelling
from tao.training import sums
from tao.training.rounding import round_to_grid
from training.test_replay import same
graph, _, _ = cancelling()
parameters, inputs, (outputs, log) = torch.load(sys.argv[2])
replayed, corrections = Replay(graph, parameters).replay(inputs, log)
sums.settle = lambda piece, bits, out: round_to_grid(piece.f, None, bits, out).finite
plain, _ = Replay(graph, parameters).record(inputs)
print(same(outputs, replayed), len(corrections) == 0, same(outputs[:-1], plain[:-1]))
"""


def test_another_library_gives_the_same_bits(tmp_path: Path) -> None:
    graph, parameters, inputs = cancelling()
    # Random numbers are a matter of the library too, so the child gets all tensors.
    recorded = Replay(graph, parameters).record(inputs)
    torch.save((parameters, inputs, recorded), tmp_path / "recorded.pt")
    command = [sys.executable, "-c", _CHILD, "baseline", str(tmp_path / "recorded.pt")]
    environment = variants.environment("baseline") | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "True", "False"], done.stderr


def test_single_operations_round_as_float64_does() -> None:
    """In float32, beside float64 rounded once: over all exponents, near ties, and where results are
    subnormal."""
    generator = torch.Generator().manual_seed(3)
    bits = torch.randint(0, 2**32, (2, 1_000_000), generator=generator).to(torch.int32)
    a, b = bits.view(torch.float32)
    near = torch.ldexp(torch.randn(1_000_000, generator=generator), torch.tensor(-80))
    for x, y in (
        (a, b),
        (a, a * (1 + 2.0**-22)),
        (near, near.flip(0)),
        (near, torch.ldexp(b.frexp()[0], torch.tensor(60))),
    ):
        known = x.isfinite() & y.isfinite()
        x, y = x[known], y[known]
        for call in (torch.add, torch.sub, torch.mul, torch.div):
            assert torch.equal(call(x, y).nan_to_num(), call(x.double(), y.double()).float().nan_to_num()), (
                call
            )
        assert torch.equal(x.reciprocal(), x.double().reciprocal().float())


def test_a_step_is_what_float64_rounded_after_every_node_gives() -> None:
    graph, parameters, inputs = perceptron(**SMALL)
    outputs, log = Replay(graph, parameters).record(inputs)

    def rounding(
        index: int, node: object, operands: Sequence[Tensor], made: Sequence[Tensor]
    ) -> list[Tensor]:
        return [m.float().double() if m.is_floating_point() else m for m in made]

    plain = Executor(graph, parameters, torch.float64).advance(0, inputs, len(graph), rounding)
    worst = max(float((o - p).abs().max()) for o, p in zip(outputs[:-1], plain[:-1], strict=True))
    assert worst < 1e-5  # numbers such as 0.1 are float32's here, and float64's there


@pytest.mark.parametrize("block", (1, 7, 50))
def test_blocks_of_any_size_give_the_same_bits(block: int) -> None:
    for graph, parameters, inputs in (perceptron(**SMALL), cancelling()):
        whole, log = Replay(graph, parameters).record(inputs)
        outputs, other = Replay(graph, parameters, block=block).record(inputs)
        assert same(outputs, whole) and torch.equal(log, other)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 4), (2, 3, 4), (2, 1, 3, 5)])
@pytest.mark.parametrize("size", (1, 2, 4, 7, 1000))
def test_blocks_cover_a_shape_in_order(shape: tuple[int, ...], size: int) -> None:
    numbers = torch.arange(math.prod(shape)).reshape(shape)
    seen = []
    for first, place in kernels.blocks(shape, size):
        run = numbers[place].flatten().tolist()
        assert run and run[0] == first and len(run) <= max(size, 1)
        seen += run
    assert seen == list(range(math.prod(shape)))


def test_every_segment_gives_the_states_of_the_whole() -> None:
    graph, parameters, inputs = perceptron(**SMALL)
    replay = Replay(graph, parameters)
    outputs, log = replay.record(inputs, 3)
    states: dict[int, list[Tensor]] = {}
    whole = replay.advance(
        0, inputs, len(graph), keep=lambda cut, values: states.update({cut: values}), log=log
    )
    assert same(whole, outputs) and sorted(states) == list(range(len(graph) + 1))
    for start in range(0, len(graph), 5):
        for stop in (start, start + 1, min(start + 9, len(graph)), len(graph)):
            given = replay.advance(start, states[start], stop, log=log if start == 0 else None)
            assert same(given, states[stop]), (start, stop)
    some: dict[int, list[Tensor]] = {}
    replay.advance(
        0, inputs, len(graph), keep=lambda cut, values: some.update({cut: values}), log=log, cuts=(11, 40)
    )
    assert sorted(some) == [11, 40] and all(same(some[cut], states[cut]) for cut in some)
    for cut, state in states.items():
        kinds = [graph.types[value] for value in graph.live(cut)]
        assert [t.dtype.torch for t in kinds] == [t.dtype for t in state]


def test_an_override_replaces_a_nodes_output() -> None:
    graph, parameters, inputs = perceptron(**SMALL)
    replay = Replay(graph, parameters)
    outputs, log = replay.record(inputs)
    target = node_of(graph, "contraction")

    def override(index: int, node: object, operands: object, made: tuple[Tensor, ...]) -> Sequence[Tensor]:
        return [m + 0.5 for m in made] if index == target else made

    changed = replay.advance(0, inputs, len(graph), override, log=without_entries(log))
    assert torch.equal(changed[0], outputs[0]) and not torch.equal(changed[2], outputs[2])
    kept = replay.advance(0, inputs, len(graph), lambda i, n, o, made: made, log=log)
    assert same(kept, outputs)


def refused(
    change: Callable[[Graph, Tensor], Tensor], match: str, error: type[Exception] = ReplayError
) -> None:
    graph, parameters, inputs = cancelling()
    replay = Replay(graph, parameters)
    _, log = replay.record(inputs)
    with pytest.raises(error, match=match):
        replay.replay(inputs, change(graph, log), step=12)


@pytest.mark.parametrize("value", (1e-3, -1e30, math.inf, math.nan, -0.0, 1e-45))
def test_an_entry_outside_the_zone_is_refused(value: float) -> None:
    def change(graph: Graph, log: Tensor) -> Tensor:
        return with_entry(log, node_of(graph, "aten.exp.default"), 3, value)

    refused(change, r"step 12 has .* for node \d+ \(step:aten.exp.default\), element 3, where")


def test_an_entry_outside_the_zone_changes_nothing_in_a_dispute() -> None:
    graph, parameters, inputs = cancelling()
    replay = Replay(graph, parameters)
    outputs, log = replay.record(inputs)
    wrong = with_entry(log, node_of(graph, "aten.exp.default"), 3, 1e-3)
    states = replay.advance(0, inputs, len(graph), log=wrong, strict=False)
    assert same(states[:-1], outputs[:-1]) and torch.equal(states[-1], wrong)


def test_the_path_of_other_processors_gives_the_same_log(monkeypatch: pytest.MonkeyPatch) -> None:
    for graph, parameters, inputs in (perceptron(**SMALL), cancelling()):
        replay = Replay(graph, parameters)
        outputs, log = replay.record(inputs)
        with monkeypatch.context() as patch:
            patch.setattr(
                rounding, "_round_compiled", lambda f, zone, out: rounding._round_torch(f, zone, 24, out)
            )
            others, other = replay.record(inputs)
        assert same(outputs, others) and torch.equal(log, other)


def test_the_next_float_is_refused_where_no_midpoint_is_near() -> None:
    def change(graph: Graph, log: Tensor) -> Tensor:
        node = node_of(graph, "aten.exp.default")
        assert not len(read(log).of(node)[0])
        x = Replay(graph, cancelling()[1])
        states: dict[int, list[Tensor]] = {}
        x.advance(
            0, cancelling()[2], node + 1, keep=lambda c, v: states.update({c: v}), log=log, cuts=(node + 1,)
        )
        value = states[node + 1][graph.live(node + 1).index(graph.nodes[node].outputs[0])].flatten()[3]
        return with_entry(log, node, 3, torch.nextafter(value, torch.tensor(9.0)).item())

    refused(change, r"step 12 has .* for node \d+ \(step:aten.exp.default\), element 3")


def test_an_unsorted_log_is_refused() -> None:
    def moved(*columns: int) -> Callable[[Graph, Tensor], Tensor]:
        def change(graph: Graph, log: Tensor) -> Tensor:
            for element in range(6):
                log = with_entry(log, node_of(graph, "aten.exp.default"), element, 1.0)
            log[:, [4, 5]] = log[:, list(columns)]
            return log

        return change

    refused(moved(5, 4), "log of step 12 is not in ascending order at entry 5", LogError)
    refused(moved(5, 5), "ascending", LogError)


def test_an_entry_of_no_logged_node_is_refused() -> None:
    def of(operator: str) -> Callable[[Graph, Tensor], Tensor]:
        return lambda graph, log: with_entry(log, node_of(graph, operator), 0, 1.0)

    for operator in ("aten.mul.Scalar", "contraction", "aten.sum.dim_IntList"):
        refused(of(operator), r"step 12 names node \d+, element 0; it is not a logged node")
    refused(lambda g, log: with_entry(log, len(g) + 3, 0, 1.0), "is not a logged node")
    refused(
        lambda g, log: with_entry(log, node_of(g, "aten.exp.default"), 2**31, 1.0),
        "element 2147483648; it has no such",
    )


def test_a_log_of_another_run_is_refused() -> None:
    graph, parameters, inputs = logistic()
    replay = Replay(graph, parameters)
    _, log = replay.record(inputs)
    inputs = tuple(x + 1 for x in inputs)
    with pytest.raises(ReplayError, match=r"the log of step 4 has .* for node \d+ .*element \d+"):
        replay.replay(inputs, log, step=4)


def test_a_log_of_another_size_is_refused() -> None:
    refused(lambda g, log: log[:, :100].contiguous(), "ascending|capacity|not \\[2", ReplayError)


def test_entries_that_say_what_is_computed_change_nothing() -> None:
    graph, parameters, inputs = logistic()
    replay = Replay(graph, parameters)
    outputs, log = replay.record(inputs)
    more = with_entry(log, node_of(graph, "aten.sigmoid.default"), 5, outputs[0][5].item())
    replayed, corrections = replay.replay(inputs, more)
    assert same(replayed[:-1], outputs[:-1]) and corrections == []
    assert torch.equal(replayed[-1], more)


def test_a_log_too_small_names_the_node_with_most_entries() -> None:
    graph, parameters, inputs = logistic(capacity=4)
    with pytest.raises(
        LogError, match=r"step 9 has 8 values .* most, 8, are of node 1 \(step:aten.sigmoid.*at least"
    ):
        Replay(graph, parameters).record(inputs, step=9)


@pytest.mark.parametrize("value", (math.nan, math.inf))
def test_values_that_are_not_finite_name_step_and_node(value: float) -> None:
    graph, parameters, inputs = perceptron(**SMALL)
    broken = [x.clone() for x in inputs]
    broken[2][0, 0] = value
    with pytest.raises(ReplayError, match=r"step 5 has a NaN or infinite value in node 4 \(step:aten.mm"):
        Replay(graph, parameters).record(broken, step=5)
    broken = [x.clone() for x in inputs]
    broken[3][0, 0] = value  # a moment: only single operations read it
    with pytest.raises(
        ReplayError, match=r"step 5 has a NaN or infinite value in node \d+ \(step:aten.add.Tensor"
    ):
        Replay(graph, parameters).record(broken, step=5)


@pytest.mark.parametrize("bits", (24, 11, 8))
def test_zeros_of_single_operations_have_the_sign_of_ieee_and_others_none(bits: int) -> None:
    tape = Tape(64)
    zeros, tiny = torch.tensor([-0.0, 0.0, -1.0, 1.0]), torch.tensor([-(2.0**-100), 2.0**-100, 1.0, -1.0])
    x, y = tape.input(zeros), tape.input(tiny)
    single = {
        "sqrt": tape("sqrt.default", tape("abs.default", x)),
        "root": tape("sqrt.default", tape.input(torch.tensor([-0.0, 0.0, 4.0]))),
        "mul": tape("mul.Tensor", x, y),
        "underflow": tape("mul.Tensor", y, tape.input(torch.tensor([2.0**-100, 2.0**-100, -0.0, 0.0]))),
        "sub": tape("sub.Tensor", x, x),
        "add": tape("add.Tensor", x, x),
        "div": tape("div.Scalar", x, -3.0),
    }
    names = ("tanh", "sin", "erf")
    logged = [tape(f"{name}.default", x) for name in names]
    total = tape("sum.dim_IntList", tape.view(x, lambda t: t[:1]), [0], True)
    graph = tape.finish(*single.values(), *logged, total)
    inputs = (zeros, tiny, torch.tensor([-0.0, 0.0, 4.0]), torch.tensor([2.0**-100, 2.0**-100, -0.0, 0.0]))
    outputs, _ = Replay(graph, tape.parameters, bits).record(inputs)
    signs = {
        name: ["-+"[not v.signbit()] + "0" if v == 0 else "" for v in output]
        for name, output in zip((*single, *names, "sum"), outputs, strict=False)
    }
    assert signs == {
        "sqrt": ["+0", "+0", "", ""],
        "root": ["-0", "+0", ""],
        "mul": ["+0", "+0", "", ""],
        "underflow": ["-0", "+0", "-0", "-0"],
        "sub": ["+0"] * 4,
        "add": ["-0", "+0", "", ""],
        "div": ["+0", "-0", "", ""],
        **{name: ["+0", "+0", "", ""] for name in names},
        "sum": ["+0"],
    }


def test_inputs_that_do_not_fit_are_refused() -> None:
    graph, parameters, inputs = perceptron(**SMALL)
    with pytest.raises(ModelError, match="value 2 must be float32"):
        Replay(graph, parameters).record([*inputs[:2], inputs[2].T, *inputs[3:]])
    with pytest.raises(ReplayError, match="step 0 needs its log"):
        Replay(graph, parameters).advance(0, inputs, 5)


class _AlwaysUp(Recorder):
    """A trainer who rounds up wherever a device might have computed as much."""

    wrong = 0

    def settle(self, index: int, piece: Piece, out: Tensor) -> bool:
        values, candidates, finite = round_to_grid(piece.f, piece.zone(), 24, out)
        f = piece.f.reshape(-1)[candidates]
        up = (f + piece.zone().at(candidates, f)).float()
        if piece.terms is not None and len(candidates):
            right = torch.cat([sums.nearest_sum(terms, 24) for terms in piece.terms(candidates)])
            self.wrong += int((up != right).sum())
        values.view(-1)[candidates] = up
        return finite


def test_a_trainer_who_always_rounds_sums_up_is_found() -> None:
    graph, parameters, inputs = cancelling(rest=2.0**-9)
    replay = Replay(graph, parameters)
    log = without_entries(torch.empty(2, replay.capacity))
    trainer = _AlwaysUp(Writer(replay.capacity), 24)
    claimed = replay._run(0, inputs, len(graph), trainer, log, 0)
    replayed, corrections = replay.replay(inputs, log)
    assert trainer.wrong > 10
    assert not same(replayed[:-1], claimed[:-1]) and not corrections


def test_results_of_a_sum_are_its_rounded_values_and_of_others_float64_with_a_bound() -> None:
    graph, parameters, inputs = cancelling()
    replay = Replay(graph, parameters)
    states: dict[int, list[Tensor]] = {}
    replay.advance(0, inputs, len(graph), keep=states.__setitem__, log=replay.record(inputs)[1])
    for index, node in enumerate(graph.nodes):
        if kind(node.operator) in (Kind.SUM, Kind.LOGGED):
            results, tau = replay.results(index, states[index])
            value = states[index + 1][graph.live(index + 1).index(node.outputs[0])].flatten()
            is_sum = kind(node.operator) is Kind.SUM
            assert torch.equal(results, value.double()) == is_sum and bool((tau == 0).all()) == is_sum
            assert torch.equal(results.float(), value)


def test_every_sum_and_logged_operator_has_a_zone() -> None:
    functions = {f"aten.{name}.default" for name in zones.RELATIVE}
    assert (LOGGED, SUMS) == (functions, set(kernels.COMPUTED))
    graph, parameters, inputs = cancelling()
    seen = {kernels.name_of(node) for node in graph.nodes if kernels.comes_in_pieces(node)}
    assert seen == LOGGED | SUMS  # the step that the tests replay has all of them
