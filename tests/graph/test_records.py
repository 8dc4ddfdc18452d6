"""Records, read by hand, describe the computation: liveness, types, and which elements an output reads."""

from __future__ import annotations

import pytest
import torch
from eth_hash.auto import keccak

from graph.models import CASES, case, exported
from graph.records import OperandField, Record, parse
from tao.execution import Executor
from tao.graph import Graph, Node
from tao.graph.literals import Slot
from tao.graph.operators import resolve
from tao.tensors import merkle
from tao.tensors.tree import tag

PASS_THROUGH_LIMIT = 0x8000


@pytest.mark.parametrize("name", CASES)
def test_records_rebuild_the_values_live_at_every_cut(name: str) -> None:
    graph, _ = exported(name)
    state = list(range(graph.input_count))
    for index, node in enumerate(graph.nodes):
        record = parse(graph.record(index))
        assert tuple(state) == graph.live(index)
        assert record.live_before == len(state)
        sources = [state, list(range(graph.input_count, graph.input_count + graph.parameter_count))]
        assert [sources[o.source][o.index] for o in record.operands] == [o.value for o in node.operands]
        state = [
            state[entry] if entry < PASS_THROUGH_LIMIT else node.outputs[entry - PASS_THROUGH_LIMIT]
            for entry in record.after
        ]
    assert tuple(state) == graph.live(len(graph)) == graph.outputs


@pytest.mark.parametrize("name", CASES)
def test_every_operand_is_live_or_a_parameter_and_everything_live_is_needed(name: str) -> None:
    graph, _ = exported(name)
    for index, node in enumerate(graph.nodes):
        live = graph.live(index)
        assert all(o.value in live or graph.parameter_of(o.value) is not None for o in node.operands)
        assert all(graph.parameter_of(value) is None for value in live)
        if index:
            assert list(live) == sorted(live)
            used = {o.value for later in graph.nodes[index:] for o in later.operands} | set(graph.outputs)
            assert set(live) <= used
    with pytest.raises(IndexError, match="cut"):
        graph.live(len(graph) + 1)


@pytest.mark.parametrize("name", ["shapes", "gpt2_eager"])
def test_types_operator_and_call_are_those_of_the_node(name: str) -> None:
    graph, _ = exported(name)
    for index, node in enumerate(graph.nodes):
        record = parse(graph.record(index))
        types = [graph.types[value] for value in node.outputs]
        assert list(record.outputs) == [(int(t.dtype), t.shape) for t in types]
        operand_types = [graph.types[o.value] for o in node.operands]
        assert [o.type for o in record.operands] == [(int(t.dtype), t.shape) for t in operand_types]
        assert record.operator == keccak(node.operator.encode())[:4]
        assert record.call == keccak(node.call)
        assert record.reduction == node.reduction


def test_root_and_proofs_cover_the_tagged_records() -> None:
    graph, _ = exported("mlp")
    leaves = [keccak(tag("node") + graph.record(i)) for i in range(len(graph))]
    assert graph.root == merkle.root(leaves)
    for index, leaf in enumerate(leaves):
        assert merkle.verify(graph.root, leaf, index, len(graph), graph.proof(index))


def read(
    values: torch.Tensor, operand: OperandField, position: tuple[int, ...], lanes: torch.Tensor
) -> torch.Tensor:
    """The elements that an output element reads, by the map alone."""
    assert operand.strides is not None and len(operand.strides) == len(position)
    start = operand.offset + sum(o * s for o, s in zip(position, operand.strides, strict=True))
    return values.reshape(-1)[start + lanes * operand.lane_stride]


def check_node(
    graph: Graph,
    index: int,
    state: list[torch.Tensor],
    parameters: tuple[torch.Tensor, ...],
    outputs: tuple[torch.Tensor, ...],
) -> bool:
    """Whether the node has maps; if so, outputs at a few positions must follow from what the maps read."""
    node, record = graph.nodes[index], parse(graph.record(index))
    if any(o.strides is None for o in record.operands):
        return False
    values = [state[o.index] if o.source == 0 else parameters[o.index] for o in record.operands]
    shape = tuple(outputs[0].shape)
    for flat in range(0, outputs[0].numel(), max(1, outputs[0].numel() // 7)):
        position = tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), shape)) if shape else ()
        check_element(node, record, values, position, outputs[0][position])
    return True


def check_element(
    node: Node, record: Record, values: list[torch.Tensor], position: tuple[int, ...], output: torch.Tensor
) -> None:
    one = torch.tensor(0)
    if node.operator == "contraction":
        lanes = torch.arange(record.reduction)
        runs = [read(v, o, position, lanes) for v, o in zip(values[:2], record.operands[:2], strict=True)]
        for operand in record.operands[:2]:
            row = operand.type[1][-1]
            start = operand.offset + sum(o * s for o, s in zip(position, operand.strides, strict=True))
            assert operand.lane_stride == 1 and start // row == (start + record.reduction - 1) // row
        expected = (runs[0].double() * runs[1].double()).sum()
        if len(values) == 3:
            assert record.operands[2].lane_stride == 0
            expected += read(values[2], record.operands[2], position, one)
        torch.testing.assert_close(output.double(), expected, rtol=1e-5, atol=1e-5)
    elif node.operator == "aten.embedding.default":
        lane = read(values[1], record.operands[1], position, one)
        assert output == read(values[0], record.operands[0], position, lane)
    elif node.operator == "copy":
        assert output == read(values[0], record.operands[0], position, one)
    else:
        elements = [read(v, o, position, one) for v, o in zip(values, record.operands, strict=True)]
        assert all(o.lane_stride == 0 for o in record.operands)
        args = [elements[arg.index] if isinstance(arg, Slot) else arg for arg in node.args]
        expected = resolve(node.target)(*args, **node.kwargs)
        torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_maps_read_the_elements_that_decide_an_output(name: str) -> None:
    graph, parameters = exported(name)
    mapped: set[str] = set()

    def check(index, node, operands, outputs):
        if check_node(graph, index, states[-1], parameters, outputs):
            mapped.add(node.operator)
        return outputs

    states: list[list[torch.Tensor]] = []
    executor = Executor(graph, parameters)
    executor.advance(
        0, case(name).args, len(graph), override=check, keep=lambda cut, values: states.append(values)
    )
    assert {"contraction", "aten.add.Tensor", "aten.relu.default", "aten.tanh.default"} & mapped
