"""Steps that a stranger wrote: what contracts would follow otherwise than kernels compute it is refused."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

import pytest
import torch

from tao.errors import ModelError, UnsupportedOperator
from tao.graph import Graph
from tao.graph.canonical import Node
from tao.training.kernels import summation
from tao.training.policies import NoResult
from tao.training.replay import Replay
from training.steps import Tape, Traced

SAMPLE, KEEP, GRADIENT = "tao.sample.default", "tao.keep.default", "tao.embedding_gradient.default"


def step_and_seed(tape: Tape) -> tuple[Traced, Traced]:
    return tape.input(torch.zeros(1, dtype=torch.int64)), tape.input(torch.tensor([7, 11]))


def of_a_longer_step(tape: Tape) -> None:
    _, seed = step_and_seed(tape)
    counters = tape.input(torch.arange(3))
    tape(SAMPLE, tape.view(counters, lambda x: x[2:]), seed, 10, 2)


def of_steps_in_a_row(tape: Tape) -> None:
    _, seed = step_and_seed(tape)
    tape(SAMPLE, tape.input(torch.arange(2)), seed, 10, 2)


def of_a_seed_reversed(tape: Tape) -> None:
    step, _ = step_and_seed(tape)
    seeds = tape.input(torch.arange(4))
    tape(SAMPLE, step, tape.view(seeds, lambda x: x[::2]), 10, 2)


DRAWS = {
    "part of a value": of_a_longer_step,
    "a row of steps": of_steps_in_a_row,
    "a strided seed": of_a_seed_reversed,
    "a set that is no word": lambda tape: tape(SAMPLE, *step_and_seed(tape), 1 << 32, 2),
    "a threshold that is no word": lambda tape: tape(KEEP, *step_and_seed(tape), [4], 0, 1 << 32),
    "a negative stream": lambda tape: tape(KEEP, *step_and_seed(tape), [4], -1, 5),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_that_no_contract_follows_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedOperator, match="exact, single and logged operators and sums only"):
        DRAWS[name](Tape())


def test_a_file_with_such_a_draw_is_refused() -> None:
    tape = Tape()
    step, seed = step_and_seed(tape)
    batch = tape(SAMPLE, step, seed, 10, 1)
    graph = tape.finish(step, seed, batch)
    assert Graph.from_json(graph.to_json()) == graph
    content = json.loads(graph.to_json())
    (drawn,) = (node for node in content["graph"]["nodes"] if node["target"] == SAMPLE)
    drawn["operands"][0] = [1, [1], [0], 1]  # the second word of the seed for the step
    with pytest.raises(ModelError, match="sums only"):
        Graph.from_json(json.dumps(content).encode())


def gradient(
    grad: torch.Tensor,
    indices: torch.Tensor,
    rows: int,
    width: int,
    view: Callable[[torch.Tensor], torch.Tensor] = lambda x: x,
) -> None:
    """The call in a graph, with an output of this width, whatever a kernel would say."""
    tape = Tape()
    given, places = tape.input(grad), tape.input(indices)
    seen = tape.view(given, view)
    result = torch.zeros(rows, width, dtype=grad.dtype)
    tape.builder.call(GRADIENT, [seen.ref, places.ref, rows], {}, {0: result}, "gradient")


def test_an_embeddings_gradient_is_of_as_many_rows_as_indices_and_float32() -> None:
    indices = torch.tensor([0, 1, 0, 1])
    gradient(torch.ones(4, 2), indices, 3, 2)
    refused = [
        (torch.ones(4), indices, 2, 2, lambda x: x.as_strided((2, 2), (1, 2))),  # half as many
        (torch.ones(4, 2, dtype=torch.int64), indices, 3, 2),
        (torch.ones(4, 2), torch.tensor(1), 3, 2),
        (torch.ones(4, 2), indices.int(), 3, 2),
        (torch.ones(4, 2), indices, 3, 1),
    ]
    for call in refused:
        with pytest.raises(UnsupportedOperator, match="sums only"):
            gradient(*call)


@pytest.mark.parametrize("index", [-1, 3, -(2**62)])
def test_an_index_outside_the_table_has_no_result(index: int) -> None:
    """Also where nothing looks the index up before, which would refuse it."""
    tape = Tape()
    grad, indices = tape.input(torch.ones(4, 2)), tape.input(torch.tensor([0, 1, 0, 2]))
    graph = tape.finish(tape(GRADIENT, grad, indices, 3), indices)
    replay = Replay(graph, [])
    outputs, _ = replay.record((torch.ones(4, 2), torch.tensor([0, 1, 0, 2])))
    assert outputs[0].tolist() == [[2, 2], [1, 1], [1, 1]]
    with pytest.raises(NoResult, match="out of range of 3"):
        replay.record((torch.ones(4, 2), torch.tensor([0, 1, index, 2])))


def test_a_number_is_the_float32_one_that_kernels_compute_with() -> None:
    tape = Tape()
    x = tape.input(torch.tensor([1.0, 3.0, 7.0]))
    graph = tape.finish(tape("mul.Scalar", x, 0.1), x)
    (node,) = (node for node in graph.nodes if node.operator == "rounded.aten.mul.Scalar")
    high, low = node.attributes
    assert struct.unpack(">d", struct.pack(">II", high, low)) == (float(torch.tensor(0.1)),)
    for number in (1e39, -1e300):
        with pytest.raises(UnsupportedOperator, match="beyond float32"):
            tape("mul.Scalar", x, number)
    with pytest.raises(UnsupportedOperator, match="sums only"):
        tape("mul.Scalar", x, 1e-60)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_a_sum_over_one_dimension_is_over_that_one_however_it_is_written(dim: int) -> None:
    x = torch.randn(3, 5)
    node = Node(
        "rounded.aten.sum.dim_IntList", "aten.sum.dim_IntList", (None, dim), {}, (), (), (0,), (0,), 0, ()
    )
    (piece,) = summation(node, [x], 1 << 20)
    assert torch.allclose(piece.f, x.double().sum(dim))
