"""Records, read by hand, describe the computation: liveness, types, and which elements an output reads."""

from __future__ import annotations

import pytest
from eth_hash.auto import keccak

from graph.elements import check_maps
from graph.models import CASES, case, exported
from graph.records import parse
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


@pytest.mark.parametrize("name", CASES)
def test_maps_read_the_elements_that_decide_an_output(name: str) -> None:
    graph, parameters = exported(name)
    checked = check_maps(graph, parameters, case(name).args)
    assert {"contraction", "aten.add.Tensor", "aten.relu.default", "aten.tanh.default"} & checked
