"""States at cuts: whatever the segment, replaying it from committed values gives eager's bits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from graph.models import CASES, case, exported
from tao.errors import ModelError
from tao.execution import Executor, capture, replay
from tao.execution.replay import restore

TINY = ["mlp", "convolutions", "shapes", "tied", "bert_eager"]


def cuts_of(name: str) -> list[int]:
    count = len(exported(name)[0])
    return list(range(count + 1)) if name in TINY else [*range(0, count, count // 4), count]


def fresh(state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The state as it comes from a store: the same values in other memory, row-major."""
    return tuple(tensor.clone(memory_format=torch.contiguous_format) for tensor in state)


@pytest.mark.parametrize("name", CASES)
def test_replay_from_any_cut_gives_the_bits_of_eager_execution(name: str) -> None:
    graph, parameters = exported(name)
    states = capture(graph, parameters, case(name).args, cuts_of(name))
    assert list(states) == cuts_of(name)
    for cut, state in states.items():
        outputs = replay(graph, parameters, cut, fresh(state), len(graph))
        assert all(map(torch.equal, outputs, case(name).eager())), cut


@pytest.mark.parametrize("name", ["shapes", "qwen3_eager", "resnet"])
def test_replay_of_a_segment_gives_the_state_captured_at_its_end(name: str) -> None:
    graph, parameters = exported(name)
    cuts = cuts_of(name)
    states = capture(graph, parameters, case(name).args, cuts)
    for start, stop in zip(cuts, cuts[1:], strict=False):
        ended = replay(graph, parameters, start, fresh(states[start]), stop)
        assert len(ended) == len(graph.live(stop))
        assert all(map(torch.equal, ended, states[stop])), (start, stop)
        assert all(tensor.is_contiguous() for tensor in ended)


@pytest.mark.parametrize("name", ["convolutions", "shapes", "bert_eager", "qwen3_sdpa"])
def test_replay_in_double_precision_is_close_and_has_no_single_precision_left(name: str) -> None:
    graph, parameters = exported(name)
    seen: set[torch.dtype] = set()

    def watch(index, node, operands, outputs):
        seen.update(tensor.dtype for tensor in (*operands, *outputs))
        return outputs

    start = len(graph) // 2
    state = capture(graph, parameters, case(name).args, [start])[start]
    for begin, values in ((0, case(name).args), (start, state)):
        outputs = replay(graph, parameters, begin, values, len(graph), dtype=torch.float64, override=watch)
        for wide, eager in zip(outputs, case(name).eager(), strict=True):
            torch.testing.assert_close(wide, eager.to(wide.dtype), rtol=1e-4, atol=1e-4)
            assert wide.dtype == (torch.float64 if eager.is_floating_point() else eager.dtype)
    assert torch.float32 not in seen and torch.float64 in seen


def test_override_changes_one_output_and_all_that_follows_from_it() -> None:
    graph, parameters = exported("mlp")
    inputs, last = case("mlp").args, len(graph)
    honest = capture(graph, parameters, inputs, range(last + 1))

    def cheat(index, node, operands, outputs):
        return (outputs[0] + 1,) if index == 2 else outputs

    cheated = capture(graph, parameters, inputs, range(last + 1), override=cheat)
    same = [all(map(torch.equal, honest[cut], cheated[cut])) for cut in range(last + 1)]
    assert same == [True] * 3 + [False] * (last - 2)
    position = graph.live(3).index(graph.nodes[2].outputs[0])
    assert torch.equal(cheated[3][position], honest[3][position] + 1)
    assert all(map(torch.equal, replay(graph, parameters, 0, inputs, last, override=cheat), cheated[last]))


def test_override_must_keep_the_types_of_the_outputs() -> None:
    graph, parameters = exported("mlp")
    with pytest.raises(ModelError, match="override of node 0 must be"):
        replay(graph, parameters, 0, case("mlp").args, 1, override=lambda i, n, o, y: (y[0][:1],))
    with pytest.raises(ModelError, match="has 1 outputs, but the override gave 0"):
        replay(graph, parameters, 0, case("mlp").args, 1, override=lambda i, n, o, y: ())


@pytest.mark.parametrize("name", ["shapes", "bert_sdpa"])
def test_operands_of_a_node_are_those_its_call_gets(name: str) -> None:
    graph, parameters = exported(name)
    seen: dict[int, list[Tensor]] = {}

    def watch(index, node, operands, outputs):
        seen[index] = [tensor.clone() for tensor in operands]
        return outputs

    states = capture(graph, parameters, case(name).args, range(len(graph) + 1), override=watch)
    executor = Executor(graph, parameters)
    for index, node in enumerate(graph.nodes):
        operands = executor.operands(index, restore(graph, index, fresh(states[index])))
        assert [tuple(t.shape) for t in operands] == [o.view.shape for o in node.operands]
        assert all(map(torch.equal, operands, seen[index]))


def test_misfits_are_refused() -> None:
    graph, parameters = exported("mlp")
    with pytest.raises(ModelError, match="cuts 0 to 99 are not within"):
        capture(graph, parameters, case("mlp").args, [0, 99])
    with pytest.raises(ModelError, match="1 values are live at cut 1, but 0"):
        replay(graph, parameters, 1, (), 2)
