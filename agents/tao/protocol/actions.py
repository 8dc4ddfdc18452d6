"""The moves of the game, as values. A role executes them; `decide` functions only name them."""

from dataclasses import dataclass

from tao.protocol.views import ClaimView, DisputeView, RequestView, Vote


@dataclass(frozen=True)
class Serve:
    """Prover: run the model on the request's inputs and claim the outputs."""

    request: RequestView


@dataclass(frozen=True)
class Finalise:
    """Anyone: end an undisputed claim after its window."""

    claim: ClaimView


@dataclass(frozen=True)
class Reveal:
    """Prover: reveal the states at these cuts of the run.

    `checkpoints` are the leaves of the claim's checkpoint tree that their hashes are, each to be shown by its
    Merkle path; none where the segment lies inside a step.
    """

    dispute: DisputeView
    cuts: tuple[int, ...]
    checkpoints: tuple[int, ...] = ()


@dataclass(frozen=True)
class Answer:
    """Prover: open the chunk the challenger demanded."""

    dispute: DisputeView


@dataclass(frozen=True)
class Open:
    """Challenger: dispute a claim."""

    claim: ClaimView


@dataclass(frozen=True)
class Select:
    """Challenger: descend into a child of the segment. `deviation` is why: 1 and above is implausible."""

    dispute: DisputeView
    child: int
    deviation: float


@dataclass(frozen=True)
class Prove:
    """Challenger: show on chain that this element of the operator's output is wrong."""

    dispute: DisputeView
    element: int


@dataclass(frozen=True)
class ProveInconsistent:
    """Challenger: show on chain that the prover's states do not fit the operator's record."""

    dispute: DisputeView


@dataclass(frozen=True)
class DemandChunk:
    """Challenger: make the prover open one chunk of a value that cannot be fetched."""

    dispute: DisputeView
    of_output: bool
    index: int
    chunk: int


@dataclass(frozen=True)
class Escalate:
    """Challenger: put the operator, or the segment whose drift adds up, to the committee.

    `exceedance` above 1 is beyond the tolerance profile.
    """

    dispute: DisputeView
    exceedance: float


@dataclass(frozen=True)
class Accuse:
    """Challenger: show on chain that this element exceeds the node's calibrated threshold.

    The prover then has to put the operator to the committee, or loses on time; where the committee finds the
    operator within its tolerance, the challenger loses its bond.
    """

    dispute: DisputeView
    element: int


@dataclass(frozen=True)
class Defend:
    """Prover: put the operator it is accused of to the committee."""

    dispute: DisputeView


@dataclass(frozen=True)
class Support:
    """Challenger: answer the prover's doubt of asserted sums."""

    dispute: DisputeView


@dataclass(frozen=True)
class Weigh:
    """Prover: accept the sums that the challenger asserts, or doubt one that is wrong."""

    dispute: DisputeView


@dataclass(frozen=True)
class Concede:
    """Challenger: nothing to show; let the clock run out."""

    dispute: DisputeView
    reason: str


@dataclass(frozen=True)
class Timeout:
    """Anyone: the side to move has let its clock run out."""

    dispute: DisputeView


@dataclass(frozen=True)
class Close:
    """Anyone: the claim was refuted in another dispute."""

    dispute: DisputeView


@dataclass(frozen=True)
class Draw:
    """Anyone: draw the panel by the hash of the seed block."""

    dispute: DisputeView


@dataclass(frozen=True)
class SettleVote:
    """Anyone: end the dispute by the committee's tally."""

    dispute: DisputeView


@dataclass(frozen=True)
class CommitVote:
    """Member: commit to a vote and the statistics behind it."""

    dispute: DisputeView
    vote: Vote
    statistics: bytes


@dataclass(frozen=True)
class RevealVote:
    """Member: reveal the vote committed before."""

    dispute: DisputeView
    vote: Vote
    statistics: bytes


Action = (
    Serve
    | Finalise
    | Reveal
    | Answer
    | Open
    | Select
    | Prove
    | ProveInconsistent
    | DemandChunk
    | Escalate
    | Accuse
    | Defend
    | Support
    | Weigh
    | Concede
    | Timeout
    | Close
    | Draw
    | SettleVote
    | CommitVote
    | RevealVote
)
