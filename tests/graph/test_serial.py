"""Graphs as files: the same graph comes back, and a stranger's is refused in one sentence or is harmless."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.models import CASES, exported
from tao.errors import ModelError
from tao.graph import Graph


@pytest.mark.parametrize("name", CASES)
def test_round_trip_gives_the_same_graph_hints_and_root(name: str) -> None:
    graph, _ = exported(name)
    data = graph.to_json()
    again = Graph.from_json(data)
    assert again == graph and again.root == graph.root and again.to_json() == data


def test_hints_do_not_change_the_root() -> None:
    content = json.loads(exported("gpt2_eager")[0].to_json())
    content["hints"]["layouts"] = [None] * len(content["hints"]["layouts"])
    content["hints"]["names"] = [""] * len(content["hints"]["names"])
    content["hints"]["operands"] = [[None] * len(layouts) for layouts in content["hints"]["operands"]]
    assert Graph.from_json(json.dumps(content).encode()).root == exported("gpt2_eager")[0].root


def mlp() -> dict[str, Any]:
    return json.loads(exported("mlp")[0].to_json())


def loaded(content: Any) -> Graph:
    return Graph.from_json(json.dumps(content).encode())


def node(content: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return content["graph"]["nodes"][index]


def put(keys: list[Any], value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


N0, N1 = ["graph", "nodes", 0], ["graph", "nodes", 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(["version"], 2), "format 2 is unknown"),
        (put(["extra"], 2), "must have exactly the fields"),
        (put(["graph", "inputs"], 0), "number of inputs"),
        (put(["graph", "parameters"], True), "number of parameters"),
        (put(["graph", "parameters"], 4), "node 1: .*does not produce the next values|node 0"),
        (put(["graph", "nodes"], []), "at least one node"),
        (put(["graph", "outputs"], []), "at least one output"),
        (put(["graph", "outputs"], [0]), "not produced by a node"),
        (put(["graph", "outputs"], [11, 11]), "same value"),
        (put(["graph", "types", 0, 0], 77), "dtype code"),
        (put(["graph", "types", 0, 1], [4, 0]), "empty"),
        (put(["graph", "types", 0, 1], [2**31, 2**31]), "elements or more"),
        (put(["graph", "types", 0, 1], [-4, 6]), "must hold integers"),
        (put([*N1, "target"], "aten.relu_.default"), "node 1: operator aten.relu_.default is not in the set"),
        (put([*N1, "target"], "aten.from_file.default"), "not in the set"),
        (put([*N1, "target"], "prims.mul.default"), "not in the set"),
        (put([*N1, "target"], 3), "target is not a string"),
        (put([*N1, "args"], [{"operand": 1}]), "operands are not in order"),
        (put([*N1, "args"], []), "operands are not in order"),
        (put([*N1, "args"], [{"operand": 0}, 3]), "not in canonical form"),
        (put([*N1, "args"], [{"operand": -1}]), "no literal of a call"),
        (put([*N1, "args"], [{"f64": "zz"}]), "hex of a double"),
        (put([*N1, "args"], [{"dtype": "load"}]), "no literal of a call"),
        (put([*N1, "args"], [2**70]), "64 bits"),
        (put([*N1, "kwargs"], {"inplace": True}), "not in canonical form"),
        (put([*N1, "operands", 0, 0], 12), "used before it is produced"),
        (put([*N1, "operands", 0, 3], 1), "reads beyond its value"),
        (put([*N1, "operands", 0, 2], [9, 1]), "reads beyond its value"),
        (put([*N1, "operands", 0, 2], [-8, 1]), "must hold integers"),
        (put([*N1, "operands", 0, 1], [4, 0]), "bad shape"),
        (put([*N1, "operands", 0, 1], [4]), "bad shape"),
        (put([*N1, "operands"], []), "one layout hint per operand"),
        (put([*N1, "outputs"], [3]), "next values in order"),
        (put([*N1, "slots"], [1]), "has no output 1"),
        (put([*N1, "slots"], [0, 1]), "slots are not in order"),
        (put([*N0, "operands", 1, 2], [1, 6]), "contiguous along the dimensions|reads beyond"),
        (put([*N0, "operands", 1, 0], 2), "numbered by first use|does not accept"),
        (put([*N0, "args"], [{"operand": 0}, {"operand": 1}, {"operand": 2}, 5]), "not in canonical form"),
        (put(["graph", "types", 7, 1], [4, 9]), "does not give the type claimed"),
        (put(["hints", "layouts", 0], [10**6, 1]), "spans more memory"),
        (put(["hints", "layouts", 0], [1]), "one stride per dimension"),
        (put(["hints", "names", 0], 1), "name is not a string"),
    ],
)
def test_hostile_files_are_refused_with_the_reason(change: Callable[[Any], None], message: str) -> None:
    content = mlp()
    change(content)
    with pytest.raises(ModelError, match=message):
        loaded(content)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"version":1.5}', b'{"version":NaN}', b"[" * 100_000],
)
def test_files_that_are_no_graph_at_all_are_refused(data: bytes) -> None:
    with pytest.raises(ModelError):
        Graph.from_json(data)


def places(content: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if not isinstance(content, dict | list):
        return [at]
    items = content.items() if isinstance(content, dict) else enumerate(content)
    return [at, *(place for key, item in items for place in places(item, (*at, key)))]


def shapes() -> dict[str, Any]:
    return json.loads(exported("shapes")[0].to_json())


# Deferred, as every process that collects tests would trace it.
PLACES = st.deferred(lambda: st.sampled_from(places(shapes())[1:]))
VALUES = st.sampled_from(
    [0, 1, -1, 2, 3, 255, 2**31, 2**32, 2**64, None, True, "", "copy", "aten.neg.default", [], [0], {}]
)


@settings(max_examples=150)
@given(PLACES, VALUES)
def test_one_changed_entry_is_refused_or_gives_a_graph_that_writes_itself(
    place: tuple[Any, ...], value: Any
) -> None:
    content = shapes()
    put(list(place), value)(content)
    try:
        graph = loaded(content)
    except ModelError as error:
        assert "\n" not in str(error)
    else:
        assert json.loads(graph.to_json()) == content
        assert Graph.from_json(graph.to_json()).root == graph.root
