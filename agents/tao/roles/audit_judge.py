"""The auditor's judge: replays claimed training runs and compares bits."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from torch import Tensor

from tao.display import Display, size
from tao.errors import ModelError, StoreError
from tao.graph import log_format
from tao.graph.states import is_consistent, of_outputs
from tao.model import ModelBundle
from tao.proofs import Plan
from tao.protocol.challenger import Finding, GivenUp, Inconsistent, Measured, Missing, Refutable
from tao.protocol.views import ChainView, ClaimView, DisputeView
from tao.roles.bits import log_value, stand_in
from tao.roles.pace import Pace
from tao.roles.role import short
from tao.roles.states import Ends, around, chunk_numbered, disputed, ends, fetch, fetch_read, fetch_value
from tao.tensors import commit
from tao.tensors.store import TensorStore
from tao.training.audit import Audit, AuditReport
from tao.training.checkpoints import Trail
from tao.training.examine import StepReplay, differs, find_proof, same_bits
from tao.training.job import TrainingClaim, TrainingJob
from tao.training.policies import ReplayError
from tao.training.record import read_log
from tao.training.replay import Replay


@dataclass
class _Case:
    """A claim under audit. report: None while the audit goes on, or the store does not have what the trainer must
    publish. bytes_read: from the store, by the audit. own: the commitments at each boundary, without logs, of a run
    that rounds by itself, as far as it has come. states: where its next ones come from. steps: replayed in disputes, by
    the commitment of the log that was followed."""

    job: TrainingJob
    trail: Trail
    pace: Pace
    bytes_read: int = 0
    audit: Audit | None = None
    report: AuditReport | None = None
    own: list[tuple[bytes, ...]] = field(default_factory=list)
    states: Iterator[tuple[Tensor, ...]] | None = None
    steps: dict[tuple[int, bytes | None], StepReplay] = field(default_factory=dict)

    @property
    def is_own_whole(self) -> bool:
        return len(self.own) > self.job.steps


class AuditJudge:
    """A challenger.Judge that replays runs and compares bits.

    grace: seconds after the claim for which missing checkpoints or logs are waited for. Then the run is done
    again without them: a claim of the same end is left alone, so that what is published late costs nothing. A
    claim whose first state nobody has is left alone as well. display: of how far a replay has come. must_pause:
    whether a claim's audit is to go on later, as disputes may wait. Whatever is cached here can be computed
    again.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        store: TensorStore,
        grace: int,
        display: Display | None = None,
        must_pause: Callable[[], bool] = lambda: False,
    ) -> None:
        self.bundle, self.store, self.grace = bundle, store, grace
        self._display = display or Display(Console(quiet=True))
        self.must_pause = must_pause
        self.replay = Replay(bundle.graph, bundle.parameters, refuse_stray=False)
        self.cases: dict[bytes, _Case] = {}
        self.plans: dict[Ends, tuple[int, Plan]] = {}

    def suspicious(self, claim: ClaimView, now: int) -> bool:
        """True iff a replayed step does not lead where the claim says; of a run whose parts are missing after
        the grace, iff its last state is another than without the trainer's logs."""
        try:
            case = self._case(claim)
        except (StoreError, ModelError):
            return False
        if not case.is_own_whole and self._audited(claim, may_pause=True) is not None:
            return not case.report.is_equal
        if self.must_pause() or now <= claim.claimed_at + self.grace:
            return False
        own = self._own(case, may_pause=True)
        return case.is_own_whole and own[-1] != tuple(claim.outputs[:-1])

    def deviation(self, dispute: DisputeView, child: int) -> float:
        """Infinite for the child in which the first step, or operator, lies that does not follow; else 0."""
        hi, size = dispute.cuts[child + 1], dispute.node_count
        if dispute.spans_steps:
            report = self._audited(dispute.claim)
            if report is None:
                is_wrong = self._own(self._case(dispute.claim))[hi // size] != dispute.states[hi][:-1]
            else:
                is_wrong = report.difference is not None and report.difference.step < hi // size
            return math.inf if is_wrong else 0.0
        replayed, has_log = self._replayed(dispute)
        end = hi - dispute.lo // size * size
        if replayed.blamed is not None and replayed.blamed < end:
            return math.inf
        live, claimed = self.bundle.graph.live(end), dispute.states[hi]
        ignored = None if has_log else log_value(self.bundle.graph)
        equal = len(claimed) == len(live) and all(
            value == ignored or self._agrees(value, own, theirs)
            for value, own, theirs in zip(live, replayed.state(end), claimed, strict=True)
        )
        return 0.0 if equal else math.inf

    def _agrees(self, value: int, own: Tensor, theirs: bytes) -> bool:
        """Whether a commitment is to one's own value; to other NaN, too."""
        if commit(own) == theirs:
            return True
        if not own.is_floating_point() or not bool(own.isnan().any()):
            return False
        try:
            return same_bits(own, fetch_value(self.store, self.bundle.graph, value, theirs))
        except StoreError:
            return False

    def forget(self, view: ChainView) -> None:
        """Keep what is known about claims that may be disputed and segments that are: it holds whole states."""
        running = disputed(view)
        self.plans = {key: plan for key, plan in self.plans.items() if key in running}
        is_open = {claim.claim_id for claim in view.claims if claim.is_open}
        self.cases = {claim: case for claim, case in self.cases.items() if claim in is_open}

    def differs(self, dispute: DisputeView, child: int) -> bool:
        """What differs is evidence."""
        return False

    def accumulated(self, dispute: DisputeView) -> float:
        """Bits are equal or not: nothing adds up."""
        return 0.0

    def examine(self, dispute: DisputeView, given_up: GivenUp = ()) -> Finding:
        """What is wrong with the operator left: its states' form, an element with its proof, or that what is
        needed to tell is not there. Members see by themselves what differs and has no proof."""
        graph, node, about = self.bundle.graph, dispute.node, ends(dispute, dispute.lo, dispute.hi)
        if about in self.plans and Refutable not in given_up:
            return Refutable(self.plans[about][0])
        before, after = around(dispute)
        if not is_consistent(graph, node, before, node + 1, after):
            return Inconsistent()
        inputs, missing = self._inputs(dispute, before)
        outputs: list[Tensor] = []
        for slot, commitment in enumerate(of_outputs(graph, node, after)):
            try:
                outputs.append(fetch_value(self.store, graph, graph.nodes[node].outputs[slot], commitment))
            except StoreError:
                return self._missing(dispute, True, slot, graph.nodes[node].outputs[slot])
        if missing is not None:
            return self._missing(dispute, False, missing, graph.nodes[node].operands[missing].value)
        if Refutable not in given_up:
            found = find_proof(self.replay, self.bundle, node, inputs, outputs)
            if found is not None:
                self.plans[about] = found
                return Refutable(found[0])
        is_wrong = node != 0 and differs(self.replay, node, inputs, outputs)
        return Measured(math.inf if is_wrong else 0.0)

    def operands(self, dispute: DisputeView) -> Sequence[Tensor]:
        """The values before the operator left, as far as it reads them; raises StoreError where one is missing."""
        before, node = around(dispute)[0], dispute.node
        try:
            return fetch_read(self.store, self.bundle.graph, node, node + 1, before)
        except StoreError:
            pass  # computed, which takes a replay
        values, missing = self._inputs(dispute, before)
        if missing is not None:
            raise StoreError(f"operand {missing} of operator {node} is not to be had")
        return values

    def difference(self, claim: ClaimView) -> str:
        """What the audit found, in words."""
        report = self._case(claim).report
        if report is None:
            return "its parts are not available, and without them it ends elsewhere"
        return str(report.difference)

    def _case(self, claim: ClaimView) -> _Case:
        if claim.claim_id not in self.cases:
            job = TrainingJob(self.bundle, fetch(self.store, self.bundle.graph, 0, claim.inputs))
            trail = Trail(self.store, claim.model_id, claim.inputs, claim.prover)
            self.cases[claim.claim_id] = _Case(job, trail, Pace(job.steps))
        return self.cases[claim.claim_id]

    def _audited(self, claim: ClaimView, may_pause: bool = False) -> AuditReport | None:
        """What the audit found. None where parts are missing and, if it may pause, while it is not at its end."""
        case = self._case(claim)
        if case.report is not None:
            return case.report
        try:
            self._replay_on(case, claim, may_pause)
        except (StoreError, ModelError):
            return None
        if case.audit.is_over:
            case.report = case.audit.report
        return case.report

    def _replay_on(self, case: _Case, claim: ClaimView, may_pause: bool) -> None:
        """Replay steps to the end of the audit or, if it may pause, until it must."""
        start = self.store.bytes_read - case.bytes_read

        def show() -> None:
            case.bytes_read = self.store.bytes_read - start
            case.pace.show(bar, case.audit.report.steps, f"{size(case.bytes_read)} read")

        with self._display.work(f"replaying the run of claim {short(claim.claim_id)}") as bar:
            if case.audit is None:
                root = claim.checkpoint_root or bytes(32)
                stated = TrainingClaim(claim.model_id, claim.inputs, claim.outputs, root)
                case.audit = Audit(case.job, self.store, stated, owner=claim.prover, refuse_stray=False)
            show()
            for step in case.audit:
                case.pace.add(step.seconds, step.loss)
                show()
                if may_pause and self.must_pause():
                    return

    def _own(self, case: _Case, may_pause: bool = False) -> list[tuple[bytes, ...]]:
        """The commitments at each boundary of a run that rounds by itself or, if it may pause, those so far."""
        with self._display.work("replaying the run without its logs") as bar:
            while not case.is_own_whole:
                case.states = case.states or self._states(case)
                try:
                    state = next(case.states, None)
                except Exception:
                    case.own, case.states = [], None  # what is left of it would seem to be its end
                    raise
                if state is None:  # no honest run goes on from here
                    case.own += [()] * (case.job.steps + 1 - len(case.own))
                    break
                case.own.append(tuple(commit(tensor) for tensor in state[:-1]))
                bar.show(len(case.own) - 1, case.job.steps)
                if may_pause and self.must_pause():
                    return case.own
        case.states = None
        return case.own

    def _states(self, case: _Case) -> Iterator[tuple[Tensor, ...]]:
        """The states of a run that rounds by itself, as far as all is finite."""
        state, log = case.job.initial, log_format.empty(case.job.log_capacity)
        yield state
        for step in range(case.job.steps):
            try:
                state, _ = self.replay.replay(state, log, step)
            except ReplayError:
                return
            yield state

    def _state(self, case: _Case, step: int) -> tuple[Tensor, ...]:
        """Before a step of the run that rounds by itself; where it breaks down earlier, the last one."""
        states = zip(range(step + 1), self._states(case), strict=False)
        return deque((state for _, state in states), maxlen=1)[0]

    def _replayed(self, dispute: DisputeView) -> tuple[StepReplay, bool]:
        """The disputed step, replayed with the log that the trainer committed to; whether that is to be had."""
        case, step = self._case(dispute.claim), dispute.lo // dispute.node_count
        log = self._log(dispute, case, step)
        key = (step, None if log is None else commit(log))
        if key not in case.steps:
            report = self._audited(dispute.claim)
            found = report.difference if report else None
            if found is not None and found.step == step:
                state = found.before
            else:
                state = self._state(case, step)
            given = log_format.empty(case.job.log_capacity) if log is None else log
            case.steps[key] = replayed = StepReplay(self.replay, state, given, step)
            if found is not None and found.step == step and found.node is not None:
                replayed.blamed = found.node if replayed.blamed is None else min(replayed.blamed, found.node)
        return case.steps[key], log is not None

    def _log(self, dispute: DisputeView, case: _Case, step: int) -> Tensor | None:
        """The log that the trainer committed to, None where it is not to be had."""
        graph, boundary = self.bundle.graph, dispute.states.get((step + 1) * dispute.node_count)
        if not boundary:
            return None
        try:
            return fetch_value(self.store, graph, log_value(graph), boundary[-1])
        except StoreError:
            pass
        try:
            log = read_log(case.job, case.trail, case.trail.read(step + 1))
        except (StoreError, ModelError):
            return None
        return log if commit(log) == boundary[-1] else None

    def _inputs(self, dispute: DisputeView, before: Sequence[bytes]) -> tuple[list[Tensor], int | None]:
        """The values before the operator, one's own as far as they are right, and the first operand that is
        not to be had."""
        graph, node = self.bundle.graph, dispute.node
        replayed, _ = self._replayed(dispute)
        own = replayed.state(node) or [None] * len(before)
        read = [operand.value for operand in graph.nodes[node].operands]
        values, missing = [], None
        for value, mine, commitment in zip(graph.live(node), own, before, strict=True):
            if mine is None or commit(mine) != commitment:
                mine = stand_in(graph, value)
                if value in read:
                    try:
                        mine = fetch_value(self.store, graph, value, commitment)
                    except StoreError:
                        place = read.index(value)
                        missing = place if missing is None else min(missing, place)
            values.append(mine)
        return values, missing

    def _missing(self, dispute: DisputeView, of_output: bool, index: int, value: int) -> Missing:
        """Each demand asks for another chunk."""
        return Missing(of_output, index, chunk_numbered(self.bundle.graph.types[value], dispute.demands_left))
