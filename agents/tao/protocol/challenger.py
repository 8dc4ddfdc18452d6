"""The challenger: which claims to dispute, which child to descend into, how to end a leaf.

Numbers come from a judge; this module only holds the rules. A deviation is a ratio: up to 1 it is what honest
machines produce, above 1 it is implausible, and infinite where a value is malformed. It is None where a value is
withheld: that is no evidence, as who withholds it may show it at any time, and it may be right.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from tao.protocol import actions
from tao.protocol.upkeep import upkeep
from tao.protocol.views import CHALLENGER_MOVES, ChainView, ClaimView, DisputeView, Phase

WAIT = 4
"""The share of its clock, one part in so many, for which a challenger waits for what is withheld, each turn."""


@dataclass(frozen=True)
class Inconsistent:
    """The states do not fit the record: a wrong number of values, or a pass-through value changed."""


@dataclass(frozen=True)
class Refutable:
    """This element of the output is provably outside tolerance."""

    element: int


@dataclass(frozen=True)
class Exceeding:
    """This element of the output exceeds the node's calibrated threshold, which is evidence and no proof."""

    element: int


@dataclass(frozen=True)
class Missing:
    """A value cannot be fetched; its chunk can be demanded (see IDisputeGame.demand)."""

    of_output: bool
    index: int
    chunk: int


@dataclass(frozen=True)
class Measured:
    """No proof, but the deviation against the node's committed tolerance is known."""

    exceedance: float


Finding = Inconsistent | Refutable | Exceeding | Missing | Measured

GivenUp = Collection[type[Finding]]
"""Kinds of findings that no contract takes in a dispute, as far as was tried: they are not to be made again."""


class Judge(Protocol):
    """What the rules need to know, computed on demand: each answer may cost a replay."""

    def suspicious(self, claim: ClaimView, now: int) -> bool:
        """True iff the claim's outputs are implausible, or have been unavailable for long at this second."""

    def deviation(self, dispute: DisputeView, child: int) -> float | None:
        """How implausible the end of this child is, given the prover's own start of it; None if one is withheld."""

    def differs(self, dispute: DisputeView, child: int) -> bool:
        """Whether the end of this child differs in a way that is suspicious, but no evidence by itself."""

    def accumulated(self, dispute: DisputeView) -> float:
        """How far the end of the disputed segment itself is beyond what a committee accepts of it."""

    def examine(self, dispute: DisputeView, given_up: GivenUp) -> Finding:
        """What is wrong with the single operator left."""

    def forget(self, view: ChainView) -> None:
        """Keep what is known about claims that may be disputed, and disputes that run, alone."""


def choose(dispute: DisputeView, judge: Judge) -> tuple[int, float | None]:
    """The first child that is implausible, else the first that differs, else the first whose end is withheld, else the
    worst; children after an implausible one are never computed."""
    worst, differing, withheld = (0, -1.0), None, None
    for child in range(len(dispute.cuts) - 1):
        deviation = judge.deviation(dispute, child)
        if deviation is None:
            withheld = withheld or (child, None)
        elif deviation > 1:
            return child, deviation
        else:
            worst = max(worst, (child, deviation), key=lambda found: found[1])
            # What a prover moves within every tolerance may differ, to lead away from where the fault can be shown.
            if differing is None and judge.differs(dispute, child):
                differing = child, deviation
    return differing or withheld or worst


def finish(dispute: DisputeView, judge: Judge, given_up: GivenUp = ()) -> actions.Action:
    """The move at a leaf: the cheapest certain win first, the committee last."""
    match judge.examine(dispute, given_up):
        case Inconsistent():
            return actions.ProveInconsistent(dispute)
        case Refutable(element):
            return actions.Prove(dispute, element)
        case Exceeding(element):
            return actions.Accuse(dispute, element)
        case Missing(of_output, index, chunk):
            if dispute.demands_left > 0:
                return actions.DemandChunk(dispute, of_output, index, chunk)
            return actions.Escalate(dispute, math.inf)
        case Measured(exceedance) if exceedance > 1:
            return actions.Escalate(dispute, exceedance)
        case Measured(exceedance):
            return actions.Concede(dispute, f"the operator is within tolerance (exceedance {exceedance:.3g})")


def pursue(
    dispute: DisputeView, judge: Judge, now: int, block: int, given_up: GivenUp = ()
) -> actions.Action | None:
    """The challenger's move in one of its own disputes, or None while it is not its turn."""
    common = upkeep(dispute, now, block)
    if isinstance(common, actions.Timeout) and dispute.phase in CHALLENGER_MOVES:
        return None  # The challenger's own clock: another will end it.
    if common is not None:
        return common
    if dispute.phase is Phase.SELECT:
        child, deviation = choose(dispute, judge)
        is_withheld = deviation is None
        if is_withheld and now <= dispute.turn_start + dispute.challenger_left // WAIT:
            return None
        # No child is to blame alone, or one may be shown to be right once it is chosen: what they add up to is for
        # the committee to see, one step at most.
        votable = (is_withheld or deviation <= 1) and not dispute.spans_steps
        if votable and (exceedance := judge.accumulated(dispute)) > 1:
            return actions.Escalate(dispute, exceedance)
        return actions.Select(dispute, child, math.inf if is_withheld else deviation)
    if dispute.phase is Phase.LEAF:
        return finish(dispute, judge, given_up)
    if dispute.phase is Phase.SPLIT:
        return actions.Support(dispute)
    return None


def challengeable(claim: ClaimView, now: int) -> bool:
    """True while a dispute of this claim may be opened."""
    return claim.is_open and now <= claim.window_end


def parts(view: ChainView, me: str) -> Iterator[DisputeView | ClaimView]:
    """Each of the disputes of `me`, which run against a clock, then each claim that it has not disputed; the most
    urgent first."""
    mine = [dispute for dispute in view.disputes if dispute.challenger == me]
    yield from sorted(mine, key=lambda dispute: dispute.turn_start + dispute.challenger_left)
    disputed = {dispute.claim.claim_id for dispute in mine}
    for claim in sorted(view.claims, key=lambda claim: claim.window_end):
        if claim.claim_id not in disputed:
            yield claim


def move(
    part: DisputeView | ClaimView,
    view: ChainView,
    me: str,
    judge: Judge,
    models: frozenset[bytes],
    given_up: GivenUp = (),
) -> actions.Action | None:
    """What `me` should do about one of the `parts` of a view, or None. Claims of models other than `models` and
    its own are left alone."""
    if isinstance(part, DisputeView):
        return pursue(part, judge, view.now, view.block, given_up)
    watched = part.model_id in models and part.prover != me
    if watched and challengeable(part, view.now) and judge.suspicious(part, view.now):
        return actions.Open(part)
    return None
