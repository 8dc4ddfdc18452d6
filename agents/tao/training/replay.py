"""Runs one step of a training run, recording how it rounds or replaying how another device rounded.

Every float value lies on the record grid and is held as float32. Single operations are done in float32, which
gives what float64 rounded to float32 gives; sums and logged nodes are computed in float64 and rounded piece by
piece, sums correctly.
Runs of elementwise nodes are computed block by block, so that what lies between them never leaves the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tao.errors import ModelError
from tao.execution.kernels import refuses_values
from tao.execution.layout import view_operand
from tao.execution.run import Executor, Override
from tao.graph.canonical import Graph
from tao.graph.operators import COPY, LOG
from tao.training import kernels, memory, sums
from tao.training.calls import Call, elementwise_runs
from tao.training.kernels import COMPUTED, Piece
from tao.training.log import Writer, read
from tao.training.policies import Correction, Follower, NoResult, NotFinite, Policy, Recorder, ReplayError
from tao.training.rounding import FLOAT32_BITS, require_subnormals

_BLOCK = {"cpu": 1 << 17}
_PIECE = {"cpu": 1 << 20}
_ACCELERATOR_ELEMENTS = 1 << 24


class Replay(Executor):
    """A step's graph ready to be recorded or replayed, whole or from one cut to another.

    Values in and out are float32, integers and booleans as the graph has them. What is given is moved to the device
    of the parameters.
    """

    def __init__(
        self,
        graph: Graph,
        parameters: Sequence[Tensor],
        bits: int = FLOAT32_BITS,
        block: int | None = None,
        watch: Iterable[int] = (),
        refuse_stray: bool = True,
    ) -> None:
        """bits: of significand of the record grid. block: elements of a run of elementwise nodes computed at
        a time. watch: values that are kept in `watched` whenever a run computes them. refuse_stray: whether an
        entry of an element that can have none raises; no contract minds such an entry, and it does nothing.

        Raises ModelError where the parameters are not those of the graph, a rounded node is of no known kind or
        this process takes subnormal numbers for zeros.
        """
        require_subnormals(torch.get_num_threads())
        super().__init__(graph, parameters)
        self.bits, self._block, self._refuse_stray = bits, block, refuse_stray
        self.watched: dict[int, Tensor | None] = dict.fromkeys(watch)
        self.recorder: Callable[[Writer, int], Policy] = Recorder
        self._calls: dict[int, Call] = {}
        self._plans: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self.log_node: int | None = None
        for index, node in enumerate(graph.nodes):
            if node.target == LOG:
                self.log_node = index
            if kernels.comes_in_pieces(node) and not kernels.replays(node):
                raise ModelError(f"node {index} ({node.operator}, {node.target}) cannot be replayed")

    @property
    def device(self) -> torch.device:
        """Where steps are computed."""
        return self._parameters[0].device if self._parameters else torch.device("cpu")

    @property
    def capacity(self) -> int:
        """Entries that the step's log holds. Raises ModelError where the graph has no log node."""
        if self.log_node is None:
            raise ModelError(f"the graph has no node {LOG}, so nothing can be recorded or replayed")
        return self.graph.types[self.graph.nodes[self.log_node].outputs[0]].shape[1]

    def record(
        self,
        inputs: Sequence[Tensor],
        step: int = 0,
        override: Override | None = None,
        keep: Callable[[int, list[Tensor]], None] | None = None,
        cuts: Iterable[int] | None = None,
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """The step's outputs, and its log, int64[2, capacity]. override: may replace the outputs of a node.
        keep, cuts: as in `advance`; a log among the values kept is filled in when the step ends.

        Raises LogError where the log is too small, NotFinite where a sum, a logged result or the state after
        the step is not finite, and ModelError where the inputs do not fit.
        """
        writer = Writer(self.capacity, step, self.graph.names)
        state = tuple(inputs)
        log = torch.zeros(2, self.capacity, dtype=torch.int64, device=self.device)
        recorder = self.recorder(writer, self.bits)
        outputs = self._run(0, state, len(self.graph), recorder, log, step, override, keep, cuts)
        self._check_finite(outputs, step)
        writer.finish(log)
        return outputs, log

    def replay(
        self, inputs: Sequence[Tensor], log: Tensor, step: int = 0
    ) -> tuple[tuple[Tensor, ...], list[Correction]]:
        """The step's outputs as the log's trainer rounded them, and where that was not as here.

        Raises LogError for a log that is out of order, ReplayError for an entry that no honest trainer writes
        and NotFinite, a kind of it, for a sum or a logged result that is not finite, ModelError where the
        inputs do not fit.
        """
        follower = self._follower(log, step)
        return self.run_with(follower, inputs, log, step), follower.corrections

    def run_with(
        self, policy: Policy, inputs: Sequence[Tensor], log: Tensor, step: int = 0
    ) -> tuple[Tensor, ...]:
        """The step's outputs, where a policy rounds the results of sums and logged nodes.

        log: int64[2, capacity], what the graph's log node has as output. Raises NotFinite where the policy says
        that a result is not finite, ModelError where the inputs do not fit, and what the policy raises.
        """
        return self._run(0, tuple(inputs), len(self.graph), policy, log, step)

    def advance(
        self,
        start: int,
        state: Sequence[Tensor],
        stop: int,
        override: Override | None = None,
        keep: Callable[[int, list[Tensor]], None] | None = None,
        *,
        log: Tensor | None = None,
        step: int = 0,
        cuts: Iterable[int] | None = None,
        refuse_implausible: bool = True,
    ) -> tuple[Tensor, ...]:
        """The values live at cut `stop`, given those live at cut `start`, replayed with a log.

        log: wanted only where the segment contains the log node; elsewhere the state holds it. keep: called
        with each of `cuts` from `start` to `stop` (all of them by default) and the values live there.
        refuse_implausible: whether an entry outside its zone raises; else it is not obeyed, which is how the
        states of a dispute about it are computed. Raises as `replay` does otherwise.
        """
        if self.log_node is not None and self.log_node < start:
            live = self.graph.live(start)
            value = self.graph.nodes[self.log_node].outputs[0]
            log = state[live.index(value)] if value in live and len(live) == len(state) else None
        follower = self._follower(log, step, refuse_implausible)
        return self._run(start, state, stop, follower, log, step, override, keep, cuts)

    def _follower(self, log: Tensor | None, step: int, refuse_implausible: bool = True) -> Follower:
        if log is None:
            return Follower(read(torch.empty(2, 0, dtype=torch.int64)), self.bits, step, self.graph.names)
        entries = read(log, step)
        if self.log_node is not None and log.shape[1] != self.capacity:
            raise ReplayError(f"the log of step {step} is {list(log.shape)}, not [2, {self.capacity}]")
        for node in np.unique(entries.nodes).tolist() if self._refuse_stray else ():
            most = int(entries.of(node)[0][-1])
            logged = node < len(self.graph) and kernels.is_logged(self.graph.nodes[node])
            if not logged or most >= self.graph.types[self.graph.nodes[node].outputs[0]].numel:
                what = "has no such element" if logged else "is not a logged node"
                raise ReplayError(f"the log of step {step} names node {node}, element {most}; it {what}")
        return Follower(entries, self.bits, step, self.graph.names, refuse_implausible)

    def _run(
        self,
        start: int,
        state: Sequence[Tensor],
        stop: int,
        policy: Policy,
        log: Tensor | None,
        step: int,
        override: Override | None = None,
        keep: Callable[[int, list[Tensor]], None] | None = None,
        cuts: Iterable[int] | None = None,
    ) -> tuple[Tensor, ...]:
        require_subnormals()
        env = self._enter(start, state, stop)
        del state
        kept = set() if keep is None else set(range(start, stop + 1) if cuts is None else cuts)
        context = _Context(self, policy, log, step)
        with torch.no_grad():
            for first, last in self._plan(start, stop, kept, override is not None):
                if keep is not None and first in kept:
                    for value in self.graph.live(first):
                        env[value] = env[value].contiguous()  # once, however many cuts it is kept at
                    keep(first, [env[value] for value in self.graph.live(first)])
                if override is None:
                    context.run(first, last, env)
                else:
                    self._run_overridden(context, first, env, override)
                for index in range(first, last):
                    for value in self.graph.releases[index]:
                        if value in self.watched:
                            self.watched[value] = env[value]
                        env[value] = None
        result = [env[value].contiguous() for value in self.graph.live(stop)]
        if keep is not None and stop in kept:
            keep(stop, result)
        return tuple(result)

    def _enter(self, start: int, state: Sequence[Tensor], stop: int) -> list[Any]:
        return super()._enter(start, [tensor.to(self.device) for tensor in state], stop)

    def _check_finite(self, outputs: Sequence[Tensor], step: int) -> None:
        """Raises NotFinite for a state that is not finite, naming the node. Within a step infinities may be
        honest: masks are made of them."""
        makers = {value: index for index, node in enumerate(self.graph.nodes) for value in node.outputs}
        last = zip(self.graph.live(len(self.graph)), outputs, strict=True)
        computed = [(makers[value], tensor) for value, tensor in last if value in makers and tensor.numel()]
        for index, tensor in sorted(computed, key=lambda item: item[0]):
            if tensor.is_floating_point() and not bool(torch.stack(tensor.aminmax()).isfinite().all()):
                raise NotFinite(step, index, self.graph.names[index])

    def _run_overridden(self, context: _Context, index: int, env: list[Any], override: Override) -> None:
        node = self.graph.nodes[index]
        operands = [view_operand(env[o.value], o) for o in node.operands]
        context.run(index, index + 1, env)
        outputs = tuple(env[value] for value in node.outputs)
        changed = self._overridden(override, index, operands, outputs)
        for value, tensor in zip(node.outputs, changed, strict=True):
            env[value] = tensor

    def _plan(self, start: int, stop: int, cuts: set[int], single: bool) -> list[tuple[int, int]]:
        """Ranges of nodes to run at once: no cut lies within one."""
        if single:
            return [(index, index + 1) for index in range(start, stop)]
        ends = sorted({start, stop, *(cut for cut in cuts if start < cut < stop)})
        plan: list[tuple[int, int]] = []
        for first, last in zip(ends, ends[1:], strict=False):
            if (first, last) not in self._plans:
                self._plans[first, last] = list(elementwise_runs(self.graph, first, last))
            plan += self._plans[first, last]
        return plan

    def results(self, index: int, state: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The float64 results of a rounded node before rounding, and at least tau of each, both flat; of a sum
        its rounded values, and zeros.

        state: the values live before the node. Raises ModelError where they do not fit.
        """
        env = self._enter(index, state, index)
        node, call = self.graph.nodes[index], self.call_of(index)
        tensors = [view_operand(env[o.value], o) for o in call.operands]
        count = self.graph.types[node.outputs[0]].numel
        if not kernels.comes_in_pieces(node):
            return call.in_float64(tensors).reshape(-1).cpu(), torch.zeros(count, dtype=torch.float64)
        results, tau = torch.zeros(2, count, dtype=torch.float64, device=self.device)
        if call.function is not None:
            pieces: Iterable[Piece] = [kernels.elementary(call.function, tensors[0])]
        else:
            pieces = COMPUTED[kernels.name_of(node)](node, tensors, count + 1)
        for piece in pieces:
            places = torch.arange(piece.f.numel(), device=self.device)
            elements, f = piece.elements(places), piece.f.reshape(-1)
            if piece.terms is not None:
                values = torch.empty(piece.f.shape, dtype=torch.float32, device=self.device)
                sums.settle(piece, self.bits, values)
                results[elements] = values.double().view(-1)
            else:
                results[elements] = f
                tau[elements] = piece.zone().widened().at(places, f)
        return results.cpu(), tau.cpu()

    def call_of(self, index: int) -> Call:
        """Node `index` prepared for the loop."""
        if index not in self._calls:
            self._calls[index] = Call(self.graph, index, self.bits)
        return self._calls[index]


class _Context:
    """One pass over nodes, and how their results are settled."""

    def __init__(self, replay: Replay, policy: Policy, log: Tensor | None, step: int) -> None:
        self._replay, self._graph, self._policy = replay, replay.graph, policy
        self._log, self._step = log, step

    def run(self, first: int, last: int, env: list[Any]) -> None:
        """Compute the nodes of a group into `env`."""
        call = self._replay.call_of(first)
        node = call.node
        try:
            if last > first + 1 or call.in_blocks:
                self._run_blocks([self._replay.call_of(index) for index in range(first, last)], env)
            elif node.target == LOG:
                env[node.outputs[0]] = self._given_log()
            elif node.target == COPY:
                env[node.outputs[0]] = view_operand(env[call.operands[0].value], call.operands[0])
            elif kernels.comes_in_pieces(node):
                env[node.outputs[0]] = self._run_pieces(call, env)
            else:
                result = call([view_operand(env[o.value], o) for o in call.operands])
                single = node.slots == (0,) and isinstance(result, Tensor)
                for value, slot in zip(node.outputs, node.slots, strict=True):
                    env[value] = result if single else result[slot]
        except (RuntimeError, IndexError, ValueError, ArithmeticError) as error:
            reason = str(error).split("\n")[0]
            names = f"node {first}" if last == first + 1 else f"nodes {first} to {last - 1}"
            sentence = f"{names} ({node.operator}) cannot be computed: {reason}"
            if refuses_values(error):
                raise NoResult(sentence, first) from error
            raise ModelError(sentence) from error

    def _given_log(self) -> Tensor:
        if self._log is None:
            raise ReplayError(f"step {self._step} needs its log")
        return self._log.to(self._replay.device)

    def _run_pieces(self, call: Call, env: list[Any]) -> Tensor:
        node = call.node
        tensors = [view_operand(env[o.value], o) for o in call.operands]
        kind = self._graph.types[node.outputs[0]]
        device = tensors[0].device
        out = memory.empty(kind.shape, torch.float32, device)
        size = _PIECE.get(device.type, _ACCELERATOR_ELEMENTS)
        for piece in COMPUTED[kernels.name_of(node)](node, tensors, size):
            if piece.rows is None:
                run = out.view(-1)[piece.first : piece.first + piece.f.numel()]
                self._settle(call.index, piece, run)
            else:
                run = torch.empty(piece.f.shape, dtype=torch.float32, device=device)
                self._settle(call.index, piece, run)
                out.zero_()[piece.rows] = run
        return out

    def _run_blocks(self, calls: list[Call], env: list[Any]) -> None:
        """Compute a run of elementwise nodes block by block; only what is needed after it is kept."""
        made = {value for call in calls for value in call.node.outputs}
        kind = self._graph.types[calls[0].node.outputs[0]]
        shape = kind.shape
        given: dict[Any, Tensor] = {}
        sources: list[list[Any]] = []
        for call in calls:
            keys = []
            for operand in call.operands:
                key = operand.value if operand.value in made else operand
                if key is operand and key not in given:
                    tensor = view_operand(env[operand.value], operand)
                    # One of no dimension stays so: beside it others keep their type.
                    given[key] = tensor.expand(shape) if tensor.dim() else tensor
                keys.append(key)
            sources.append(keys)
        gone = {value for call in calls for value in self._graph.releases[call.index]}
        gone -= self._replay.watched.keys()
        device = next(iter(given.values())).device
        # In the order of memory, unless elements are counted on the way.
        counted = any(call.function is not None for call in calls)
        dims = tuple(range(len(shape))) if counted else _dims_in_memory(given.values(), shape)
        shape = tuple(shape[dim] for dim in dims)
        given = {key: tensor.permute(dims) if tensor.dim() else tensor for key, tensor in given.items()}
        outs = {
            value: memory.empty(shape, self._graph.types[value].dtype.torch, device) for value in made - gone
        }
        default = _BLOCK.get(device.type, _ACCELERATOR_ELEMENTS)
        for first, place in kernels.blocks(shape, self._replay._block or default):
            local = {key: tensor[place] if tensor.dim() else tensor for key, tensor in given.items()}
            for call, keys in zip(calls, sources, strict=True):
                tensors = [local[key] for key in keys]
                value = call.node.outputs[0]
                out = outs[value][place] if value in outs else None
                if call.function is not None:
                    piece = kernels.elementary(call.function, tensors[0], first)
                    run = (
                        torch.empty(piece.f.shape, dtype=torch.float32, device=device) if out is None else out
                    )
                    self._settle(call.index, piece, run)
                    local[value] = run
                else:
                    local[value] = result = call(tensors)
                    if out is not None:
                        out.copy_(result)
        back = sorted(range(len(dims)), key=dims.__getitem__)
        for value, tensor in outs.items():
            env[value] = tensor.permute(back)

    def _settle(self, index: int, piece: Piece, out: Tensor) -> None:
        if not self._policy.settle(index, piece, out):
            raise NotFinite(self._step, index, self._graph.names[index])


def _dims_in_memory(tensors: Iterable[Tensor], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The dimensions of a shape from the outermost to the innermost in memory, as the first tensor that repeats no
    element has them."""
    for tensor in tensors:
        strides = tensor.stride()
        if tensor.dim() and all(stride or n == 1 for stride, n in zip(strides, shape, strict=True)):
            return tuple(sorted(range(len(shape)), key=lambda dim: (shape[dim] > 1, -strides[dim])))
    return tuple(range(len(shape)))
