"""What becomes of a module: the same graph whatever its names, weights and process, or one clear error."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from graph.golden import PATH
from graph.models import CASES, TiedHead, build, exported
from tao.errors import ModelError, UnsupportedOperator
from tao.execution import Executor
from tao.graph import Graph, export, operators

GOLDEN = json.loads(PATH.read_text())


class Lambda(nn.Module):
    """Applies a function to (itself, x)."""

    def __init__(self, function: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.scale = nn.Parameter(torch.full((4,), 2.0))
        self.register_buffer("count", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


class Outer(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def graph_of(function: Callable[[nn.Module, Tensor], Tensor], *shape: int) -> Graph:
    return export(Lambda(function), (torch.zeros(shape or (3, 4)),))[0]


def targets(graph: Graph) -> list[str]:
    return [node.target for node in graph.nodes]


@pytest.mark.parametrize("name", CASES)
def test_root_equals_the_committed_one(name: str) -> None:
    assert exported(name)[0].root.hex() == GOLDEN[name]


def test_another_process_with_strict_tracing_gives_the_same_roots() -> None:
    names = ["shapes", "bert_eager", "qwen3_eager"]
    script = Path(__file__).with_name("golden.py")
    done = subprocess.run(
        [sys.executable, script, "--strict", *names], capture_output=True, text=True, check=True, timeout=300
    )
    assert json.loads(done.stdout) == {name: GOLDEN[name] for name in names}


@pytest.mark.parametrize("name", ["mlp", "shapes", "gpt2_eager"])
def test_weights_do_not_change_the_root(name: str) -> None:
    other = build(name, seed=1)
    assert export(other.module, other.args, other.kwargs)[0].root.hex() == GOLDEN[name]


def test_names_of_modules_do_not_change_the_root() -> None:
    plain, wrapped = build("mlp"), build("mlp")
    graph, _ = export(Outer(Outer(wrapped.module)), wrapped.args)
    assert graph.root == export(plain.module, plain.args)[0].root
    assert graph.names[0] == "inner.inner.first:aten.linear.default"


@pytest.mark.parametrize(
    "change",
    [
        lambda m, x: torch.add(x, m.scale, alpha=3),
        lambda m, x: torch.add(x, m.scale),
        lambda m, x: torch.add(m.scale, x),
        lambda m, x: functional.leaky_relu(x, 0.1),
        lambda m, x: functional.leaky_relu(x, 0.1000000001),
        lambda m, x: functional.gelu(x),
        lambda m, x: functional.gelu(x, approximate="tanh"),
        lambda m, x: x.to(torch.float64),
        lambda m, x: x.to(torch.float16),
        lambda m, x: x.sum(0),
        lambda m, x: x.sum(1),
        lambda m, x: x.sum(1, keepdim=True),
        lambda m, x: x[1:].neg(),
        lambda m, x: x[:2].neg(),
        lambda m, x: x.max(1).values,
        lambda m, x: x.max(1).indices,
        lambda m, x: x.topk(2).values,
        lambda m, x: x.topk(3).values,
    ],
)
def test_any_change_of_a_call_changes_the_root(
    change: Callable[[nn.Module, Tensor], Tensor],
    seen: dict[bytes, object] = {},  # noqa: B006
) -> None:
    root = graph_of(change).root
    assert seen.setdefault(root, change) is change


def test_shape_and_dtype_of_the_input_change_the_root() -> None:
    roots = {export(Lambda(lambda m, x: x * 2), (x,))[0].root for x in (
        torch.zeros(3, 4), torch.zeros(4, 3), torch.zeros(12), torch.zeros(3, 4, dtype=torch.float64)
    )}  # fmt: skip
    assert len(roots) == 4


def test_views_vanish_and_reshape_across_them_leaves_one_copy() -> None:
    graph = graph_of(lambda m, x: x.t().unsqueeze(0)[:, 1:].squeeze(0).neg())
    assert targets(graph) == ["aten.neg.default"]
    view = graph.nodes[0].operands[0].view
    assert (view.shape, view.strides, view.offset) == ((3, 3), (1, 4), 1)
    assert targets(graph_of(lambda m, x: x.t().reshape(12).neg())) == ["copy", "aten.neg.default"]


def test_identities_dead_code_and_assertions_vanish() -> None:
    def function(m: nn.Module, x: Tensor) -> Tensor:
        unused = x.exp().sum()  # noqa: F841
        x = functional.dropout(x.detach().clone().contiguous().to(torch.float32), 0.5, training=m.training)
        return x.view_as(x).relu()

    assert targets(graph_of(function)) == ["aten.relu.default"]


def test_equal_subexpressions_merge() -> None:
    graph = graph_of(lambda m, x: (x * m.scale).exp() + (x * m.scale).exp())
    assert targets(graph) == ["aten.mul.Tensor", "aten.exp.default", "aten.add.Tensor"]


def test_subgraphs_without_inputs_become_one_parameter() -> None:
    def mask(x: Tensor) -> Tensor:
        steps = torch.arange(4)
        return torch.where(steps[None] <= steps[:, None] + 1, 0.0, -1e9)[:3] + torch.zeros_like(x)

    graph, parameters = export(Lambda(lambda m, x: x + mask(x) + mask(x)), (torch.ones(3, 4),))
    assert targets(graph) == ["aten.add.Tensor", "aten.add.Tensor"]
    assert len(parameters) == 1
    assert torch.equal(parameters[0], mask(torch.ones(3, 4)))


def test_tied_weights_are_one_parameter_and_equal_ones_are_two() -> None:
    tied, equal = TiedHead(), TiedHead()
    equal.head.weight = nn.Parameter(equal.embedding.weight.detach().clone())
    ids = torch.tensor([1, 2])
    assert export(tied, (ids,))[0].parameter_count == 1
    assert export(equal, (ids,))[0].parameter_count == 2


def test_parameters_are_numbered_by_first_use() -> None:
    graph, parameters = exported("bert_eager")
    used = [graph.parameter_of(o.value) for node in graph.nodes for o in node.operands]
    assert list(dict.fromkeys(p for p in used if p is not None)) == list(range(len(parameters)))


def test_outputs_that_are_inputs_parameters_views_or_equal_are_copied() -> None:
    graph = graph_of(lambda m, x: (x, m.scale, x.t(), (y := x.exp()), y))
    assert targets(graph) == ["aten.exp.default", "copy", "copy", "copy", "copy"]
    assert len(set(graph.outputs)) == 5


def test_unused_input_stays_an_input() -> None:
    graph, _ = export(Lambda2(), (torch.zeros(2), torch.zeros(3)))
    assert graph.input_count == 2 and graph.live(0) == (0, 1)


class Lambda2(nn.Module):
    def forward(self, x: Tensor, unused: Tensor) -> Tensor:
        return x.relu()


def test_contractions_name_their_reduction_and_copies_stand_before_scattered_operands() -> None:
    graph = graph_of(lambda m, x: x.t() @ x)
    assert [node.operator for node in graph.nodes] == ["copy", "contraction"]
    assert graph.nodes[1].reduction == 3
    scaled = graph_of(lambda m, x: torch.addmm(m.scale, x.t(), x, alpha=2.0))
    assert targets(scaled) == ["aten.addmm.default"]
    assert scaled.nodes[0].operator == "aten.addmm.default" and scaled.nodes[0].maps == (None,) * 3


def test_rows_of_one_repeated_number_are_copied_whole() -> None:
    x = torch.arange(12.0).view(3, 4)
    for function in (
        lambda m, x: x[:, :1].expand(3, 7).sum(-1),
        lambda m, x: torch.softmax(x[:1, :1].expand(5, 7), -1),
    ):
        graph, parameters = export(Lambda(function), (x,))
        copy, reading = graph.nodes
        assert copy.operator == "copy" and graph.types[copy.outputs[0]].row_length == 7 == reading.reduction
        (found,) = Executor(graph, parameters).run((x,))
        assert found.equal(function(None, x))


def test_contractions_of_other_dtypes_are_left_to_the_vote() -> None:
    graph, _ = export(Lambda(lambda m, x: x @ x.t()), (torch.zeros(3, 4, dtype=torch.float64),))
    assert [node.operator for node in graph.nodes] == ["aten.matmul.default"]


def test_every_supported_operator_exists_and_neither_writes_nor_draws() -> None:
    for name in sorted(operators.SUPPORTED):
        overload = operators.resolve(name)
        assert not overload._schema.is_mutable and not overload.is_view, name
        drawing = torch.Tag.nondeterministic_seeded in overload.tags
        assert not drawing or name == operators.ATTENTION, name


UNTAGGED = {
    f"aten.{name}"
    for name in """
    hardswish.default where.ScalarOther where.ScalarSelf __and__.Tensor __or__.Tensor __xor__.Tensor
    _to_copy.default
    """.split()
}
"""Pointwise by what they do, although torch does not say so."""


def test_pointwise_table_holds_only_what_torch_calls_pointwise() -> None:
    tags = {name: operators.resolve(name).tags for name in operators.POINTWISE}
    assert {name for name, tag in tags.items() if torch.Tag.pointwise not in tag} <= UNTAGGED


def write_buffer(m: nn.Module, x: Tensor) -> Tensor:
    m.count.add_(1)
    return x + m.count


def write_input(m: nn.Module, x: Tensor) -> Tensor:
    return x.add_(1) * 2


WHERE = r" in module inner\.inner"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda m, x: x + torch.rand_like(x), rf"aten\.rand_like\.default{WHERE}: it draws random numbers"),
        (lambda m, x: functional.dropout(x, 0.5, True), rf"native_dropout\.default{WHERE}: it draws random"),
        (
            lambda m, x: functional.scaled_dot_product_attention(x, x, x, dropout_p=0.5),
            rf"scaled_dot_product_attention\.default{WHERE}: it drops attention weights at random",
        ),
        (lambda m, x: x[x > 0] * 2, rf"aten\.index\.Tensor{WHERE}: the shape of its result depends on val"),
        (lambda m, x: x * x.sum().item(), rf"aten\.item\.default{WHERE}: it reads a tensor as a number"),
        (lambda m, x: x * 2 if x.sum() > 0 else x, rf"branch on a tensor's value{WHERE} .*use torch\.where"),
        (
            lambda m, x: torch.cond(x.sum() > 0, lambda y: y * 2, lambda y: y + 1, (x,)),
            rf"cond{WHERE}: control flow is not supported",
        ),
        (write_buffer, rf"aten\.add\.Tensor{WHERE}: it writes to inner\.inner\.count \(buffer mutation\)"),
        (write_input, rf"aten\.add\.Tensor{WHERE}: it writes to x \(user input mutation\)"),
        (lambda m, x: (x.to(torch.complex64) * 2).abs(), rf"_to_copy\.default{WHERE}: dtype complex64"),
        (
            lambda m, x: torch.special.i1(x),
            rf"special_i1\.default{WHERE}: it is not .*; express it by others",
        ),
        (lambda m, x: x.as_strided((2, 2), (1, 1)) * 2, rf"as_strided\.default{WHERE}: it depends on memory"),
        (lambda m, x: x.view(torch.int32) * 2, rf"aten\.view\.dtype{WHERE}: it depends on memory layout"),
        (lambda m, x: x[:0], rf"aten\.slice\.Tensor{WHERE}: its result is empty"),
    ],
)
def test_unsupported_modules_get_a_sentence_with_operator_and_path(
    function: Callable[[nn.Module, Tensor], Tensor], message: str
) -> None:
    with pytest.raises(UnsupportedOperator, match=message) as caught:
        export(Outer(Outer(Lambda(function))), (torch.ones(3, 4),))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_recurrent_network_without_dropout_is_not_said_to_draw(kind: type[nn.Module]) -> None:
    with pytest.raises(UnsupportedOperator, match="it is not in the set of supported operators"):
        export(kind(4, 2).eval(), (torch.ones(3, 4),))


def test_modules_without_tensors_are_refused() -> None:
    with pytest.raises(ModelError, match="returns no tensor"):
        graph_of(lambda m, x: 3)
    with pytest.raises(ModelError, match="input 'x' is empty, of shape .*; trace with at least one"):
        graph_of(lambda m, x: x.sum(), 0, 4)


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(ModelError, match=r"a function cannot be traced; give a torch\.nn\.Module"):
        export(lambda x: x + 1, (torch.ones(2),))


def test_a_compiled_module_has_the_graph_of_the_module() -> None:
    module, args = nn.Linear(4, 3), (torch.ones(2, 4),)
    assert export(torch.compile(module), args)[0].root == export(module, args)[0].root


def test_of_a_trace_that_fails_nothing_is_told_but_its_sentence_and_what_the_module_writes(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def branching(module: nn.Module, x: Tensor) -> Tensor:
        print("the module's own", file=sys.stderr)
        return x * 2 if x.sum() > 0 else x

    log = logging.getLogger("torch")
    monkeypatch.setattr(log, "handlers", [caplog.handler])
    level = log.level
    for module in (nn.Linear(4, 3), Lambda(branching)):
        with pytest.raises(UnsupportedOperator):
            export(module, (torch.ones(2, 5),))
    assert not caplog.records and log.level == level
    assert set(capsys.readouterr().err.splitlines()) == {"the module's own"}


def test_of_what_follows_from_constants_only_exact_and_single_operations_are_folded() -> None:
    """Kernels of others differ by processor, and with them the constants."""

    def forward(module: nn.Module, x: Tensor) -> Tensor:
        places = torch.arange(4) * 2
        return x + torch.sin(places.float() / 3) + (1.0 - torch.ones(4, 4).tril()).sum(1)

    graph = graph_of(forward)
    assert targets(graph) == [
        "aten.sin.default",
        "aten.add.Tensor",
        "aten.sum.dim_IntList",
        "aten.add.Tensor",
    ]


def test_tracing_warns_of_what_the_module_does_and_of_nothing_else() -> None:
    def loud(module: nn.Module, x: Tensor) -> Tensor:
        warnings.warn("the module's own", FutureWarning, stacklevel=1)
        return x * 2

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        graph_of(loud)
    assert {str(warning.message) for warning in told} == {"the module's own"}
