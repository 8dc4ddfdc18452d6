"""A disputed step replayed: the states at its cuts, what is blamed, and what memory they take."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tao.graph import Graph
from tao.graph.log_format import ELEMENT_BITS, empty
from tao.tensors import commit
from tao.training import kernels
from tao.training.examine import StepReplay
from tao.training.kernels import is_logged
from tao.training.replay import Replay
from training.cases import CASES, SEED, traced
from training.steps import perceptron

SMALL = {"batch": 8, "inputs": 16, "hidden": 12, "classes": 4}


class Memory(TorchDispatchMode):
    """Counts the bytes of storages that operators make: those alive now, and the most at any time."""

    def __init__(self) -> None:
        super().__init__()
        self._alive: dict[StorageWeakRef, int] = {}
        self.most = 0

    @property
    def now(self) -> int:
        self._alive = {held: size for held, size in self._alive.items() if not held.expired()}
        return sum(self._alive.values())

    def __torch_dispatch__(self, call, types, args=(), kwargs=None):
        given = {StorageWeakRef(t.untyped_storage()) for t in tree_leaves(args) if isinstance(t, Tensor)}
        result = call(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and StorageWeakRef(tensor.untyped_storage()) not in given:
                self._alive[StorageWeakRef(tensor.untyped_storage())] = tensor.untyped_storage().nbytes()
        self.most = max(self.most, self.now)
        return result


def bytes_of(graph: Graph, values: object) -> int:
    sizes = {value: graph.types[value] for value in values}
    return sum(kind.numel * kind.dtype.torch.itemsize for kind in sizes.values())


def replayable(name: str) -> tuple[Replay, tuple[Tensor, ...], Tensor]:
    """A network's step, the state before it and its log."""
    case, step = CASES[name](), traced(name)
    replay, state = Replay(step.graph, step.parameters), step.pack(case.module, case.optimizer, SEED)
    return replay, state, replay.record(state)[1]


def changed_values(replay: Replay, state: tuple[Tensor, ...], log: Tensor) -> list[int]:
    """Values that are others at the end of a replay than when they first lived at a cut."""
    seen: dict[int, tuple[Tensor, bytes]] = {}

    def keep(cut: int, values: list[Tensor]) -> None:
        for value, tensor in zip(replay.graph.live(cut), values, strict=True):
            seen.setdefault(value, (tensor, tensor.numpy().tobytes()))

    for cuts in (None, range(0, len(replay.graph), 7)):  # node by node, and in groups of nodes
        replay.advance(0, state, len(replay.graph), keep=keep, log=log, cuts=cuts)
    return [value for value, (tensor, first) in seen.items() if tensor.numpy().tobytes() != first]


@pytest.mark.parametrize("name", CASES)
def test_no_operator_writes_to_a_value_that_has_been_computed(name, monkeypatch):
    replay, state, log = replayable(name)
    before = [commit(tensor) for tensor in state]
    assert changed_values(replay, state, log) == []
    assert before == [commit(tensor) for tensor in state]


def test_an_operator_that_writes_to_its_input_would_be_noticed(monkeypatch):
    graph, parameters, state = perceptron(**SMALL)
    replay = Replay(graph, parameters)
    log = replay.record(state)[1]
    honest = kernels.elementary

    def careless(name, x, first=0):
        piece = honest(name, x, first)
        x.add_(1)
        return piece

    monkeypatch.setattr(kernels, "elementary", careless)
    assert changed_values(replay, state, log) != []


@pytest.mark.parametrize("name", CASES)
def test_states_asked_for_in_any_order_are_those_of_the_whole_step(name):
    replay, state, log = replayable(name)
    states: dict[int, list[Tensor]] = {}
    size = len(replay.graph)
    replay.advance(0, state, size, keep=states.__setitem__, log=log)
    replayed = StepReplay(replay, state, log, 0)
    assert replayed.blamed is None
    for cut in (size, size // 2, 0, 5, size // 2 + 3, size - 1, size // 2):
        own = replayed.state(cut)
        assert [commit(a) for a in own] == [commit(b) for b in states[cut]]


def test_states_share_what_lives_on_and_keep_nothing_that_nobody_asked_for():
    replay, state, log = replayable("gpt2")
    graph, size = replay.graph, len(replay.graph)
    cuts = range(0, size + 1, 9)
    with Memory() as memory:
        replayed = StepReplay(replay, state, log, 0)
        alone = memory.most
        assert memory.now < 100  # of a step that is replayed, nothing is left but the state given
        for cut in cuts:
            replayed.state(cut)
    made = {value for cut in cuts for value in graph.live(cut)} - set(graph.live(0))
    copies = sum(bytes_of(graph, graph.live(cut)) for cut in range(size + 1))
    print(
        f"replay alone {alone:,}, {len(cuts)} states {memory.now:,}, most {memory.most:,}, copied {copies:,}"
    )
    # Views of a state's or a parameter's bytes are counted as values, and made of none.
    assert memory.now <= bytes_of(graph, made)
    assert memory.most <= bytes_of(graph, made) + alone
    assert 20 * memory.most < copies


def test_a_wrong_entry_is_blamed_on_its_node_and_states_before_it_are_there():
    graph, parameters, state = perceptron(**SMALL)
    replay = Replay(graph, parameters, refuse_stray=False)
    log = empty(replay.capacity)
    node = [i for i, node in enumerate(graph.nodes) if is_logged(node)][-1]
    log[:, 0] = torch.tensor([node << ELEMENT_BITS, 0x4B000000])
    replayed = StepReplay(replay, state, log, 0)
    assert replayed.blamed == node
    assert len(replayed.state(node)) == len(graph.live(node)) and replayed.state(node + 1) is None
    backwards = log.flip(1)
    assert (StepReplay(replay, state, backwards, 0).blamed, StepReplay(replay, state, log, 0).state(0)) == (
        0,
        state,
    )


def test_infinities_within_a_step_are_no_end_of_the_run():
    """Masks are made of them; what is carried to the next step must be finite."""
    from training.steps import Tape

    tape = Tape(16)
    x = tape.input(torch.tensor([1.0, -1.0, 2.0]))
    masked = tape("where.ScalarOther", tape("gt.Scalar", x, 0.0), x, -math.inf)
    graph = tape.finish(tape("exp.default", tape("mul.Scalar", masked, 2.0)))
    replay = Replay(graph, tape.parameters)
    (outputs, *_), log = replay.record((x.tensor,))
    assert outputs[1] == 0 and outputs.isfinite().all()
    replayed = StepReplay(replay, (x.tensor,), log, 0)
    infinite = [cut for cut in range(len(graph) + 1) if any(t.isinf().any() for t in replayed.state(cut))]
    assert replayed.blamed is None and infinite
