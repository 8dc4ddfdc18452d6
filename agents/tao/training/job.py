"""A training job: the graph of one step, how often it runs, and the state that it starts from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tao.errors import ModelError
from tao.graph.literals import canonical_json
from tao.graph.operators import LOG
from tao.model import ModelBundle
from tao.tensors import TensorType, commit
from tao.tensors.keccak import keccak
from tao.tensors.tree import tag
from tao.training.data import tensors_of
from tao.training.optimizers import describe
from tao.training.schedules import Schedule, tabulate
from tao.training.state import StepGraph
from tao.training.trace import Loss, trace_step
from tao.untrusted import parse_json

CLAIM_FORMAT = "tao.claim.v1"
LOG_CAPACITY = 1 << 16
"""Values of one step that its rounding log holds, unless the job says otherwise."""


@dataclass(frozen=True, repr=False)
class TrainingClaim:
    """What a trainer claims: that a job's steps lead from one state to another through these checkpoints.

    inputs, outputs: tensor commitments of the first and the last state. checkpoint_root: over the states'
    hashes at all step boundaries, zero for a job of one step.
    """

    model_id: bytes
    inputs: tuple[bytes, ...]
    outputs: tuple[bytes, ...]
    checkpoint_root: bytes

    def __repr__(self) -> str:
        model, checkpoints = self.model_id[:4].hex(), self.checkpoint_root[:4].hex()
        return f"TrainingClaim(model 0x{model}…, {len(self.outputs)} values, checkpoints 0x{checkpoints}…)"

    def to_json(self) -> bytes:
        """The claim as a file, for the auditor's machine."""
        return canonical_json(
            {
                "format": CLAIM_FORMAT,
                "model": self.model_id.hex(),
                "inputs": [value.hex() for value in self.inputs],
                "outputs": [value.hex() for value in self.outputs],
                "checkpoints": self.checkpoint_root.hex(),
            }
        )

    @classmethod
    def from_json(cls, data: bytes) -> TrainingClaim:
        """Read what anybody may have written. Raises ModelError where it is no claim."""
        try:
            record = parse_json(data)
            if record["format"] != CLAIM_FORMAT:
                raise ValueError(f"its format is {record['format']!r}")
            inputs, outputs = (tuple(map(bytes.fromhex, record[name])) for name in ("inputs", "outputs"))
            if not inputs or not outputs:
                raise ValueError("a state has no values")
            model_id, root = bytes.fromhex(record["model"]), bytes.fromhex(record["checkpoints"])
            if any(len(value) != 32 for value in (model_id, root, *inputs, *outputs)):
                raise ValueError("a commitment has not 32 bytes")
            return cls(model_id, inputs, outputs, root)
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"the claim is malformed: {error}") from error


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """What is agreed on before training starts: model, data set and optimizer (`bundle`), and the first state.

    step_graph: what the state's values are of a module; None where only the registered graph is known. Raises
    ModelError where the bundle is no training job or the state does not fit it.
    """

    bundle: ModelBundle
    initial: tuple[Tensor, ...]
    step_graph: StepGraph | None = None

    def __post_init__(self) -> None:
        graph = self.bundle.graph
        if graph.nodes[0].target != LOG:
            raise ModelError(
                f"model 0x{self.bundle.model_id.hex()} has no rounding log: it is no training job"
            )
        expected = [graph.types[value] for value in graph.live(0)]
        if [TensorType.of(tensor) for tensor in self.initial] != expected:
            raise ModelError(
                f"the first state does not have the {len(expected)} values that a step starts from"
            )

    @property
    def steps(self) -> int:
        return self.bundle.steps

    @cached_property
    def first(self) -> tuple[bytes, ...]:
        """The commitments of the first state."""
        return tuple(commit(tensor) for tensor in self.initial)

    @property
    def names(self) -> tuple[str, ...]:
        """What each value of a state is."""
        if self.step_graph is not None:
            return self.step_graph.names
        inner = (f"value {place}" for place in range(2, len(self.initial) - 1))
        return ("step", "seed", *inner, "log")

    @property
    def log_capacity(self) -> int:
        """Entries that the log of a step holds."""
        return self.initial[-1].shape[1]

    @cached_property
    def loss(self) -> int | None:
        """The value that is the loss; where only the graph is known, the one that a step computes and does not use.
        None where it uses all, as where the gradient is computed from the loss itself, or keeps it in the state."""
        graph = self.bundle.graph
        if self.step_graph is not None:
            return None if self.step_graph.loss in graph.outputs else self.step_graph.loss
        used = {o.value for node in graph.nodes for o in node.operands} | set(graph.outputs)
        return next((v for node in graph.nodes for v in node.outputs if v not in used), None)


def prepare(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: DataLoader | Sequence[Any] | Tensor,
    loss: Loss,
    *,
    steps: int,
    batch_size: int | None = None,
    seed: tuple[int, int] | None = None,
    clip_norm: float | None = None,
    schedule: Schedule | Callable[[int], float] | None = None,
    log_capacity: int = LOG_CAPACITY,
) -> TrainingJob:
    """Agree on a training job: trace one step of it and commit to model, data set, optimizer and first state.

    module, optimizer: an ordinary module in training mode, with its torch.optim.SGD or AdamW, as they stand.
    data: a DataLoader, a map-style data set or tensors; batches are drawn from it by the seed. loss:
    (module, *batch) -> scalar. batch_size: of the DataLoader unless given. seed: two 32-bit words; by
    default they follow from the commitment to model and data, which therefore come first. clip_norm: see
    `describe`. schedule: from the step, an int, to the factor of the learning rate, as LambdaLR takes it, whose
    values at all steps are committed to; or one of `tao.training.schedules`, which each step computes.

    Raises ModelError where the parts are no training job, UnsupportedOperator for what cannot be replayed.
    """
    if not isinstance(steps, int) or steps < 1:
        raise ModelError(f"steps is {steps!r}; it must be a whole number, 1 or more")
    if schedule is not None and not isinstance(schedule, Schedule):
        schedule = tabulate(schedule, steps)
    places = {str(tensor.device) for tensor in (*module.parameters(), *module.buffers())}
    if len(places) > 1:
        raise ModelError(f"the module is spread over {', '.join(sorted(places))}; move it to one device")
    if places == {"meta"}:
        raise ModelError("the module is on the meta device, which holds no values; load its weights first")
    if batch_size is None:
        batch_size = getattr(data, "batch_size", None)
    if batch_size is None:
        raise ModelError("the batch size is not known; give batch_size, or a DataLoader that has one")
    graph = trace_step(
        module,
        loss,
        describe(optimizer, clip_norm, schedule),
        tensors_of(data),
        batch_size,
        log_capacity=log_capacity,
    )
    device = next(module.parameters()).device
    graph = replace(graph, parameters=tuple(tensor.to(device) for tensor in graph.parameters))
    bundle = ModelBundle(graph.graph, graph.parameters, steps=steps)
    initial = graph.pack(module, optimizer, seed_of(bundle.model_id) if seed is None else seed)
    return TrainingJob(bundle, initial, graph)


def seed_of(model_id: bytes) -> tuple[int, int]:
    """The seed that follows from a job's commitments: two words of keccak256(TAG_seed || model id)."""
    digest = keccak(tag("seed") + model_id)
    return int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big")
