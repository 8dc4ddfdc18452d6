"""The trainer: records the runs that are asked for, claims them, and defends its claims."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from tao.display import size
from tao.errors import ModelError
from tao.model import ModelBundle
from tao.protocol import actions
from tao.protocol.actions import Action
from tao.protocol.views import ChainView, ClaimView, DisputeView, RequestView, Status
from tao.roles.context import Context
from tao.roles.defender import Defender
from tao.roles.journal import Done
from tao.roles.pace import Pace
from tao.roles.role import dispute_facts, short
from tao.roles.states import fetch
from tao.tensors import merkle
from tao.training.job import TrainingJob
from tao.training.record import KEEP_EVERY, Recording

MakeRecording = Callable[..., Recording]


@dataclass
class _Run:
    """A recording, and what the steps recorded by this process have logged and taken."""

    recording: Recording
    pace: Pace
    entries: int = 0
    log_bytes: int = 0

    def summary(self) -> str:
        """What was recorded, in a sentence."""
        count, steps, store = len(self.pace.seconds), self.pace.steps, self.recording.store
        which = f"{steps}" if count == steps else f"the last {count} of {steps}"
        checkpoints, logs = size(self.recording.storage.checkpoints), size(self.recording.storage.logs)
        return (
            f"recorded {which} steps {self.pace.summary()}, {checkpoints} of checkpoints and {logs} of logs "
            f"in {store.url}"
        )


class TrainerRole(Defender):
    """Serves requests for one training job that pay `minimum_fee` wei or more, and defends this account's claims.

    keep_every: steps between states that are stored whole. make: a Recording of a job; a cheat's differs.
    """

    name = "trainer"

    def __init__(
        self,
        context: Context,
        bundle: ModelBundle,
        minimum_fee: int = 0,
        keep_every: int = KEEP_EVERY,
        make: MakeRecording = Recording,
    ) -> None:
        super().__init__(context, bundle, minimum_fee)
        if bundle.steps == 1:
            raise ModelError(f"the model 0x{bundle.model_id.hex()} runs one step; serve it as a prover")
        self.keep_every, self._make = keep_every, make
        self._runs: dict[tuple[bytes, ...], _Run] = {}

    def decide(self, view: ChainView) -> Iterable[Action]:
        mine = [claim for claim in view.claims if claim.prover == self.address]
        wanted = {claim.inputs for claim in mine if claim.status not in (Status.FINALISED, Status.REFUTED)}
        wanted |= {request.inputs for request in view.requests if request.is_open}
        self._runs = {inputs: run for inputs, run in self._runs.items() if inputs in wanted}
        return super().decide(view)

    def perform(self, action: Action) -> Done | None:
        match action:
            case actions.Serve(request):
                return self._serve(request)
            case actions.Reveal(dispute, cuts, checkpoints):
                return self._reveal(dispute, cuts, checkpoints)
            case _:
                return super().perform(action)

    def _serve(self, request: RequestView) -> Done | None:
        """Claim the run, or, where that takes longer than a tick may, go on with it in the next one."""
        start, run = time.monotonic(), self._run(request.inputs)
        steps = run.recording.job.steps
        if run.recording.position < steps:
            self._record(run, short(request.request_id))
            if run.recording.position < steps:
                return None
            self.context.journal.note(self.name, run.summary())
        claim = run.recording.claim()
        sent, claim_id = self._send_claim(
            request.request_id, claim.inputs, claim.outputs, claim.checkpoint_root
        )
        return self.done(
            "claim",
            f"{self._claimed(claim_id)} after {steps} steps",
            start,
            sent,
            claim="0x" + claim_id.hex(),
            request="0x" + request.request_id.hex(),
            run_seconds=round(sum(run.pace.seconds), 4),
            log_entries=run.entries,
            log_bytes=run.log_bytes,
            bytes_stored=run.recording.storage.total,
        )

    def _record(self, run: _Run, which: str) -> None:
        """Record steps until the last one, or the end of the tick."""
        recording, pace = run.recording, run.pace

        def show() -> None:
            pace.show(bar, recording.position, f"{size(recording.storage.total)} stored")

        with self.context.journal.display.work(f"recording the run of request {which}") as bar:
            show()
            for step in recording:
                run.entries, run.log_bytes = run.entries + step.entries, run.log_bytes + step.log_bytes
                pace.add(step.seconds, step.loss)
                show()
                if self._is_over():
                    return

    def _run(self, inputs: Sequence[bytes]) -> _Run:
        """A run, taken up where it stopped."""
        key = tuple(inputs)
        if key not in self._runs:
            job = TrainingJob(self.bundle, fetch(self.context.store, self.bundle.graph, 0, key))
            secret = self.context.secret("recordings")
            recording = self._make(job, self.context.store, self.keep_every, self.address, secret)
            self._runs[key] = _Run(recording, Pace(job.steps))
        return self._runs[key]

    def _reveal(self, dispute: DisputeView, cuts: Sequence[int], checkpoints: Sequence[int]) -> Done | None:
        start = time.monotonic()
        recording = self._run(dispute.claim.inputs).recording
        if checkpoints:
            states = [list(recording.trail.read(step).values) for step in checkpoints]
            leaves = recording.trail.leaves(self.bundle.steps)
            paths = [merkle.path(leaves, step) for step in checkpoints]
            what = f"revealed the states before steps {', '.join(map(str, checkpoints))}"
        else:
            held = self._states(dispute.claim, cuts)
            put = self.context.store.put_tensor
            states = [[self._published(tensor, put) for tensor in held[cut]] for cut in cuts]
            paths = []
            what = f"revealed {len(cuts)} states of operators {dispute.lo} to {dispute.hi - 1}"
        sent = self._send_states(dispute, states, paths)
        return self.done("reveal", what, start, sent, **dispute_facts(dispute))

    def _states(self, claim: ClaimView, cuts: Iterable[int]) -> dict[int, Sequence[Tensor]]:
        """The states at `cuts` of the run, which lie within one step or at its ends."""
        recording, size = self._run(claim.inputs).recording, len(self.bundle.graph)
        wanted = sorted(set(cuts))
        step = wanted[0] // size
        inner = recording.capture(step, [cut - step * size for cut in wanted])
        return {cut: inner[cut - step * size] for cut in wanted}
