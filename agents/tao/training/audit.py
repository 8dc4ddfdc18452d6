"""Auditing a recorded training run: replay it on other hardware and compare every checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from torch import Tensor

from tao.errors import ModelError, StoreError
from tao.tensors.store import TensorStore
from tao.training import memory
from tao.training.checkpoints import ClaimedTrail, Trail
from tao.training.examine import find_implausible
from tao.training.job import TrainingClaim, TrainingJob
from tao.training.policies import Correction, ReplayError
from tao.training.record import differences, read_log, rebuild
from tao.training.replay import Replay

Progress = Callable[[str], None]
"""Told in a sentence what happens."""


@dataclass(frozen=True)
class Difference:
    """The first step that does not lead where the run says. before: the state that it starts from. values: which
    values of the next state differ. reason: why the step cannot be replayed at all, where it cannot, and node:
    the operator to blame for that."""

    step: int
    before: tuple[Tensor, ...]
    values: tuple[str, ...] = ()
    reason: str = ""
    node: int | None = None

    def __str__(self) -> str:
        return f"step {self.step}: " + (self.reason or f"{', '.join(self.values)} differ from the replay's")


@dataclass(frozen=True)
class Replayed:
    """One step that was replayed and is equal. loss: as computed here. corrections: as in AuditReport. seconds: of wall
    time."""

    index: int
    loss: float | None
    corrections: int
    seconds: float


@dataclass(repr=False)
class AuditReport:
    """What an audit found. steps: replayed. corrections: values that this device rounds elsewhere and the log
    settled, by step. seconds: of wall time, by step."""

    first: int
    steps: int = 0
    difference: Difference | None = None
    corrections: list[list[Correction]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether every replayed checkpoint is the recorded one, bit for bit."""
        return self.difference is None

    def __repr__(self) -> str:
        found = "equal" if self.difference is None else str(self.difference)
        return f"AuditReport({found}, {self.steps} steps)"


class Audit:
    """An audit that goes step by step, and may be left and taken up between two. report: what was found so far."""

    def __init__(
        self,
        job: TrainingJob,
        store: TensorStore | str,
        claim: TrainingClaim | None = None,
        *,
        first: int = 0,
        last: int | None = None,
        owner: str = "",
        refuse_stray: bool = True,
    ) -> None:
        """Parameters and errors are those of `audit`."""
        store = store if isinstance(store, TensorStore) else TensorStore(store)
        last = job.steps if last is None else last
        if not 0 <= first < last <= job.steps:
            raise ModelError(f"steps {first} to {last} are not within the job's {job.steps}")
        trail = _trail(job, store, claim, owner)
        if trail.read(0).values != job.first:
            raise ModelError("the run starts from another state than the one agreed on")
        self.report = AuditReport(first)
        self._job, self._trail, self._last = job, trail, last
        watch = () if job.loss is None else (job.loss,)
        self._replay = Replay(job.bundle.graph, job.bundle.parameters, watch=watch, refuse_stray=refuse_stray)
        self._state = job.initial if first == 0 else rebuild(job, trail, first, self._replay)

    @property
    def is_over(self) -> bool:
        """Whether a step differs, or all are replayed."""
        return not self.report.is_equal or self.report.first + self.report.steps == self._last

    def __iter__(self) -> Iterator[Replayed]:
        """Replay the steps that are left, as far as they are equal. Raises as `advance` does."""
        try:
            while not self.is_over:
                replayed = self.advance()
                if replayed is not None:
                    yield replayed
        finally:
            memory.release()

    def advance(self) -> Replayed | None:
        """Replay the next step; None where it differs. Raises StoreError where a part of it is missing."""
        position, before, report = self.report.first + self.report.steps, self._state, self.report
        start = time.monotonic()
        checkpoint = self._trail.read(position + 1)
        log = read_log(self._job, self._trail, checkpoint)
        try:
            self._state, corrections = self._replay.replay(before, log, position)
        except ReplayError as error:
            report.difference = Difference(position, before, reason=str(error), node=error.node)
            return None
        differing = tuple(differences(self._job, checkpoint, self._state))
        report.seconds.append(time.monotonic() - start)
        report.corrections.append(corrections)
        if differing:
            report.difference = Difference(position, before, differing)
            return None
        bundle = self._job.bundle
        wrong = find_implausible(self._replay, bundle, before, log, position, corrections)
        if wrong is not None:
            where = f"element {wrong.element} of node {wrong.node} ({bundle.graph.names[wrong.node]})"
            reason = f"{where} is rounded to {wrong.logged!r}, to which no device rounds it"
            report.difference = Difference(position, before, reason=reason, node=wrong.node)
            return None
        report.steps += 1
        loss = None if self._job.loss is None else float(self._replay.watched[self._job.loss])
        return Replayed(position, loss, len(corrections), report.seconds[-1])


def audit(
    job: TrainingJob,
    store: TensorStore | str,
    claim: TrainingClaim | None = None,
    *,
    first: int = 0,
    last: int | None = None,
    owner: str = "",
    progress: Progress | None = None,
    refuse_stray: bool = True,
) -> AuditReport:
    """Replay the steps from `first` to `last` of a recorded run and compare the state after each of them.

    job: as agreed, prepared by the auditor itself. claim: checked against the checkpoints in the store where
    it is given. first: where not 0, the audit starts from the recorded state, and is about the steps that
    follow. refuse_stray: whether an entry of an element that can have none is a difference; no contract minds
    it. Stops at the first difference. Raises StoreError where what the trainer must publish is missing,
    damaged or not what the checkpoints commit to.
    """
    going = Audit(job, store, claim, first=first, last=last, owner=owner, refuse_stray=refuse_stray)
    for step in going:
        if progress is not None:
            progress(f"step {step.index}: equal, {step.corrections} corrections, {step.seconds:.2f} s")
    return going.report


def _trail(job: TrainingJob, store: TensorStore, claim: TrainingClaim | None, owner: str) -> Trail:
    """Raises ModelError for a claim of another job, StoreError where the store has other checkpoints, or none."""
    if claim is not None and not isinstance(claim, TrainingClaim):
        raise ModelError(f"the claim is {claim!r}; give a TrainingClaim, as claim() of the recording returns")
    if claim is not None and (claim.model_id, claim.inputs) != (job.bundle.model_id, job.first):
        raise ModelError("the claim is about another job: model, data, optimizer or first state differ")
    trail = Trail(store, job.bundle.model_id, job.first, owner)
    if not trail.is_begun:
        raise StoreError(
            f"no run of this job is in the store {store.url}; check its address, and that the job is the trainer's"
        )
    if claim is None:
        return trail
    return ClaimedTrail(
        store, claim.model_id, claim.inputs, claim.outputs, claim.checkpoint_root, job.steps, owner
    )
