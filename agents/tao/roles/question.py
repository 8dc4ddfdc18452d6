"""What a case asks of a member, and what there is to say to it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tao.numerics.statistics import VoteStatistics
from tao.protocol.views import DisputeView, Vote
from tao.roles.states import around

Verdict = tuple[Vote, bytes]
"""A vote, and the statistics that are published with it."""


@dataclass(frozen=True)
class Question:
    """What a case asks: whether the values `after` operators [lo, hi) of the model's graph follow from those `before`.

    before, after: commitments of the values live at both ends.
    """

    model_id: bytes
    lo: int
    hi: int
    before: tuple[bytes, ...]
    after: tuple[bytes, ...]

    @classmethod
    def of(cls, dispute: DisputeView) -> Question:
        lo = dispute.node
        return cls(dispute.claim.model_id, lo, lo + dispute.hi - dispute.lo, *around(dispute))

    def record(self) -> list:
        """As JSON holds it."""
        before, after = ([each.hex() for each in state] for state in (self.before, self.after))
        return [self.model_id.hex(), self.lo, self.hi, before, after]

    @classmethod
    def from_record(cls, record: list) -> Question:
        model_id, lo, hi, *states = record
        return cls(bytes.fromhex(model_id), lo, hi, *(tuple(map(bytes.fromhex, state)) for state in states))


def accept(device: str) -> Verdict:
    """Accept without figures: nothing was to be measured, or nothing could be."""
    return Vote.ACCEPT, VoteStatistics((), (), (), 0.0, device).encode()


def reject(grid: tuple[float, ...], device: str) -> Verdict:
    """Reject without figures: values are unavailable, do not fit the record or have no result."""
    nothing = (math.inf,) * len(grid)
    return Vote.REJECT, VoteStatistics(grid, nothing, nothing, math.inf, device).encode()
