"""A step replayed on another device gives the trainer's bits with the log, and not without."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tao.errors import ModelError
from tao.execution import Executor
from tao.graph.rounding import LOGGED, SUMS, Kind, kind
from tao.numerics import variants
from tao.training import kernels, rules, sums
from tao.training.kernels import Piece
from tao.training.log import read
from tao.training.policies import ReplayError
from tao.training.replay import Replay
from tao.training.rounding import round_to_grid
from training.cases import CASES, SEED, graph_steps, traced
from training.logs import logistic, node_of, same, without_entries
from training.orders import ORDERS, compute_in, compute_worst
from training.steps import Tape, cancelling, perceptron

STEPS = 400
SMALL = {"batch": 8, "inputs": 16, "hidden": 12, "classes": 4}


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
    case, step_graph = CASES[name](), traced(name)
    replay = Replay(step_graph.graph, step_graph.parameters)
    state = step_graph.pack(case.module, case.optimizer, SEED)
    for step, order in enumerate(("backward", "blocked", "largest first")):
        outputs, log = replay.record(state, step)
        with monkeypatch.context() as patch:
            compute_in(patch, ORDERS[order], step)
            replayed, _ = replay.replay(state, log, step)
        assert same(outputs, replayed)
        assert len(read(log)) < 3  # only functions are logged
        state = outputs
    again = CASES[name]()
    reference, _ = graph_steps(
        step_graph, step_graph.pack(again.module, again.optimizer, SEED), 3, torch.float64
    )
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
from training.logs import same
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


EXTREMA = {
    "maximum.default": lambda tape, x, y: [x, y],
    "minimum.default": lambda tape, x, y: [x, y],
    "amax.default": lambda tape, x, y: [x, [1]],
    "relu.default": lambda tape, x, y: [y],
    "clamp.default": lambda tape, x, y: [x, -0.0, 1.0],
    "clamp_min.default": lambda tape, x, y: [y, 0.0],
}


@pytest.mark.parametrize("name", EXTREMA)
@pytest.mark.parametrize("shape", [(3, 40), (3, 1 << 17)])
def test_zeros_of_extrema_have_no_sign_of_the_kernels_choice(name: str, shape: tuple[int, ...]) -> None:
    tape = Tape()
    zeros = torch.zeros(shape)
    zeros[:, ::3] = -0.0
    x, y = tape.input(zeros), tape.input(-zeros)
    graph = tape.finish(
        tape("mul.Tensor", tape(name, *EXTREMA[name](tape, x, y)), tape.input(torch.tensor(2.0)))
    )
    for block in (None, 7, 100):
        (output, _), _ = Replay(graph, tape.parameters, block=block).record(
            [zeros, -zeros, torch.tensor(2.0)]
        )
        assert not output.any() and not output.signbit().any()


@pytest.mark.parametrize("shape", [(4,), (3, 1 << 17)])
def test_beside_a_number_of_no_dimension_tensors_keep_their_type(shape: tuple[int, ...]) -> None:
    tape = Tape()
    few, many = torch.full(shape, 50, dtype=torch.uint8), torch.tensor(300)
    found = tape("gt.Tensor", tape.input(few), tape.input(many))
    graph = tape.finish(found, tape("logical_not.default", found))
    replay = Replay(graph, tape.parameters)
    (together, _, _), _ = replay.record([few, many])
    (alone, _, _), _ = replay.record([few, many], override=lambda index, node, operands, outputs: outputs)
    assert torch.equal(together, alone) and torch.equal(together, few > many)


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
    with pytest.raises(ModelError, match="input 2 must be float32"):
        Replay(graph, parameters).record([*inputs[:2], inputs[2].T, *inputs[3:]])
    with pytest.raises(ReplayError, match="step 0 needs its log"):
        Replay(graph, parameters).advance(0, inputs, 5)


def test_a_process_that_flushes_subnormal_numbers_is_told_before_it_computes() -> None:
    """Honest steps would be refuted, as single operations are done in float32."""
    graph, parameters, inputs = perceptron(**SMALL)
    replay = Replay(graph, parameters)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor flushes nothing")
    try:
        with pytest.raises(ModelError, match=r"call torch\.set_flush_denormal\(False\)"):
            replay.record(inputs)
    finally:
        torch.set_flush_denormal(False)
    replay.record(inputs)


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
    functions = {f"aten.{name}.default" for name in rules.ROUNDOFFS}
    assert (LOGGED, SUMS) == (functions, set(kernels.COMPUTED))
    graph, parameters, inputs = cancelling()
    seen = {kernels.name_of(node) for node in graph.nodes if kernels.comes_in_pieces(node)}
    assert seen == LOGGED | SUMS  # the step that the tests replay has all of them
