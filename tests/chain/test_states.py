"""States as tensors: what is fetched, what may be missing, and what has no result."""

import math

import pytest
import torch

from benchmarks.small import inputs, node, tiny_bundle
from tao.errors import NoResult, StoreError
from tao.execution import capture
from tao.graph.states import is_consistent, of_outputs
from tao.numerics.drift import DRIFT_THRESHOLD
from tao.numerics.measure import measure, measure_segment
from tao.roles.states import chunk_numbered, fetch, fetch_segment
from tao.tensors import TensorTree, TensorType, commit
from tao.tensors.store import TensorStore


@pytest.fixture(scope="module")
def bundle():
    return tiny_bundle()


@pytest.fixture
def run(bundle, tmp_path):
    """The states of one honest run, their commitments, and a store that holds them all."""
    store = TensorStore(str(tmp_path))
    states = capture(bundle.graph, bundle.parameters, inputs(), range(len(bundle.graph) + 1))
    return store, states, {cut: tuple(map(store.put_tensor, state)) for cut, state in states.items()}


def test_an_honest_run_is_consistent_and_within_tolerance_everywhere(bundle, run):
    store, states, commitments = run
    graph = bundle.graph
    for lo in range(len(graph)):
        assert measure(bundle, lo, states[lo], states[lo + 1]).exceedance <= 1
        for hi in range(lo + 1, len(graph) + 1):
            assert is_consistent(graph, lo, commitments[lo], hi, commitments[hi])
            start, end = fetch_segment(store, graph, lo, commitments[lo], hi, commitments[hi])
            assert measure_segment(bundle, lo, start, hi, end).drift_ratio < DRIFT_THRESHOLD


def test_states_of_a_wrong_length_or_with_a_changed_value_are_inconsistent(bundle, run):
    _, _, commitments = run
    tanh = node(bundle, "tanh")
    before, after = commitments[tanh], commitments[tanh + 1]
    passing = next(position for position, held in enumerate(after) if held in before)
    changed = tuple(b"x" * 32 if position == passing else held for position, held in enumerate(after))
    assert is_consistent(bundle.graph, tanh, before, tanh + 1, after)
    assert not is_consistent(bundle.graph, tanh, before, tanh + 1, changed)
    assert not is_consistent(bundle.graph, tanh, before, tanh + 1, after[:-1])
    assert not is_consistent(bundle.graph, tanh, (*before, before[0]), tanh + 1, after)


def test_a_missing_value_that_passes_by_an_operator_hides_nothing(bundle, run):
    store, states, commitments = run
    tanh = node(bundle, "tanh")
    before, after = commitments[tanh], commitments[tanh + 1]
    elsewhere = TensorStore(store.url + "/partial")
    for commitment, tensor in zip((*before, *after), (*states[tanh], *states[tanh + 1]), strict=True):
        if not (commitment in before and commitment in after):
            elsewhere.put_tensor(tensor)
    with pytest.raises(StoreError, match="is missing"):
        fetch(elsewhere, bundle.graph, tanh, before)
    start, end = fetch_segment(elsewhere, bundle.graph, tanh, before, tanh + 1, after)
    whole = fetch_segment(store, bundle.graph, tanh, before, tanh + 1, after)
    assert measure(bundle, tanh, start, end) == measure(bundle, tanh, *whole)


@pytest.mark.parametrize("which", ["operand", "output"])
def test_a_missing_operand_or_output_is_told(bundle, run, which):
    store, states, commitments = run
    mish = node(bundle, "mish")
    held = states[mish] if which == "output" else states[mish + 1][1:]
    partial = TensorStore(store.url + "/" + which)
    for tensor in held:
        partial.put_tensor(tensor)
    if which == "operand":
        for output in of_outputs(bundle.graph, mish, states[mish + 1]):
            assert commit(output) not in commitments[mish]
    with pytest.raises(StoreError, match="is missing"):
        fetch_segment(partial, bundle.graph, mish, commitments[mish], mish + 1, commitments[mish + 1])


def test_a_tensor_of_another_type_than_the_graphs_is_refused(bundle, run):
    store, _, commitments = run
    other = store.put_tensor(torch.zeros(2, 13))
    with pytest.raises(StoreError, match="not the graph's"):
        fetch(store, bundle.graph, 0, (other,))
    assert commitments[0] != (other,)


def test_inputs_on_which_an_operator_has_no_result_exceed_everything(bundle, run, monkeypatch):
    _, states, _ = run

    def fail(*_, **__):
        raise NoResult("index out of range in self")

    monkeypatch.setattr("tao.execution.run.Executor.advance", fail)
    assert measure(bundle, 0, states[0], states[1]).exceedance == math.inf
    assert measure_segment(bundle, 0, states[0], 1, states[1]).drift_ratio == math.inf


def test_the_chunks_of_a_tensor_are_numbered_through_its_rows_and_round():
    tensor = torch.zeros(3, 700)  # rows of 11 chunks, 16 leaves each
    leaves = [16 * row + chunk for row in range(3) for chunk in range(11)]
    assert [chunk_numbered(TensorType.of(tensor), number) for number in range(66)] == 2 * leaves
    assert all(TensorTree(tensor).open_chunk(leaf).data for leaf in leaves)
