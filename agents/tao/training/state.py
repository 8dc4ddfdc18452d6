"""What a training step carries from one to the next, and how it lies in the graph's inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tao.errors import ModelError
from tao.graph import log_format
from tao.graph.canonical import Graph
from tao.graph.library import WORD
from tao.graph.rounding import Kind, kind
from tao.training.banks import Bank, allocate
from tao.training.optimizers import AdamW, Optimizer, Rule

STEP, SEED = 0, 1
"""Positions in a state; the banks come next, then the batch, and the log last."""
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)


@dataclass(frozen=True)
class Group:
    """A parameter group in a state. banks: of its parameters; its moments have ones of equal shapes."""

    rule: Rule
    banks: tuple[Bank, ...]


@dataclass(frozen=True)
class Packed:
    """A state's banks by group: values of parameters, each moment likewise, weights float32[1] of decays."""

    layout: Layout
    values: list[list[Tensor]]
    moments: list[list[list[Tensor]]]
    weights: list[list[Tensor]]
    running: list[Tensor]

    def parameters(self) -> dict[str, Tensor]:
        """The parameters by name, as views of their banks."""
        return _split([g.banks for g in self.layout.groups], self.values)

    def buffers(self) -> dict[str, Tensor]:
        """The running statistics by name, likewise."""
        return _split([self.layout.buffers], [self.running])


@dataclass(frozen=True)
class Layout:
    """The order of a state: step, seed; by group its parameters' banks, those of each moment, the weights of
    its decays; the banks of running statistics; the batch; the log.

    counts: integer buffers that only count steps. held: parameters and buffers that no step changes. batch:
    of each of its tensors the shape and dtype.
    """

    groups: tuple[Group, ...]
    buffers: tuple[Bank, ...]
    counts: tuple[str, ...]
    held: dict[str, Tensor]
    batch: tuple[tuple[tuple[int, ...], torch.dtype], ...]
    batch_size: int
    log_capacity: int

    @cached_property
    def _entries(self) -> list[tuple[str, tuple[int, ...], torch.dtype]]:
        entries = [("step", (1,), torch.int64), ("seed", (2,), torch.int64)]

        def add(name: str, banks: Sequence[Bank]) -> None:
            entries.extend((f"{name}.{bank.width}", bank.shape, torch.float32) for bank in banks)

        for i, group in enumerate(self.groups):
            add(f"group{i}.parameters", group.banks)
            for moment in group.rule.moments:
                add(f"group{i}.{moment}", group.banks)
            for moment, _ in zip(group.rule.moments, group.rule.decays, strict=False):
                entries.append((f"group{i}.{moment}.weight", (1,), torch.float32))
        add("buffers", self.buffers)
        return entries

    @cached_property
    def state(self) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """Shapes and dtypes of the state before the batch."""
        return [(shape, dtype) for _, shape, dtype in self._entries]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What each input is, and each output at the same place."""
        batch = (f"batch.{i}" for i in range(len(self.batch)))
        return (*(name for name, _, _ in self._entries), *batch, "log")

    def unpack(self, state: Sequence[Tensor]) -> Packed:
        """The banks of a state, which may go on with the batch and the log."""
        left = iter(state[2 : len(self.state)])
        packed = Packed(self, [], [], [], [])
        for group in self.groups:
            packed.values.append([next(left) for _ in group.banks])
            packed.moments.append([[next(left) for _ in group.banks] for _ in group.rule.moments])
            packed.weights.append([next(left) for _ in group.rule.decays])
        packed.running.extend(next(left) for _ in self.buffers)
        return packed

    def update(
        self,
        optimizer: Optimizer,
        packed: Packed,
        step: Tensor,
        gradients: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
    ) -> list[Tensor]:
        """The state's banks after a step, in order."""
        joined = [[bank.join(gradients) for bank in group.banks] for group in self.groups]
        clipped = iter(optimizer.clip([bank for banks in joined for bank in banks]))
        result: list[Tensor] = []
        for group, values, moments, weights in zip(
            self.groups, packed.values, packed.moments, packed.weights, strict=True
        ):
            rule, rate = group.rule, optimizer.rate(group.rule, step)
            grown = [w * decay + (1 - decay) for w, decay in zip(weights, rule.decays, strict=True)]
            new = [
                rule.update(value, next(clipped), [banks[i] for banks in moments], grown, rate)
                for i, value in enumerate(values)
            ]
            result += [value for value, _ in new]
            result += [kept[m] for m in range(len(moments)) for _, kept in new]
            result += grown
        return result + [bank.join(buffers) for bank in self.buffers]


def layout_of(
    module: nn.Module, optimizer: Optimizer, dataset: Sequence[Tensor], batch_size: int, log_capacity: int
) -> Layout:
    """The layout of a module's training state. Raises ModelError for parameters that are not float32 or have
    hooks, and for those of the optimizer that are not the module's."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    weights = {
        f"{path}.weight" if path else "weight"
        for path, child in module.named_modules()
        if isinstance(child, _CONVOLUTIONS)
    }
    groups, trained = [], set()
    for rule, parameters in optimizer.groups:
        if any(id(parameter) not in names for parameter in parameters):
            raise ModelError("the optimizer has a parameter that is not the module's")
        named = {names[id(parameter)]: parameter for parameter in parameters}
        strange = next((name for name, tensor in named.items() if tensor.dtype != torch.float32), None)
        if strange is not None:
            raise ModelError(f"parameter {strange} is {named[strange].dtype}; a training step holds float32")
        hooked = next((name for name, tensor in named.items() if _has_hooks(tensor)), None)
        if hooked is not None:
            raise ModelError(
                f"parameter {hooked} has gradient hooks, which a recording does not run; remove them, and change "
                "gradients by operators of the module or by clip_norm"
            )
        trained |= named.keys()
        groups.append(Group(rule, allocate(named, frozenset(weights))))
    if not trained:
        raise ModelError(
            "the optimizer has no parameter that requires a gradient; give it one, or unfreeze one"
        )
    running, counts = {}, []
    for path, child in module.named_modules():
        if isinstance(child, _BatchNorm) and child.training and child.running_mean is not None:
            prefix = f"{path}." if path else ""
            running[f"{prefix}running_mean"] = child.running_mean
            running[f"{prefix}running_var"] = child.running_var
            counts.append(f"{prefix}num_batches_tracked")
    changed = {*trained, *running, *counts}
    others = (*module.named_parameters(), *module.named_buffers())
    return Layout(
        groups=tuple(groups),
        buffers=allocate(running),
        counts=tuple(counts),
        held={name: tensor.detach() for name, tensor in others if name not in changed},
        batch=tuple(((batch_size, *tensor.shape[1:]), tensor.dtype) for tensor in dataset),
        batch_size=batch_size,
        log_capacity=log_capacity,
    )


@dataclass(frozen=True)
class StepGraph:
    """A training step's graph: what each input is, each output is at the same place one step later.

    parameters: of the graph, in order: the data set and constants. loss: the value that holds the loss, which
    is no output. sample: the node that draws the batch. constants: tensors that module or loss read beside those
    they are given, of which parameters may be made. Node 0 is the log.
    """

    graph: Graph
    parameters: tuple[Tensor, ...]
    layout: Layout
    loss: int
    sample: int
    constants: tuple[Tensor, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What each input and output is."""
        return self.layout.names

    @property
    def log(self) -> int:
        """The value that holds the step's rounding log."""
        return self.graph.nodes[0].outputs[0]

    @property
    def batch(self) -> tuple[int, ...]:
        """The values that hold the step's batch."""
        count = len(self.layout.batch)
        return self.graph.outputs[-1 - count : -1]

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """Of each node."""
        return tuple(kind(node.operator) for node in self.graph.nodes)

    def pack(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        seed: tuple[int, int],
        step: int = 0,
    ) -> tuple[Tensor, ...]:
        """The state before a step: copies of the module's and the optimizer's tensors, a batch of zeros and
        an empty log, on the module's device.

        module, optimizer: those traced or alike. seed: two 32-bit words. Raises ModelError where the
        optimizer is not at `step`.
        """
        is_pair = isinstance(seed, tuple | list) and len(seed) == 2
        if not is_pair or not all(isinstance(word, int) and 0 <= word <= WORD for word in seed):
            raise ModelError(f"the seed is {seed!r}; give two whole numbers of 32 bits, such as (0, 1)")
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        with torch.no_grad(), torch.device(next(module.parameters()).device):
            state = [torch.tensor([step]), torch.tensor(seed)]
            for group in self.layout.groups:
                names = [place.name for bank in group.banks for place in bank.places]
                held = {name: optimizer.state.get(tensors[name], {}) for name in names}
                state += [bank.join(tensors).clone() for bank in group.banks]
                for moment in group.rule.moments:
                    moments = {name: _moment(held[name], moment, tensors[name], name, step) for name in held}
                    state += [bank.join(moments).clone() for bank in group.banks]
                weights = [1 - decay**step for decay in group.rule.decays]
                state += [torch.tensor([weight], dtype=torch.float32) for weight in weights]
            state += [bank.join(tensors).clone() for bank in self.layout.buffers]
            state += [torch.zeros(shape, dtype=dtype) for shape, dtype in self.layout.batch]
            empty = log_format.empty(self.layout.log_capacity)
        return (*state, empty)

    def unpack(
        self, state: Sequence[Tensor], module: nn.Module, optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        """Load a state into a module, and its moments into an optimizer. The number of batches that BatchNorm
        has counted becomes the step. Raises ModelError for another job's state."""
        shapes = [shape for shape, _ in self.layout.state]
        if [tensor.shape for tensor in state[: len(shapes)]] != shapes:
            raise ModelError(
                f"the state is another job's: its {len(state)} tensors do not begin with the {len(shapes)} of this "
                "one; prepare the job with the module and the optimizer that were trained"
            )
        packed, step = self.layout.unpack(state), int(state[STEP])
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        with torch.no_grad():
            for name, tensor in {**packed.parameters(), **packed.buffers()}.items():
                tensors[name].copy_(tensor)
            for name in self.layout.counts:
                if tensors.get(name) is not None:
                    tensors[name].fill_(step)
            if optimizer is None:
                return
            for group, moments in zip(self.layout.groups, packed.moments, strict=True):
                for moment, banks in zip(group.rule.moments, moments, strict=True):
                    for name, tensor in _split([group.banks], [banks]).items():
                        optimizer.state[tensors[name]][moment] = tensor.clone()
                if isinstance(group.rule, AdamW):
                    for bank in group.banks:
                        for place in bank.places:
                            optimizer.state[tensors[place.name]]["step"] = torch.tensor(float(step))


def _has_hooks(parameter: Tensor) -> bool:
    """Of its gradient, before or after it is accumulated."""
    return bool(parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None))


def _moment(held: Mapping[str, Tensor], moment: str, parameter: Tensor, name: str, step: int) -> Tensor:
    """A moment that a torch optimizer has of a parameter; zero before the first step."""
    taken = int(held["step"]) if "step" in held else (step if moment in held else 0)
    if taken != step:
        raise ModelError(f"the optimizer has taken {taken} steps with parameter {name}, not {step}")
    given = held.get(moment)
    return torch.zeros_like(parameter) if given is None else given


def _split(banks: Sequence[Sequence[Bank]], tensors: Sequence[Sequence[Tensor]]) -> dict[str, Tensor]:
    result: dict[str, Tensor] = {}
    for some, given in zip(banks, tensors, strict=True):
        for bank, tensor in zip(some, given, strict=True):
            result |= bank.split(tensor)
    return result
