"""Builds the roles' view of the chain from calls and logs, anew at every tick."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from web3 import Web3
from web3.exceptions import BadFunctionCallOutput, Web3Exception
from web3.types import BlockData

from tao.chain.contracts import Contracts
from tao.chain.deployment import missing
from tao.chain.logs import DEPTH, EventLog, Logs
from tao.errors import ChainError
from tao.protocol import committee
from tao.protocol.clock import is_expired
from tao.protocol.partition import inner_cuts, unit_of
from tao.protocol.views import (
    CaseView,
    ChainView,
    ClaimView,
    Demand,
    DisputeView,
    Outcome,
    Phase,
    RequestView,
    Status,
    SumRange,
    SumStage,
    SumView,
    Vote,
)
from tao.tensors import state_hash

V = TypeVar("V", RequestView, ClaimView, DisputeView)

ZERO = bytes(32)
MOST_REQUESTS = 256
"""Open requests of a view. Posting one costs next to nothing, and looking at it a call, at every block."""
NEAR = 8
"""Blocks between two looks that are followed from one to the next, to see whether a reorganisation replaced any."""


@dataclass(frozen=True)
class _Ended:
    """What can change no more but by a reorganisation. since, read: the first and the last block it was read at."""

    since: int
    read: int
    view: Any

    def is_final(self, block: int) -> bool:
        return block - self.since >= DEPTH

    def is_due(self, block: int) -> bool:
        """Whether it is to be read again: after 1, 2, 4, … blocks, as a node may have been on another chain."""
        return not self.is_final(block) and block - self.read > self.read - self.since


class Reader:
    """Reads one deployment. All of a `view` belongs to one block, so a reorganisation cannot mix two.

    A block's logs, and each request, claim and dispute at it, are read once however many views are asked for. What
    outlives a block is deeper than any reorganisation, such as old logs, or can change by one alone, and is read again
    where there was one.
    """

    def __init__(self, w3: Web3, contracts: Contracts, first_block: int):
        self.w3, self.contracts = w3, contracts
        claims, game = contracts.claims.events, contracts.game.events
        events = (
            claims.RequestPosted(),
            claims.Claimed(),
            game.DisputeOpened(),
            game.StatesRevealed(),
            game.ElementDemanded(),
            contracts.sums.events.SumAsserted(),
            contracts.sums.events.SumDoubted(),
            contracts.sums.events.SumSplit(),
            contracts.vault.events.Credited(),
        )
        self._logs = EventLog(w3, events, first_block)
        self._models = EventLog(w3, (contracts.models.events.ModelRegistered(),), first_block)
        self._ended: dict[bytes, _Ended] = {}
        self.head = b""
        """Hash of the block that was looked at last, if it could be read."""
        self._views: dict[tuple[frozenset[bytes] | None, int | None], ChainView] = {}
        self._at_head: Logs = {}
        self._seen: dict[bytes, Any] = {}
        self._block = 0
        self.fan_out, self.challenger_bond, *_ = contracts.game.functions.parameters().call()
        self.window, self.prover_bond, _ = contracts.claims.functions.parameters().call()
        self.stake, *_, self.commit_period, _, _ = contracts.committee.functions.parameters().call()

    def view(
        self, models: Iterable[bytes] | None = None, most_requests: int | None = MOST_REQUESTS
    ) -> ChainView:
        """The chain at its latest block. models: leave out what is about any other model. most_requests: of those
        that are open, the best paid; None for all.

        Raises ChainError where the node does not answer, or contradicts itself in a reorganisation, DeploymentError
        where the chain began anew, without the contracts.
        """
        wanted = (None if models is None else frozenset(models), most_requests)
        try:
            head = self.w3.eth.get_block("latest")
            now, block = head["timestamp"], head["number"]
            if block < self._block:
                self._require_deployed()
            if head["hash"] != self.head:
                if not self._follows(head):
                    self._ended = {key: each for key, each in self._ended.items() if each.is_final(block)}
                self._block = block
                self._at_head = self._logs.at(block)
                self.head, self._views, self._seen = head["hash"], {}, {}
            if wanted not in self._views:
                view = _Snapshot(self, self._at_head, now, block).view(*wanted)
                # Nodes are asked by numbers, which a reorganisation in between gives to other blocks.
                if self.w3.eth.get_block(block)["hash"] != head["hash"]:
                    raise ValueError(f"block {block} was replaced")
                self._views[wanted] = view
                self._logs.confirm()
            return self._views[wanted]
        except BadFunctionCallOutput as error:
            self._require_deployed()
            raise ChainError(f"the chain could not be read: {error}") from error
        except Web3Exception as error:
            raise ChainError(f"the chain could not be read: {error}") from error
        except (KeyError, IndexError, ValueError) as error:
            # What a contract's state speaks of has an event, which a node behind others may not have seen.
            self._logs.doubt()
            self.head = b""
            raise ChainError(
                f"the node's events and state are of different blocks ({error!r}); try again"
            ) from error

    def _follows(self, head: BlockData) -> bool:
        """Whether the last look's block is an ancestor of this one, NEAR blocks back at most."""
        for _ in range(NEAR):
            if head["number"] <= self._block + 1:
                return head["number"] > self._block and head["parentHash"] == self.head
            head = self.w3.eth.get_block(head["parentHash"])
        return False

    def _require_deployed(self) -> None:
        """Raise DeploymentError where the registry of claims is not on the chain any more."""
        if not self.w3.eth.get_code(address := self.contracts.claims.address):
            raise missing("ClaimRegistry", address, self.w3.eth.chain_id)

    def credited(self, account: str, locks: Collection[bytes]) -> int:
        """Wei that an account was credited with out of these claims, disputes or requests, as of the last view."""
        logs = (log["args"] for log in self._at_head.get("Credited", ()))
        return sum(log["amount"] for log in logs if log["account"] == account and log["lockId"] in locks)

    def models(self) -> dict[bytes, dict[str, Any]]:
        """Registered models: the arguments of ModelRegistered by model id; none whose URI is not text."""
        logs = self._models.at(self.w3.eth.block_number)
        return {log["args"]["modelId"]: dict(log["args"]) for log in logs["ModelRegistered"]}

    def settled(self, key: bytes, block: int, read: Callable[[], V], ended: Callable[[V], bool]) -> V:
        """`read()`, or its answer at this block, or at an earlier one if it had ended then."""
        known = self._ended.get(key)
        if known is not None and not known.is_due(block):
            return known.view
        if key in self._seen:
            return self._seen[key]
        view = self._seen[key] = read()
        if ended(view):
            self._ended[key] = _Ended(known.since if known else block, block, view)
        else:
            self._ended.pop(key, None)
        return view

    def has_ended(self, key: bytes, block: int) -> bool:
        """Whether what `settled` read DEPTH blocks ago or more can change no more."""
        return key in self._ended and self._ended[key].is_final(block)


@dataclass(frozen=True)
class _Snapshot:
    """The chain at one block."""

    reader: Reader
    logs: Logs
    now: int
    block: int

    def view(self, models: frozenset[bytes] | None, most_requests: int | None) -> ChainView:
        def of_models(name: str) -> list[dict[str, Any]]:
            return [each for each in self._arguments(name) if models is None or each["modelId"] in models]

        settled, block = self.reader.settled, self.block
        claims = {
            each["claimId"]: settled(
                each["claimId"],
                block,
                lambda each=each: self.claim(each),
                lambda view: view.status in (Status.FINALISED, Status.REFUTED),
            )
            for each in of_models("Claimed")
        }
        served = {claim.request_id for claim in claims.values() if claim.status is not Status.REFUTED}
        requests = tuple(
            settled(each["requestId"], block, lambda each=each: self.request(each), lambda view: view.closed)
            for each in self._best_paid(of_models("RequestPosted"), served, most_requests)
        )
        disputes = tuple(
            settled(
                each["disputeId"],
                block,
                lambda each=each: self.dispute(each["disputeId"], claims[each["claimId"]]),
                lambda view: view.phase is Phase.CLOSED,
            )
            for each in self._arguments("DisputeOpened")
            if each["claimId"] in claims
        )
        view = ChainView(self.now, self.block, requests, tuple(claims.values()), disputes)
        _require_complete(view)
        return view

    def _best_paid(
        self, posted: list[dict[str, Any]], served: set[bytes | None], most: int | None
    ) -> list[dict[str, Any]]:
        """The best paid of the requests that may be open, each of which costs a call, and all those served or over."""
        ids = [
            each["requestId"]
            for each in posted
            if each["requestId"] not in served and not self.reader.has_ended(each["requestId"], self.block)
        ]
        fees = {each["requestId"]: each["fee"] for each in posted}
        left_out = set(sorted(ids, key=lambda request: -fees[request])[most:] if most is not None else ())
        return [each for each in posted if each["requestId"] not in left_out]

    def request(self, posted: dict[str, Any]) -> RequestView:
        registry = self.reader.contracts.claims.functions
        *_, fee, active_claim, closed = self._call(registry.getRequest(posted["requestId"]))
        return RequestView(
            request_id=posted["requestId"],
            model_id=posted["modelId"],
            client=posted["client"],
            fee=fee,
            inputs=tuple(posted["inputs"]),
            active_claim=None if active_claim == ZERO else active_claim,
            closed=closed,
        )

    def claim(self, claimed: dict[str, Any]) -> ClaimView:
        registry = self.reader.contracts.claims.functions
        *_, claimed_at, open_disputes, refuted, finalised = self._call(registry.getClaim(claimed["claimId"]))
        return ClaimView(
            claim_id=claimed["claimId"],
            model_id=claimed["modelId"],
            request_id=None if claimed["requestId"] == ZERO else claimed["requestId"],
            prover=claimed["prover"],
            inputs=tuple(claimed["inputs"]),
            outputs=tuple(claimed["outputs"]),
            checkpoint_root=None if claimed["checkpointRoot"] == ZERO else claimed["checkpointRoot"],
            claimed_at=claimed_at,
            window_end=claimed_at + self.reader.window,
            status=status(self.now, claimed_at, self.reader.window, open_disputes, refuted, finalised),
            open_disputes=open_disputes,
        )

    def dispute(self, dispute_id: bytes, claim: ClaimView) -> DisputeView:
        raw = self._call(self.reader.contracts.game.functions.getDispute(dispute_id))
        (_, challenger, phase, outcome, demands_left, lo, hi, lo_state, hi_state, _, _, *rest) = raw
        prover_left, challenger_left, turn_start, node_count = rest
        fan_out = self.reader.fan_out

        def revealed_cuts(lo: int, hi: int) -> tuple[int, ...]:
            return inner_cuts(lo, hi, fan_out, unit_of(lo, hi, node_count))

        revealed = self._arguments("StatesRevealed", dispute_id)
        states = {0: claim.inputs, revealed[0]["hi"] if revealed else hi: claim.outputs}
        for reveal in revealed:
            inner = revealed_cuts(reveal["lo"], reveal["hi"])
            states |= {cut: tuple(state) for cut, state in zip(inner, reveal["states"], strict=True)}
        hashes: tuple[bytes, ...] = ()
        if phase == Phase.SELECT:
            hashes = (lo_state, *(state_hash(states[cut]) for cut in revealed_cuts(lo, hi)), hi_state)
        demand = None
        if phase == Phase.ANSWER:
            last = self._arguments("ElementDemanded", dispute_id)[-1]
            demand = Demand(last["commitment"], last["tensorType"], last["chunk"])
        return DisputeView(
            dispute_id=dispute_id,
            claim=claim,
            challenger=challenger,
            phase=Phase(phase),
            outcome=Outcome(outcome),
            fan_out=fan_out,
            node_count=node_count,
            lo=lo,
            hi=hi,
            lo_state=lo_state,
            hi_state=hi_state,
            states=states,
            hashes=hashes,
            demands_left=demands_left,
            demand=demand,
            prover_left=prover_left,
            challenger_left=challenger_left,
            turn_start=turn_start,
            case=self.case(dispute_id) if phase == Phase.VOTE else None,
            sum=self.sum(dispute_id, Phase(phase)),
        )

    def sum(self, dispute_id: bytes, phase: Phase) -> SumView | None:
        asserted = self._arguments("SumAsserted", dispute_id)
        if not asserted:
            if phase in (Phase.DOUBT, Phase.SPLIT):
                raise ValueError("no sums are asserted")
            return None
        (first,) = asserted
        *_, lo, hi, stage = self._call(self.reader.contracts.sums.functions.assertionOf(dispute_id))
        partials = [first["sums"]]
        if phase is Phase.SPLIT:
            partials = [self._arguments("SumDoubted", dispute_id)[-1]["sums"]]
        elif phase is Phase.DOUBT and (splits := self._arguments("SumSplit", dispute_id)):
            partials = splits[-1]["partials"]
        return SumView(
            range=SumRange(*_values(first["range"])),
            stage=SumStage(stage),
            lo=lo,
            hi=hi,
            partials=tuple(tuple(sums) for sums in partials),
        )

    def case(self, case_id: bytes) -> CaseView:
        functions = self.reader.contracts.committee.functions
        panel = tuple(self._call(functions.panelOf(case_id)))
        commit_end, reveal_end = self._call(functions.deadlinesOf(case_id))
        votes = {}
        for member in panel:
            commitment, vote = self._call(functions.voteOf(case_id, member))
            votes[member] = (commitment, Vote(vote))
        return CaseView(
            case_id=case_id,
            stage=committee.stage(commit_end, reveal_end, votes.values(), self.now),
            seed_block=self._call(functions.seedBlockOf(case_id)),
            panel=panel,
            commit_end=commit_end,
            reveal_end=reveal_end,
            votes=votes,
        )

    def _call(self, function: Any) -> Any:
        return function.call(block_identifier=self.block)

    def _arguments(self, event: str, dispute_id: bytes | None = None) -> list[dict[str, Any]]:
        found = [dict(log["args"]) for log in self.logs[event]]
        return found if dispute_id is None else [each for each in found if each["disputeId"] == dispute_id]


def _require_complete(view: ChainView) -> None:
    """Raises ValueError where a request or claim speaks of a claim or dispute of which there was no event."""
    claims = {claim.claim_id for claim in view.claims}
    for request in view.requests:
        if request.active_claim is not None and request.active_claim not in claims:
            raise ValueError(f"no event of the claim of request 0x{request.request_id.hex()}")
    seen = Counter(dispute.claim.claim_id for dispute in view.disputes if dispute.phase is not Phase.CLOSED)
    for claim in view.claims:
        # Of a claim that is over an older view may be kept.
        is_over = claim.status in (Status.FINALISED, Status.REFUTED)
        if not is_over and claim.open_disputes > seen[claim.claim_id]:
            raise ValueError(f"no event of a dispute of claim 0x{claim.claim_id.hex()}")


def _values(struct: Any) -> tuple[Any, ...]:
    """The members of a struct in an event's arguments, in order."""
    return tuple(struct.values()) if isinstance(struct, Mapping) else tuple(struct)


def status(
    now: int, claimed_at: int, window: int, open_disputes: int, refuted: bool, finalised: bool
) -> Status:
    """The mirror of ClaimRegistry.statusOf for a claim that exists."""
    if refuted:
        return Status.REFUTED
    if finalised:
        return Status.FINALISED
    if open_disputes:
        return Status.DISPUTED
    return Status.FINALISABLE if is_expired(now, claimed_at, window) else Status.PENDING
