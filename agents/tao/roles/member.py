"""The committee member: re-executes an operator or a segment from the prover's values and votes."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tao.errors import ModelError, StoreError, TaoError
from tao.graph.literals import canonical_json
from tao.graph.states import is_consistent
from tao.model import ModelBundle
from tao.numerics.measure import measure, measure_segment
from tao.numerics.statistics import VoteStatistics
from tao.protocol import actions, committee
from tao.protocol.actions import Action
from tao.protocol.views import ChainView, DisputeView, Stage, Vote
from tao.roles.ballots import MOST_ATTEMPTS, Ballot, Ballots
from tao.roles.bits import fetch_around
from tao.roles.context import Context
from tao.roles.journal import Done
from tao.roles.role import Role, dispute_facts, short
from tao.roles.states import around, ends, fetch_segment
from tao.tensors.keccak import keccak
from tao.training.examine import follows
from tao.training.replay import Replay

PATIENCE = 0.5
"""Share of the commit period for which a member waits for missing tensors, or tries again what fails."""


class MemberRole(Role):
    """Votes in the cases whose panel it sits on.

    bundles: models at hand by id; others are loaded from the store. device: how the member's kernels are
    called in its published statistics. folder: of this machine, where votes are kept until they are revealed.
    """

    name = "member"

    def __init__(
        self,
        context: Context,
        bundles: Mapping[bytes, ModelBundle] | None = None,
        device: str = "",
        folder: Path | None = None,
    ):
        super().__init__(context)
        self.device = device
        self._bundles = dict(bundles or {})
        self._replays: dict[bytes, Replay] = {}
        self._ballots = Ballots(folder and folder / _chain_name(context) / context.address)
        self._secret = context.secret("votes")
        self._now = 0

    def join(self) -> Done | None:
        """Stake one seat, unless this account has one."""
        start, functions = time.monotonic(), self.context.contracts.committee.functions
        if functions.stakeOf(self.address).call() > 0:
            return None
        sent = self.context.send(
            functions.join(), value=self.context.reader.stake, already=("AlreadyMember",)
        )
        done = self.done("join", "joined the committee", start, sent)
        self.context.journal.done(done)
        return done

    def decide(self, view: ChainView) -> Iterable[Action]:
        self._now = view.now
        return self._each(
            committee.parts(view),
            lambda dispute: committee.serve(dispute, self.address, self, view.now, view.block),
        )

    def verdict(self, dispute: DisputeView) -> tuple[Vote, bytes] | None:
        """See committee.Examiner. What was committed is revealed, whatever else the store holds by then."""
        case_id, about = dispute.dispute_id, _about(dispute)
        kept = self._ballots.get(case_id)
        if kept is not None and (kept.about == about or dispute.case.stage is Stage.REVEAL):
            return kept.vote, kept.statistics
        found = self._attempted(dispute)
        if found is not None:
            self._ballots.keep(case_id, Ballot(about, *found))
        return found

    def perform(self, action: Action) -> Done | None:
        start, functions = time.monotonic(), self.context.contracts.committee.functions
        match action:
            case actions.CommitVote(dispute, vote, statistics):
                commitment = functions.voteHash(
                    dispute.dispute_id, self.address, vote, statistics, self._salt(dispute)
                ).call()
                sent = self.context.send(
                    functions.commit(dispute.dispute_id, commitment),
                    already=("AlreadyCommitted", "WrongStage"),
                )
                what = f"committed a vote on dispute {short(dispute.dispute_id)}"
                return self.done("commit-vote", what, start, sent, **dispute_facts(dispute))
            case actions.RevealVote(dispute, vote, statistics):
                sent = self.context.send(
                    functions.reveal(dispute.dispute_id, vote, statistics, self._salt(dispute)),
                    already=("AlreadyRevealed", "WrongStage"),
                )
                found = f"exceedance {VoteStatistics.decode(statistics).exceedance:.3g}"
                return self.done(
                    "reveal-vote",
                    f"voted {vote.name.lower()} on dispute {short(dispute.dispute_id)} ({found})",
                    start,
                    sent,
                    vote=vote.name.lower(),
                    statistics=statistics.decode(),
                    **dispute_facts(dispute),
                )
            case _:
                return self.upkeep(action)

    def _salt(self, dispute: DisputeView) -> bytes:
        address = self.context.contracts.committee.address
        return committee.salt(self._secret, self.context.deployment.chain_id, address, dispute.dispute_id)

    def _attempted(self, dispute: DisputeView) -> tuple[Vote, bytes] | None:
        """The verdict, or, where this machine cannot give one in time, the one that slashes no prover: who does not
        vote pays more than who is outvoted."""
        try:
            if self._ballots.attempts(dispute.dispute_id) >= MOST_ATTEMPTS:
                raise ModelError(f"judging it ended the process {MOST_ATTEMPTS} times")
            with self._ballots.attempt(dispute.dispute_id):
                return self._examine(dispute)
        except Exception as error:
            if not self._is_late(dispute):
                raise
            subject = f"judge {short(dispute.dispute_id)}"
            self.context.journal.problem(self.name, subject, f"accepted, as it cannot be judged: {error!r}")
            return Vote.ACCEPT, VoteStatistics((), (), (), 0.0, self.device).encode()

    def _is_late(self, dispute: DisputeView) -> bool:
        """Whether a vote must not wait any longer."""
        return self._now > dispute.case.commit_end - PATIENCE * self.context.reader.commit_period

    def _examine(self, dispute: DisputeView) -> tuple[Vote, bytes] | None:
        lo, hi, (before, after) = dispute.lo, dispute.hi, around(dispute)
        try:
            bundle = self._bundle(dispute.claim.model_id)
            if bundle.steps > 1:
                return self._examine_bits(dispute, bundle)
            if bundle.profile is None:
                return self._reject(())  # nobody can tell what is tolerable, and everybody knew before
            if not is_consistent(bundle.graph, lo, before, hi, after):
                return self._reject(bundle.profile.grid)
            start, end = fetch_segment(self.context.store, bundle.graph, lo, before, hi, after)
        except StoreError:
            return self._reject(()) if self._is_late(dispute) else None
        if hi - lo > 1:
            found = measure_segment(bundle, lo, start, hi, end)
            figures = [(tensor.elements, tensor.rows) for tensor in found.statistics]
        else:
            found = measure(bundle, lo, start, end)
            figures = [(output.absolute, output.relative) for output in found.statistics]
        if math.isinf(found.exceedance) and not figures:
            return self._reject(bundle.profile.grid)
        vote = Vote.REJECT if found.exceedance > 1 else Vote.ACCEPT
        return vote, self._statistics(bundle.profile.grid, figures, found.exceedance)

    def _examine_bits(self, dispute: DisputeView, bundle: ModelBundle) -> tuple[Vote, bytes]:
        """Replays of training give the same bits: nothing is measured. Raises StoreError for missing values."""
        graph, (before, after) = bundle.graph, around(dispute)
        lo, hi = dispute.node, dispute.node + dispute.hi - dispute.lo
        if not is_consistent(graph, lo, before, hi, after):
            return self._reject(())
        states = fetch_around(self.context.store, graph, lo, before, hi, after)
        replay = self._replays.setdefault(
            bundle.model_id, Replay(graph, bundle.parameters, refuse_stray=False)
        )
        if not follows(replay, lo, hi, *states):
            return self._reject(())
        return Vote.ACCEPT, VoteStatistics((), (), (), 0.0, self.device).encode()

    def _reject(self, grid: tuple[float, ...]) -> tuple[Vote, bytes]:
        """Reject without figures: values are unavailable, do not fit the record or have no result."""
        nothing = (math.inf,) * len(grid)
        return Vote.REJECT, VoteStatistics(grid, nothing, nothing, math.inf, self.device).encode()

    def _statistics(
        self, grid: tuple[float, ...], figures: Sequence[tuple[Sequence[float], ...]], exceedance: float
    ) -> bytes:
        """The worst figure of any tensor, percentile by percentile; zeros where nothing was compared."""
        nothing = (0.0,) * len(grid)
        first, second = zip((nothing, nothing), *figures, strict=True)
        absolute, relative = (tuple(map(max, zip(*kind, strict=True))) for kind in (first, second))
        return VoteStatistics(grid, absolute, relative, exceedance, self.device).encode()

    def _bundle(self, model_id: bytes) -> ModelBundle:
        if model_id not in self._bundles:
            self._bundles[model_id] = self._load(model_id)
        return self._bundles[model_id]

    def _load(self, model_id: bytes) -> ModelBundle:
        """Raises StoreError where the store has no such model; what it has instead makes no difference."""
        try:
            return ModelBundle.load(self.context.store, model_id)
        except TaoError as error:
            raise StoreError(f"the model 0x{model_id.hex()} cannot be read: {error}") from error


def _about(dispute: DisputeView) -> bytes:
    """Names what a case is about: the segment and what is committed at its ends."""
    lo, hi, *states = ends(dispute, dispute.lo, dispute.hi)
    return keccak(canonical_json([lo, hi, *([each.hex() for each in state] for state in states)]))


def _chain_name(context: Context) -> str:
    """Names the chain, for one of its kind with the same id, such as a local one of yesterday, is another."""
    return bytes(context.w3.eth.get_block(0)["hash"]).hex()[:16]
