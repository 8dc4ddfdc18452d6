"""Recording a training run so that anybody can replay it bit for bit."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tao.errors import ModelError, OutOfReach, StoreError
from tao.graph.log_format import END
from tao.tensors import commit
from tao.tensors.store import TensorStore
from tao.training import log as logs
from tao.training import memory
from tao.training.checkpoints import Checkpoint, Trail
from tao.training.job import TrainingClaim, TrainingJob, prepare
from tao.training.policies import NotFinite
from tao.training.replay import Replay
from tao.training.watch import Watch

KEEP_EVERY = 50
"""Steps between states that are stored whole, unless the recording says otherwise."""


@dataclass(frozen=True)
class Step:
    """One recorded step. entries: values in its log. log_bytes: size of the log's file. seconds: of wall
    time; commit_seconds: those of them that went into hashing and storing."""

    index: int
    loss: float | None
    entries: int
    log_bytes: int
    seconds: float
    commit_seconds: float


@dataclass
class Storage:
    """Bytes that a recording has added to its store beside the model. checkpoints: the states that are stored whole,
    and the records of all. logs: the files of the rounding logs."""

    checkpoints: int = 0
    logs: int = 0

    @property
    def total(self) -> int:
        return self.checkpoints + self.logs


class Recording:
    """Runs a job's steps and writes down what an auditor needs to replay them.

    A recording that was interrupted goes on where it stopped: from the last state that was stored whole,
    with the steps recorded since replayed by their logs, so that the checkpoints are the same ones. Steps whose files
    are damaged, as a power cut may leave the last ones, are recorded once more. storage: what this object has written.
    """

    def __init__(
        self,
        job: TrainingJob,
        store: TensorStore,
        keep_every: int = KEEP_EVERY,
        owner: str = "",
        key: bytes | None = None,
    ) -> None:
        """keep_every: steps between states stored whole. owner: whose run it is, where several record one job.
        key: see Trail.

        Raises ModelError where `keep_every` is not positive or what is stored of the run is malformed or of
        another one, StoreError where the store cannot be used.
        """
        if keep_every < 1:
            raise ModelError(f"a state cannot be stored every {keep_every} steps; give 1 or more")
        self.job, self.store, self.keep_every = job, store, keep_every
        self.trail = Trail(store, job.bundle.model_id, job.first, owner, key)
        self.storage = Storage()
        self.replay = Replay(
            job.bundle.graph, job.bundle.parameters, watch=() if job.loss is None else (job.loss,)
        )
        head = last_whole(job, self.trail)
        self.position = head or 0
        if head is None:
            job.bundle.save(store)
            self._write(0, job.initial, None, None)
            self.state = job.initial
        else:
            self.state = rebuild(job, self.trail, self.position, self.replay)

    def __iter__(self) -> Iterator[Step]:
        try:
            while self.position < self.job.steps:
                yield self.advance()
        finally:
            memory.release()

    def advance(self) -> Step:
        """Record one step.

        Raises NotFinite for a loss or another value that is not finite, LogError where the log is too
        small and StoreError where the store is full or out of reach. What was recorded before stays.
        """
        start = time.monotonic()
        outputs, log = self.compute(self.state, self.position)
        computed = time.monotonic()
        loss = None if self.job.loss is None else float(self.replay.watched[self.job.loss])
        if loss is not None and not math.isfinite(loss):
            graph, value = self.job.bundle.graph, self.job.loss
            node = next(i for i, node in enumerate(graph.nodes) if value in node.outputs)
            raise NotFinite(self.position, node, graph.names[node], f"the loss {loss}")
        data = logs.encode(log, self.position, self.job.bundle.graph_root)
        self._write(self.position + 1, outputs, data, loss)
        done = time.monotonic()
        self.state, self.position = outputs, self.position + 1
        entries = int((log[0] != END).sum())
        return Step(self.position - 1, loss, entries, len(data), done - start, done - computed)

    def compute(self, state: tuple[Tensor, ...], step: int) -> tuple[tuple[Tensor, ...], Tensor]:
        """One step from a state: the next state, and the log that is its last value."""
        return self.replay.record(state, step)

    def capture(self, step: int, cuts: Iterable[int]) -> dict[int, list[Tensor]]:
        """The values live at cuts of a recorded step's graph."""
        state = rebuild(self.job, self.trail, step, self.replay)
        log = read_log(self.job, self.trail, self.trail.read(step + 1))
        states: dict[int, list[Tensor]] = {}
        end = len(self.job.bundle.graph)
        self.replay.advance(0, state, end, keep=states.__setitem__, log=log, step=step, cuts=cuts)
        return states

    def claim(self) -> TrainingClaim:
        """What the recorded run claims. Raises ModelError before the last step is recorded."""
        return claim_of(self.job, self.trail)

    def _write(self, step: int, state: Sequence[Tensor], log: bytes | None, loss: float | None) -> None:
        is_held = step % self.keep_every == 0 or step == self.job.steps
        put, before = self.store.put_tensor if is_held else commit, self.store.bytes_written
        values = tuple(put(tensor) for tensor in state)
        held = self.store.bytes_written
        blob = None if log is None else self.store.put_blob(log)
        self.storage.logs += self.store.bytes_written - held
        records = self.trail.append(Checkpoint(step, values, blob, loss, is_held))
        self.storage.checkpoints += held - before + records


class record:
    """An ordinary training loop, recorded.

        with tao.training.record(module, optimizer, loader, loss, steps=400, store="runs") as run:
            for step in run:
                print(step.index, step.loss)
        claim = run.claim()

    Takes what `prepare` takes, and the store: a directory or an fsspec URL. Module and optimizer are left
    alone while the run goes on, and hold its last state after its last step. A run that ends before leaves them as
    they were, so that the same call goes on with it; `load` gives them the state it has come to.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        data: Any,
        loss: Any,
        *,
        store: TensorStore | str,
        keep_every: int = KEEP_EVERY,
        **options: Any,
    ) -> None:
        self._module, self._optimizer = module, optimizer
        store = store if isinstance(store, TensorStore) else TensorStore(store)
        self.run = Recording(prepare(module, optimizer, data, loss, **options), store, keep_every)
        self._watch = Watch(module, optimizer, loss, self.run.job)

    def __enter__(self) -> record:
        return self

    def __iter__(self) -> Iterator[Step]:
        for step in self.run:
            yield step
            self._watch.check()
        self._watch.check_values()

    def claim(self) -> TrainingClaim:
        """What the recorded run claims."""
        return self.run.claim()

    def load(self) -> None:
        """Give module and optimizer the state after the last recorded step."""
        self.run.job.step_graph.unpack(self.run.state, self._module, self._optimizer)

    def __exit__(self, *error: object) -> None:
        if self.run.position == self.run.job.steps:
            self.load()


def rebuild(job: TrainingJob, trail: Trail, step: int, replay: Replay) -> tuple[Tensor, ...]:
    """The state after `step` steps, replayed from the last one before it that was stored whole.

    Raises ModelError where a replayed state is not the recorded one, StoreError where a part is missing.
    """
    held = next((at for at in range(step, -1, -1) if trail.read(at).is_held), None)
    if held is None:
        raise StoreError(
            f"no state of run 0x{trail.run_id.hex()} up to step {step} is stored whole; ask the trainer for one"
        )
    state = _stored(job, trail, trail.read(held))
    for position in range(held, step):
        checkpoint = trail.read(position + 1)
        state, _ = replay.replay(state, read_log(job, trail, checkpoint), position)
        differing = tuple(differences(job, checkpoint, state))
        if differing:
            raise ModelError(
                f"replaying step {position} gives another {differing[0]} than was recorded; the store holds "
                "another run's checkpoints, or this device computes wrongly"
            )
    return state


def _stored(job: TrainingJob, trail: Trail, checkpoint: Checkpoint) -> tuple[Tensor, ...]:
    """The state of a checkpoint that is stored whole. Raises StoreError where the store has no such state."""
    graph, values = job.bundle.graph, checkpoint.values
    kinds = [graph.types[value] for value in graph.live(0)]
    if len(values) != len(kinds):
        raise StoreError(
            f"the checkpoint of step {checkpoint.step} has {len(values)} values, not {len(kinds)}"
        )
    return tuple(trail.store.get_tensor(value, kind) for value, kind in zip(values, kinds, strict=True))


def last_whole(job: TrainingJob, trail: Trail) -> int | None:
    """The last recorded step up to which a run can be replayed from its files; None where it has to begin anew.

    Raises ModelError for a head that is no step, StoreError where it is none of the job's and where the store cannot
    be used.
    """
    head = trail.head
    if head is None:
        return None
    if head > job.steps:
        raise StoreError(
            f"the head of run 0x{trail.run_id.hex()} is step {head}, which is missing from the job"
        )
    held = next((step for step in range(head, -1, -1) if _is_whole(job, trail, step, held=True)), None)
    if held is None:
        return None
    return next((step - 1 for step in range(held + 1, head + 1) if not _is_whole(job, trail, step)), head)


def _is_whole(job: TrainingJob, trail: Trail, step: int, held: bool = False) -> bool:
    """Whether a step's checkpoint and log can be read, and with `held` its state. Raises StoreError where the store
    cannot be used, which is no damage."""
    try:
        checkpoint = trail.read(step)
        if held and not checkpoint.is_held:
            return False
        if step:
            read_log(job, trail, checkpoint)
        if held:
            _stored(job, trail, checkpoint)
    except OutOfReach:
        raise
    except (StoreError, ModelError):
        return False
    return True


def differences(job: TrainingJob, checkpoint: Checkpoint, state: Sequence[Tensor]) -> Iterator[str]:
    """Which values of a state are not those of a checkpoint."""
    if len(checkpoint.values) != len(state):
        yield "number of values"
        return
    for name, tensor, value in zip(job.names, state, checkpoint.values, strict=True):
        if commit(tensor) != value:
            yield name


def read_log(job: TrainingJob, trail: Trail, checkpoint: Checkpoint) -> Tensor:
    """The rounding log of the step that ended at a checkpoint, int64[2, capacity].

    Raises StoreError where it is missing, damaged, another step's or not the one that the checkpoint commits to.
    """
    step, data = checkpoint.step - 1, trail.store.get_blob(checkpoint.log)
    try:
        log = logs.decode(data, step, job.log_capacity, job.bundle.graph_root)
    except logs.LogError as error:
        raise StoreError(f"{error}; ask the trainer to publish the log of step {step} again") from error
    if checkpoint.values[-1:] != (commit(log),):
        raise StoreError(
            f"the log of step {step} in the store {trail.store.url} is not the one that its checkpoint commits "
            "to; ask the trainer to publish that"
        )
    return log


def claim_of(job: TrainingJob, trail: Trail) -> TrainingClaim:
    """What a finished run claims. Raises ModelError where steps are missing."""
    head = trail.head
    if head != job.steps:
        raise ModelError(f"{head or 0} of {job.steps} steps are recorded; record the others first")
    last = trail.read(job.steps)
    return TrainingClaim(job.bundle.model_id, job.first, last.values, trail.root(job.steps))
