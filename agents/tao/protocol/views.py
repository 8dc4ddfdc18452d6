"""What the roles see of the chain. Enumerations have the order of the contracts'."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NewType

from tao.protocol import partition

Hash = NewType("Hash", bytes)
"""A 32-byte keccak: a commitment, a state hash or an identifier."""


class Status(IntEnum):
    """Status of a claim (IClaimRegistry.Status)."""

    UNKNOWN = 0
    PENDING = 1
    DISPUTED = 2
    FINALISABLE = 3
    FINALISED = 4
    REFUTED = 5


class Phase(IntEnum):
    """Phase of a dispute (IDisputeGame.Phase)."""

    NONE = 0
    REVEAL = 1
    SELECT = 2
    LEAF = 3
    ANSWER = 4
    DEFENCE = 5
    DOUBT = 6
    SPLIT = 7
    VOTE = 8
    CLOSED = 9


class Outcome(IntEnum):
    """Outcome of a dispute (IDisputeGame.Outcome)."""

    OPEN = 0
    CHALLENGER_WON = 1
    PROVER_WON = 2
    UNDECIDED = 3
    MOOT = 4


class Stage(IntEnum):
    """Stage of a committee's case (IOperatorCommittee.Stage)."""

    NONE = 0
    ANNOUNCED = 1
    COMMIT = 2
    REVEAL = 3
    TALLYING = 4
    ENDED = 5


class SumStage(IntEnum):
    """Stage of the assertion in a dispute (ISumGame.Stage)."""

    NONE = 0
    ASSERTED = 1
    DOUBTED = 2
    ACCEPTED = 3


class Vote(IntEnum):
    """A member's vote (IOperatorCommittee.Vote)."""

    NONE = 0
    ACCEPT = 1
    REJECT = 2


PROVER_MOVES = frozenset({Phase.REVEAL, Phase.ANSWER, Phase.DEFENCE, Phase.DOUBT})
CHALLENGER_MOVES = frozenset({Phase.SELECT, Phase.LEAF, Phase.SPLIT})


@dataclass(frozen=True)
class RequestView:
    """A client's request: `inputs` are the tensor commitments it names; the fee is in wei."""

    request_id: Hash
    model_id: Hash
    client: str
    fee: int
    inputs: tuple[bytes, ...]
    active_claim: Hash | None
    closed: bool

    @property
    def is_open(self) -> bool:
        """A claim may serve it now."""
        return not self.closed and self.active_claim is None


@dataclass(frozen=True)
class ClaimView:
    """A claim; `window_end` is the last second at which a dispute may be opened.

    `checkpoint_root` is over the state hashes at the ends of the steps, None where the model has one step.
    """

    claim_id: Hash
    model_id: Hash
    request_id: Hash | None
    prover: str
    inputs: tuple[bytes, ...]
    outputs: tuple[bytes, ...]
    checkpoint_root: Hash | None
    claimed_at: int
    window_end: int
    status: Status
    open_disputes: int

    @property
    def is_open(self) -> bool:
        """Its challenge window or a dispute of it still runs, so that it may be refuted."""
        return self.status in (Status.PENDING, Status.DISPUTED)


@dataclass(frozen=True)
class Demand:
    """A chunk the challenger asked the prover to open; `tensor_type` is packed as in docs/protocol.md."""

    commitment: bytes
    tensor_type: bytes
    chunk: int


@dataclass(frozen=True)
class CaseView:
    """A committee's case; `votes` maps each panel member to (commitment, revealed vote)."""

    case_id: Hash
    stage: Stage
    seed_block: int
    panel: tuple[str, ...] = ()
    commit_end: int = 0
    reveal_end: int = 0
    votes: dict[str, tuple[bytes, Vote]] = field(default_factory=dict)


Sums = tuple[int, int, int]
"""The three exact sums over a range of lanes (IPartialSums.Sums)."""


@dataclass(frozen=True)
class SumRange:
    """What sums are said of (IPartialSums.Range): `lanes` elements of one tensor, or of two, from `first` on."""

    hint: int
    lanes: int
    tensor: bytes
    first: int
    other_tensor: bytes
    other_first: int


@dataclass(frozen=True)
class SumView:
    """The assertion in a dispute: of the lanes of `range`, [lo, hi) are disputed.

    `partials` are the sums last asserted: over the children of [lo, hi) while the prover is to move, which are one
    before anything is doubted, and over [lo, hi) itself otherwise.
    """

    range: SumRange
    stage: SumStage
    lo: int
    hi: int
    partials: tuple[Sums, ...]


@dataclass(frozen=True)
class DisputeView:
    """A dispute about the segment [lo, hi) of the run.

    A run repeats the model's `node_count` nodes once a step: its operator g is node g % node_count of step
    g // node_count. `states` maps each cut known so far to the tensor commitments the prover revealed there
    (cut 0 and the last from the claim). `hashes` are the state hashes at the cuts last revealed, both ends
    included. `fan_out` is the deployment's N.
    """

    dispute_id: Hash
    claim: ClaimView
    challenger: str
    phase: Phase
    outcome: Outcome
    fan_out: int
    node_count: int
    lo: int
    hi: int
    lo_state: bytes
    hi_state: bytes
    states: dict[int, tuple[bytes, ...]]
    hashes: tuple[bytes, ...]
    demands_left: int
    demand: Demand | None
    prover_left: int
    challenger_left: int
    turn_start: int
    case: CaseView | None = None
    sum: SumView | None = None

    @property
    def spans_steps(self) -> bool:
        """The segment is longer than a step; it is then cut between steps only."""
        return self.hi - self.lo > self.node_count

    @property
    def cuts(self) -> tuple[int, ...]:
        """Where the segment is cut into children, both ends included."""
        unit = partition.unit_of(self.lo, self.hi, self.node_count)
        return partition.cuts(self.lo, self.hi, self.fan_out, unit)

    @property
    def node(self) -> int:
        """The node of the graph that operator `lo` is."""
        return self.lo % self.node_count


@dataclass(frozen=True)
class ChainView:
    """Everything the roles decide on: one snapshot of the chain at second `now` and block `block`."""

    now: int
    block: int
    requests: tuple[RequestView, ...] = ()
    claims: tuple[ClaimView, ...] = ()
    disputes: tuple[DisputeView, ...] = ()
