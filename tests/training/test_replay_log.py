"""A log that no honest trainer writes is refused by step, node and element; a trainer who rounds otherwise is found."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tao.graph import Graph
from tao.training import rounding, sums
from tao.training.kernels import Piece
from tao.training.log import LogError, Writer, read
from tao.training.policies import Recorder, ReplayError
from tao.training.replay import Replay
from tao.training.rounding import round_to_grid
from training.logs import logistic, node_of, same, with_entry, without_entries
from training.steps import Tape, cancelling, perceptron

SMALL = {"batch": 8, "inputs": 16, "hidden": 12, "classes": 4}


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


@pytest.mark.parametrize(
    ("value", "stands"), [(-1.0, True), (0.25, True), (1.0000001, False), (-3e38, False)]
)
def test_of_a_sine_beyond_all_reductions_an_entry_from_minus_one_to_one_is_obeyed(value, stands) -> None:
    tape = Tape(64)
    x = tape.input(torch.tensor([2.0**31, 0.5]))
    graph = tape.finish(tape("sin.default", x))
    replay = Replay(graph, tape.parameters)
    log = with_entry(replay.record((x.tensor,))[1], node_of(graph, "aten.sin.default"), 0, value)
    if stands:
        assert replay.replay((x.tensor,), log)[0][0][0] == value
    else:
        with pytest.raises(ReplayError, match="element 0, where"):
            replay.replay((x.tensor,), log)


def test_an_entry_outside_the_zone_changes_nothing_in_a_dispute() -> None:
    graph, parameters, inputs = cancelling()
    replay = Replay(graph, parameters)
    outputs, log = replay.record(inputs)
    wrong = with_entry(log, node_of(graph, "aten.exp.default"), 3, 1e-3)
    states = replay.advance(0, inputs, len(graph), log=wrong, refuse_implausible=False)
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
    claimed = replay.run_with(trainer, inputs, log)
    replayed, corrections = replay.replay(inputs, log)
    assert trainer.wrong > 10
    assert not same(replayed[:-1], claimed[:-1]) and not corrections
