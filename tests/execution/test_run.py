"""The executor gives eager's bits, at eager's memory, and refuses what does not fit."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import nn

from graph.models import CASES, case, exported
from tao.errors import ModelError, NoResult
from tao.execution import Executor
from tao.graph import export


@pytest.mark.parametrize("name", CASES)
def test_outputs_have_the_bits_of_eager_execution(name: str) -> None:
    outputs = Executor(*exported(name)).run(case(name).args)
    eager = case(name).eager()
    assert len(outputs) == len(eager)
    for ours, theirs in zip(outputs, eager, strict=True):
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)


@pytest.mark.parametrize("name", ["bert_eager", "resnet"])
def test_other_inputs_give_the_bits_of_eager_execution(name: str) -> None:
    torch.manual_seed(5)
    one = case(name)
    args = tuple(x.flip(-1) if x.is_floating_point() else x.roll(1, -1) for x in one.args)
    outputs = Executor(*exported(name)).run(args)
    with torch.no_grad():
        eager = list(one.module(*args).values())
    assert all(map(torch.equal, outputs, eager))


def test_parameters_loaded_in_another_layout_give_the_same_bits() -> None:
    graph, parameters = exported("resnet_channels_last")
    rows = [p.clone(memory_format=torch.contiguous_format) for p in parameters]
    assert any(p.stride() != r.stride() for p, r in zip(parameters, rows, strict=True))
    outputs = Executor(graph, rows).run(case("resnet_channels_last").args)
    assert all(map(torch.equal, outputs, case("resnet_channels_last").eager()))


def test_values_are_freed_after_their_last_use() -> None:
    class Chain(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(6):
                x = x.relu()
            return x

    graph, _ = export(Chain(), (torch.ones(4),))
    alive: list[weakref.ref] = []
    most = 0

    def count(index, node, operands, outputs):
        nonlocal most
        alive.append(weakref.ref(outputs[0]))
        most = max(most, sum(ref() is not None for ref in alive))
        return outputs

    assert len(graph) == 6
    Executor(graph, ()).advance(0, (torch.ones(4),), 6, override=count)
    assert most <= 3


def test_inserted_copies_share_memory_with_what_they_copy() -> None:
    class Scores(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a @ b

    b = torch.randn(3, 4)
    graph, _ = export(Scores(), (torch.randn(2, 3), b))
    assert [node.operator for node in graph.nodes] == ["copy", "contraction"]
    (copied,) = (value for value in graph.live(1) if value not in graph.live(0))
    state = Executor(graph, ()).advance(0, (torch.randn(2, 3), b), 1)
    assert state[graph.live(1).index(copied)].data_ptr() == b.data_ptr()


def test_misfits_are_refused_by_name() -> None:
    graph, parameters = exported("mlp")
    with pytest.raises(ModelError, match="5 parameters, not 4"):
        Executor(graph, parameters[1:])
    with pytest.raises(ModelError, match=r"parameter 1 must be float32\[8\], but is float64\[8\]"):
        Executor(graph, (parameters[0], parameters[1].double(), *parameters[2:]))
    executor = Executor(graph, parameters)
    with pytest.raises(ModelError, match="1 values are live at cut 0, but 2"):
        executor.run((torch.zeros(4, 6), torch.zeros(4, 6)))
    with pytest.raises(ModelError, match=r"input 0 must be float32\[4, 6\], but is float32\[4, 7\]"):
        executor.run((torch.zeros(4, 7),))
    with pytest.raises(ModelError, match="input 0 .* is no torch.Tensor; convert the ndarray with torch.as_"):
        executor.run((torch.zeros(4, 6).numpy(),))
    (value, *_) = graph.live(1)
    with pytest.raises(ModelError, match=f"value {value} must be .*, but is bool"):
        executor.advance(1, (torch.zeros(1, dtype=torch.bool),) * len(graph.live(1)), 2)
    with pytest.raises(ModelError, match="cuts 3 to 2 are not in order"):
        executor.advance(3, (), 2)


def test_values_that_an_operator_refuses_are_an_error_with_its_node() -> None:
    graph, parameters = exported("tied")
    with pytest.raises(NoResult, match=r"node 0 \(aten\.embedding\.default\) refuses its operands"):
        Executor(graph, parameters).run((torch.full((2, 3), 11),))


def test_a_kernel_that_fails_for_want_of_memory_is_no_refusal(monkeypatch) -> None:
    graph, parameters = exported("tied")
    executor = Executor(graph, parameters)

    def fail(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(executor._step(0), "_target", fail)
    with pytest.raises(ModelError, match="cannot be computed: DefaultCPUAllocator") as caught:
        executor.run((torch.zeros(2, 3, dtype=torch.int64),))
    assert not isinstance(caught.value, NoResult)
