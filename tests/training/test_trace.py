"""What a step's graph is: inputs and outputs, kinds of nodes, its root, its exchange, what is refused."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from tao.errors import ModelError
from tao.graph import Graph, View
from tao.graph.maps import Call
from tao.graph.meaning import rows
from tao.graph.rounding import EXACT, LOGGED, PREFIX, SINGLE, SUMS, Kind
from tao.tensors import commit
from tao.tensors.codec import DType
from tao.training import describe, trace_step
from training.cases import BATCH, CASES, Case, classified, cnn, mlp, positions, traced


@pytest.mark.parametrize("name", CASES)
def test_inputs_are_outputs_one_step_later(name: str) -> None:
    step_graph = traced(name)
    graph = step_graph.graph
    assert graph.input_count == len(graph.outputs) == len(step_graph.names)
    types = [graph.types[value] for value in graph.outputs]
    assert types == list(graph.types[: graph.input_count])
    assert step_graph.names[:2] == ("step", "seed") and step_graph.names[-1] == "log"
    assert [t.shape for t in types[:2]] == [(1,), (2,)] and types[-1].shape == (2, 32)
    assert graph.outputs[-1] == step_graph.log
    assert all(t.dtype is DType.FLOAT32 for t in types[2 : -1 - len(step_graph.batch)])
    read = {operand.value for node in graph.nodes for operand in node.operands}
    unread = [i for i in range(graph.input_count) if i not in read]
    assert [step_graph.names[i] for i in unread] == list(step_graph.names[-1 - len(step_graph.batch) :])


@pytest.mark.parametrize("name", CASES)
def test_every_node_is_exact_single_a_sum_or_logged(name: str) -> None:
    step_graph = traced(name)
    graph = step_graph.graph
    for node, kind in zip(graph.nodes, step_graph.kinds, strict=True):
        operator = node.operator.removeprefix(PREFIX)
        types = [graph.types[o.value] for o in node.operands] + [graph.types[v] for v in node.outputs]
        floats = any(t.dtype is DType.FLOAT32 for t in types)
        if kind is Kind.EXACT:
            assert operator == node.operator and (operator in EXACT or not floats)
        else:
            assert operator in {Kind.SINGLE: SINGLE, Kind.SUM: SUMS, Kind.LOGGED: LOGGED}[kind]
            assert len(node.outputs) == 1 and graph.types[node.outputs[0]].dtype is DType.FLOAT32
        assert all(t.dtype not in (DType.FLOAT64, DType.FLOAT16, DType.BFLOAT16) for t in types)
    assert set(Kind) == set(step_graph.kinds)


@pytest.mark.parametrize("name", CASES)
def test_logged_nodes_and_no_others_have_the_log_as_last_operand(name: str) -> None:
    step_graph = traced(name)
    graph = step_graph.graph
    assert graph.nodes[0].operator == "tao.log.default" and not graph.nodes[0].operands
    assert graph.nodes[step_graph.sample].attributes[1] == min(BATCH, graph.types[graph.input_count].shape[0])
    whole = View.whole((2, 32))
    for number, (node, kind) in enumerate(zip(graph.nodes[1:], step_graph.kinds[1:], strict=True), 1):
        places = [i for i, operand in enumerate(node.operands) if operand.value == step_graph.log]
        assert places == ([len(node.operands) - 1] if kind is Kind.LOGGED else [])
        if places:
            assert node.maps[-1] is None and node.operands[-1].view == whole
            assert node.attributes == (number,)
        if kind is Kind.SUM:
            assert node.attributes == ()
        assert all(index_map is not None for index_map in node.maps[: len(node.operands) - len(places)])


@pytest.mark.parametrize("name", CASES)
def test_lanes_of_contractions_and_sums_are_runs_inside_rows(name: str) -> None:
    graph, checked = traced(name).graph, 0
    for node in graph.nodes:
        if node.operator not in ("rounded.contraction", "rounded.aten.sum.dim_IntList"):
            continue
        views, types = [o.view for o in node.operands], [graph.types[o.value] for o in node.operands]
        call = Call(node.target, node.args, node.kwargs, views, types, [graph.types[node.outputs[0]]])
        for operand, needed in rows(call).items():
            assert needed.holds(views[operand], types[operand].row_length)
            assert node.maps[operand].lane_stride == 1
            checked += 1
        assert node.reduction > 0
    assert checked > 5


def test_numbers_of_single_nodes_are_the_words_of_their_binary64_encoding() -> None:
    seen = set()
    for node in traced("gpt2").graph.nodes:
        if node.operator.startswith(PREFIX) and node.operator.endswith(".Scalar"):
            (number,) = struct.unpack(">d", struct.pack(">II", *node.attributes[:2]))
            assert number == node.args[1] == struct.unpack("f", struct.pack("f", number))[0]
            assert node.attributes[2:] == (
                (0x3F800000,) if "add" in node.operator or "sub" in node.operator else ()
            )
            seen.add(node.operator)
    assert len(seen) >= 3


def test_an_integer_is_recorded_as_the_float32_number_that_kernels_get() -> None:
    """2^24 + 1 is none: whoever takes it for one refutes an honest product by it."""
    module = nn.Linear(3, 1)
    optimizer = describe(torch.optim.SGD(module.parameters(), lr=0.1))
    inputs = (torch.randn(4, 3),)
    graph = trace_step(module, lambda m, x: (m(x) * (2**24 + 1)).sum(), optimizer, inputs, 2).graph
    products = [node for node in graph.nodes if node.operator == "rounded.aten.mul.Scalar"]
    numbers = {struct.unpack(">d", struct.pack(">II", *node.attributes[:2]))[0] for node in products}
    assert 2.0**24 in numbers and 2.0**24 + 1 not in numbers


def test_indices_of_an_embedding_gradient_are_a_whole_value() -> None:
    module = nn.Embedding(7, 3)
    optimizer = describe(torch.optim.SGD(module.parameters(), lr=0.1))
    tokens = (torch.randint(7, (5, 4)),)
    graph = trace_step(module, lambda m, x: m(x[:, 1:]).sum(), optimizer, tokens, 2).graph
    (node,) = (n for n in graph.nodes if n.target == "tao.embedding_gradient.default")
    indices = node.operands[1]
    assert node.reduction == 6 and graph.types[indices.value].shape == (6,)
    assert indices.view.covers_in_order(6)


@pytest.mark.parametrize("places", [1, 2])
def test_what_an_embedding_gradient_adds_up_is_one_run(places: int) -> None:
    module = nn.Embedding(7, 3)
    optimizer = describe(torch.optim.SGD(module.parameters(), lr=0.1))
    tokens = (torch.randint(7, (5, 1)),)
    step = trace_step(module, lambda m, x: (m(x) ** 2).sum(), optimizer, tokens, places)
    (node,) = (n for n in step.graph.nodes if n.target == "tao.embedding_gradient.default")
    assert node.reduction == places and node.maps[0].lane_stride == 1
    assert step.graph.types[node.operands[0].value].row_length % places == 0


@pytest.mark.parametrize("name", CASES)
def test_the_graph_survives_exchange(name: str) -> None:
    graph = traced(name).graph
    again = Graph.from_json(graph.to_json())
    assert again == graph and again.root == graph.root


def _logged(content: dict[str, Any]) -> dict[str, Any]:
    return next(node for node in content["graph"]["nodes"] if node["target"] == "aten.exp.default")


def _without_log(content: dict[str, Any]) -> None:
    at = content["graph"]["nodes"].index(_logged(content))
    content["graph"]["nodes"][at]["operands"].pop()
    content["hints"]["operands"][at].pop()


def _log_twice(content: dict[str, Any]) -> None:
    at = content["graph"]["nodes"].index(_logged(content))
    content["graph"]["nodes"][at]["operands"].append(_logged(content)["operands"][-1])
    content["hints"]["operands"][at].append(None)


def _part_of_log(content: dict[str, Any]) -> None:
    _logged(content)["operands"][-1] = [*_logged(content)["operands"][-1][:3], 1]


def _log_for_a_single(content: dict[str, Any]) -> None:
    nodes = content["graph"]["nodes"]
    at = next(i for i, node in enumerate(nodes) if node["target"] == "aten.sqrt.default")
    nodes[at]["operands"].append(_logged(content)["operands"][-1])
    content["hints"]["operands"][at].append(None)


def _composite(content: dict[str, Any]) -> None:
    node = next(n for n in content["graph"]["nodes"] if n["target"] == "aten.sqrt.default")
    node["target"] = "aten.rsqrt.default"


@pytest.mark.parametrize(
    "change, reason",
    [
        (_without_log, "the log is not the last operand of the logged nodes alone"),
        (_log_twice, "operands are not in order|not the last operand"),
        (_part_of_log, "a node reads a part of the log|beyond"),
        (_log_for_a_single, "the log is not the last operand of the logged nodes alone"),
        (_composite, "exact, single and logged"),
    ],
)
def test_graphs_whose_nodes_are_not_what_a_step_holds_are_refused(change, reason: str) -> None:
    content = json.loads(traced("mlp").graph.to_json())
    change(content)
    with pytest.raises(ModelError, match=reason):
        Graph.from_json(json.dumps(content).encode())


ELSEWHERE = """
import torch
from tao.tensors import commit
from training import cases
print(*(case(seed=5).trace().graph.root.hex() for case in cases.CASES.values()))
print(*(commit(tensor).hex() for tensor in cases.positions().trace().parameters))
"""


def test_another_processor_with_other_weights_and_data_gets_the_same_roots_and_constants() -> None:
    step = positions().trace()
    assert {"aten.sin.default", "aten.exp.default"} <= {node.target for node in step.graph.nodes}
    processor = {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
    environment = (
        os.environ
        | processor
        | {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONHASHSEED": "77",
        }
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ELSEWHERE],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    constants = [commit(tensor).hex() for tensor in step.parameters]
    assert run.stdout.split() == [traced(name).graph.root.hex() for name in CASES] + constants


def test_the_root_depends_on_structure_and_not_on_names() -> None:
    class Renamed(nn.Module):
        def __init__(self, slope: float) -> None:
            super().__init__()
            self.zeta, self.alpha = nn.Linear(6, 8), nn.LayerNorm(8)
            self.last, self.slope = nn.Linear(8, 3), slope

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.alpha(torch.tanh(self.zeta(x)) * self.slope))

    def root(slope: float, rate: float = 0.1) -> bytes:
        module = Renamed(slope)
        optimizer = torch.optim.SGD(module.parameters(), lr=rate, momentum=0.9, weight_decay=0.01)
        data = (torch.randn(10, 6), torch.randint(3, (10,)))
        return trace_step(module, classified, describe(optimizer), data, BATCH, log_capacity=32).graph.root

    module = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 3))
    assert root(0.5) == root(0.5) and root(0.5) != root(0.25) and root(0.5) != root(0.5, 0.2)
    case = mlp()
    given = describe(torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01))
    again = trace_step(module, classified, given, case.dataset, BATCH, log_capacity=32)
    assert again.graph.root == traced("mlp").graph.root


def test_tracing_changes_nothing() -> None:
    case = cnn()
    before = {name: tensor.clone() for name, tensor in case.module.state_dict().items()}
    state = torch.random.get_rng_state()
    case.trace()
    assert all(torch.equal(before[name], tensor) for name, tensor in case.module.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())


def test_tied_weights_are_one_parameter() -> None:
    graph = traced("gpt2")
    names = [p.name for group in graph.layout.groups for bank in group.banks for p in bank.places]
    assert len(names) == len(set(names)) and "lm_head.weight" not in names
    assert sum("wte" in name for name in names) == 1


def test_frozen_parameters_are_parameters_of_the_graph() -> None:
    case = mlp()
    case.module[0].weight.requires_grad_(False)
    trained = [p for p in case.module.parameters() if p.requires_grad]
    optimizer = describe(torch.optim.SGD(trained, lr=0.1))
    step_graph = trace_step(case.module, case.loss, optimizer, case.dataset, BATCH)
    held = [p for p in step_graph.parameters if p.data_ptr() == case.module[0].weight.data_ptr()]
    assert len(held) == 1


class _Writes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 3)
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        self.seen += y.detach().mean(0)
        return y + self.seen


def _two() -> tuple[nn.Module, nn.Parameter]:
    module = mlp().module
    return module, nn.Parameter(torch.randn(3))


def _sgd(module: nn.Module, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=0.1, **options)


def _scheduled() -> None:
    optimizer = _sgd(mlp().module)
    torch.optim.lr_scheduler.StepLR(optimizer, 2)
    describe(optimizer)


def _unused() -> None:
    module, extra = _two()
    module.register_parameter("extra", extra)
    _trace(module, describe(_sgd(module)))


def _foreign() -> None:
    module, extra = _two()
    _trace(module, describe(torch.optim.SGD([*module.parameters(), extra], lr=0.1)))


def _trace(
    module: nn.Module, optimizer: Any, loss: Any = classified, data: Any = None, batch: int = 4
) -> None:
    trace_step(module, loss, optimizer, mlp().dataset if data is None else data, batch)


REFUSED = {
    "evaluation": (lambda: _trace(mlp().module.eval(), mlp().description), "in evaluation mode"),
    "double": (lambda: _trace(m := mlp().module.double(), describe(_sgd(m))), "is torch.float64"),
    "adam": (lambda: describe(torch.optim.Adam(mlp().module.parameters())), "^Adam cannot be traced"),
    "nesterov": (lambda: describe(_sgd(mlp().module, momentum=0.9, nesterov=True)), "SGD with nesterov"),
    "amsgrad": (
        lambda: describe(torch.optim.AdamW(mlp().module.parameters(), amsgrad=True)),
        "AdamW with amsgrad",
    ),
    "clip": (lambda: describe(_sgd(mlp().module), clip_norm=0.0), "must be positive"),
    "schedule": (
        lambda: describe(_sgd(mlp().module), schedule=lambda step: 0.9**step),
        r"schedule= is not of tao\.training\.schedules",
    ),
    "scheduler": (_scheduled, "scheduler attached, which a recording does not run; give schedule="),
    "loss": (
        lambda: _trace(m := mlp().module, describe(_sgd(m)), nn.CrossEntropyLoss()),
        r"called as loss\(module, \*batch\) and fails .*; give a function such as lambda m, x, y",
    ),
    "unused": (_unused, "parameter extra gets no gradient"),
    "foreign": (_foreign, "a parameter that is not the module's"),
    "vector": (
        lambda: _trace(m := mlp().module, describe(_sgd(m)), lambda m, x, y: m(x)),
        "must return one float32 number",
    ),
    "constant": (
        lambda: _trace(m := mlp().module, describe(_sgd(m)), lambda m, x, y: x.sum()),
        "does not depend on any parameter",
    ),
    "uneven": (
        lambda: _trace(m := mlp().module, describe(_sgd(m)), data=(torch.zeros(5, 6), torch.zeros(4))),
        "equally many samples",
    ),
    "batch": (
        lambda: _trace(m := mlp().module, describe(_sgd(m)), batch=11),
        "a batch of 11 cannot be drawn",
    ),
    "writes": (lambda: _trace(m := _Writes(), describe(_sgd(m))), "it writes to a tensor that others see"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_training_step_is_refused(name: str) -> None:
    act, message = REFUSED[name]
    from tao.errors import UnsupportedOperator

    with pytest.raises((ModelError, UnsupportedOperator), match=message):
        act()


def _compiled_whole(case: Case) -> tuple[Any, Any]:
    return torch.compile(case.module), case.loss


def _compiled_in_place(case: Case) -> tuple[Any, Any]:
    case.module[0].compile()
    return case.module, case.loss


def _compiled_loss(case: Case) -> tuple[Any, Any]:
    return case.module, torch.compile(case.loss)


@pytest.mark.parametrize("compiled", [_compiled_whole, _compiled_in_place, _compiled_loss])
@pytest.mark.filterwarnings("error::UserWarning")
def test_what_is_compiled_has_the_graph_of_what_it_was_compiled_from(compiled: Any) -> None:
    case = mlp()
    module, loss = compiled(case)
    step_graph = trace_step(module, loss, case.description, case.dataset, BATCH, log_capacity=32)
    assert step_graph.graph.root == traced("mlp").graph.root
