"""The published method replays where its thresholds hold, with a trit for every result, and obeys any
entry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.training import published
from benchmarks.training.published import DOWN, HIGHEST, LOWEST, NONE, UP, PublishedReplay, Results
from tao.training import kernels
from tao.training.log import LogError, encode
from tao.training.replay import Replay
from training.orders import ORDERS, compute_in
from training.steps import cancelling, perceptron
from training.test_replay import same


@pytest.mark.parametrize("count", (0, 1, 4, 5, 6, 1001))
def test_trits_come_back_from_bytes(count: int) -> None:
    trits = np.random.default_rng(0).integers(0, 3, count).astype(np.uint8)
    data = published.pack(trits)
    assert len(data) == -(-count // 5)
    assert (published.unpack(data, count) == trits).all()


def test_bytes_that_are_no_trits_are_refused() -> None:
    for data, count in ((b"\xf3", 5), (b"\x00", 6), (b"\x00\x00", 5)):
        with pytest.raises(LogError, match="are not"):
            published.unpack(data, count)


def test_directions_are_those_near_a_midpoint() -> None:
    f = 1 + torch.tensor([0.0, 0.1, 0.49, 0.51, 0.9], dtype=torch.float64) * published.SPACING
    trits = published.directions(f, f.float(), LOWEST)
    assert trits.tolist() == [NONE, NONE, DOWN, UP, NONE]
    # Another device, on the other side of the midpoint, rounds as the trainer did.
    other = 1 + torch.tensor([0.0, 0.1, 0.51, 0.49, 0.9], dtype=torch.float64) * published.SPACING
    assert torch.equal(published.obey(other, trits), f.float())
    assert not torch.equal(other.float(), f.float())


def test_the_search_finds_the_largest_threshold_that_holds() -> None:
    f = 1 + torch.tensor([0.1, 0.45, 0.52], dtype=torch.float64) * published.SPACING
    g = 1 + torch.tensor([0.1, 0.51, 0.48], dtype=torch.float64) * published.SPACING
    found = published.threshold(f, g)
    assert found == pytest.approx(0.45 * published.SPACING, rel=1e-4)
    assert published.threshold(f, f) == pytest.approx(HIGHEST, rel=1e-4)


def test_a_step_replays_in_another_order_and_needs_a_trit_for_every_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    graph, parameters, inputs = perceptron()
    ours, theirs = Replay(graph, parameters), PublishedReplay(graph, parameters)
    outputs, log = theirs.record_trits(inputs)
    _, entries = ours.record(inputs)
    compute_in(monkeypatch, ORDERS["blocked"])
    assert same(theirs.replay_trits(inputs, log)[:-1], outputs[:-1])
    results = sum(graph.types[n.outputs[0]].numel for n in graph.nodes if kernels.comes_in_pieces(n))
    size = sum(map(len, log.values()))
    assert results / 5 <= size < results / 5 + len(graph)
    assert len(encode(entries)) < size / 5


def test_adapted_thresholds_say_less_and_replay_in_another_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    graph, parameters, inputs = perceptron()
    theirs = PublishedReplay(graph, parameters)
    _, log = theirs.record_trits(inputs)
    here, there = Results(tmp_path / "here"), Results(tmp_path / "there")
    theirs.keep_results(inputs, log, here)
    with monkeypatch.context() as other:
        compute_in(other, ORDERS["blocked"])
        theirs.keep_results(inputs, log, there)
    assert sorted(here) == sorted(there) == sorted(log)
    assert any(not torch.equal(here[index], there[index]) for index in here)
    theirs.adapt(here, there)
    assert all(LOWEST < t <= HIGHEST for t in theirs.thresholds.values())
    outputs, adapted = theirs.record_trits(inputs)
    assert published.entries(adapted) < published.entries(log) / 100
    compute_in(monkeypatch, ORDERS["blocked"])
    assert same(theirs.replay_trits(inputs, adapted)[:-1], outputs[:-1])


def test_it_fails_where_devices_differ_by_more_than_a_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, parameters, inputs = cancelling(rest=2.0**-24, lanes=1024)
    ours, theirs = Replay(graph, parameters), PublishedReplay(graph, parameters)
    outputs, log = theirs.record_trits(inputs)
    recorded, entries = ours.record(inputs)
    compute_in(monkeypatch, ORDERS["backward"])
    assert same(ours.replay(inputs, entries)[0], recorded)
    assert not same(theirs.replay_trits(inputs, log)[:-1], outputs[:-1])


def test_it_obeys_a_trainer_who_always_rounds_up() -> None:
    graph, parameters, inputs = perceptron()
    theirs = PublishedReplay(graph, parameters)
    honest, log = theirs.record_trits(inputs)
    upwards = {
        index: published.pack(np.where(published.unpack(data, theirs.count(index)) == NONE, NONE, UP))
        for index, data in log.items()
    }
    steered = theirs.replay_trits(inputs, upwards)
    assert not same(steered[:-1], honest[:-1])


def test_a_log_of_another_graph_is_refused() -> None:
    graph, parameters, inputs = perceptron()
    theirs = PublishedReplay(graph, parameters)
    _, log = theirs.record_trits(inputs)
    log.popitem()
    with pytest.raises(LogError, match="not one of the graph"):
        theirs.replay_trits(inputs, log)
