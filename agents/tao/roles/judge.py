"""The challenger's judge: replays what the prover revealed and says how implausible it is."""

import math
from collections.abc import Callable, Sequence

from tao.errors import StoreError
from tao.graph.states import is_consistent, of_outputs
from tao.model import ModelBundle
from tao.numerics.contraction import has_theta
from tao.numerics.measure import SegmentMeasurement, measure, measure_segment
from tao.proofs import find_accusable_element, find_refutable_element
from tao.protocol.challenger import Exceeding, Finding, GivenUp, Inconsistent, Measured, Missing, Refutable
from tao.protocol.views import ChainView, ClaimView, DisputeView, Phase
from tao.roles.states import Ends, around, chunk_numbered, ends, fetch_segment, fetch_value
from tao.tensors.store import TensorStore

_Part = tuple[bytes, Ends]
"""A segment of a dispute, with the values at its ends."""

LATE = 4
"""Outputs that nobody can have are disputed in the last part, one in so many, of the challenge window."""


class ReplayJudge:
    """A challenger.Judge on a model bundle and a store.

    A segment of several operators is implausible if its thresholds are exceeded by ESCALATION_MARGIN, so that members
    whose kernels differ reject it too; where it has none, if its drift ratio is above DRIFT_THRESHOLD. Integers at its
    end that no tie explains make a claim suspicious, but are no evidence that a committee looks at. Outputs that nobody
    can have are disputed late in the window: a prover that shows right ones once it is disputed wins. Verdicts are
    cached; a lost cache costs a replay. is_measured: whether the adjudicator of an operator, by its name, decides what
    exceeds a calibrated threshold.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        store: TensorStore,
        is_measured: Callable[[str], bool] = lambda operator: True,
    ):
        self.bundle, self.store = bundle, store
        self.claims: dict[bytes, SegmentMeasurement] = {}
        self.is_measured = is_measured
        self._deviations: dict[_Part, float] = {}
        self._segments: dict[_Part, SegmentMeasurement] = {}

    def suspicious(self, claim: ClaimView, now: int) -> bool:
        """True iff the outputs are implausible, or cannot be had late in the challenge window."""
        if claim.claim_id not in self.claims:
            graph, last = self.bundle.graph, len(self.bundle.graph)
            try:
                inputs, outputs = fetch_segment(self.store, graph, 0, claim.inputs, last, claim.outputs)
            except StoreError:
                return now > claim.window_end - (claim.window_end - claim.claimed_at) // LATE
            self.claims[claim.claim_id] = measure_segment(self.bundle, 0, inputs, last, outputs)
        return self.is_implausible(self.claims[claim.claim_id])

    def is_implausible(self, found: SegmentMeasurement) -> bool:
        """Whether a segment's end is beyond a limit."""
        return found.excess > 1 or found.differs

    def deviation(self, dispute: DisputeView, child: int) -> float | None:
        """In units of the limit: of the segment for several operators, of the tolerance profile for one. None where
        a value is missing, for as long as it is."""
        return self._judged(_child(dispute, child))

    def differs(self, dispute: DisputeView, child: int) -> bool:
        """Whether integers at the end of a child are others, where no tie explains it."""
        part = _child(dispute, child)
        self._judged(part)
        return part in self._segments and self._segments[part].differs

    def accumulated(self, dispute: DisputeView) -> float:
        """The disputed segment's exceedance of its own thresholds, over ESCALATION_MARGIN."""
        part = dispute.dispute_id, ends(dispute, dispute.lo, dispute.hi)
        self._judged(part)
        found = self._segments.get(part)
        return found.excess if found is not None and found.is_calibrated else 0.0

    def examine(self, dispute: DisputeView, given_up: GivenUp = ()) -> Finding:
        """What is wrong with the operator left, in the order of what it costs to show.

        An accusation ends in a vote if the prover defends itself, so it is made only of what members reject.
        """
        graph, node = self.bundle.graph, dispute.lo
        before, after = around(dispute)
        if not is_consistent(graph, node, before, node + 1, after):
            return Inconsistent()
        try:
            inputs, outputs = fetch_segment(self.store, graph, node, before, node + 1, after)
        except StoreError:
            return self._missing(dispute, before, after)
        claimed = of_outputs(graph, node, outputs)
        if Refutable not in given_up:
            element = find_refutable_element(self.bundle, node, inputs, claimed)
            if element is not None:
                return Refutable(element)
        exceedance = measure(self.bundle, node, inputs, outputs).exceedance
        if exceedance > 1 and Exceeding not in given_up and self._may_accuse(node):
            theta = self.bundle.profile.nodes[node].theta
            element = find_accusable_element(self.bundle, node, inputs, claimed, theta)
            if element is not None:
                return Exceeding(element)
        return Measured(exceedance)

    def _may_accuse(self, index: int) -> bool:
        node = self.bundle.graph.nodes[index]
        return has_theta(node) and self.is_measured(node.operator)

    def forget(self, view: ChainView) -> None:
        """Keep what is known about claims that may be disputed, and disputes that run, alone."""
        is_open = {claim.claim_id for claim in view.claims if claim.is_open}
        runs = {dispute.dispute_id for dispute in view.disputes if dispute.phase is not Phase.CLOSED}
        self.claims = {claim: found for claim, found in self.claims.items() if claim in is_open}
        self._deviations = {part: found for part, found in self._deviations.items() if part[0] in runs}
        self._segments = {part: found for part, found in self._segments.items() if part[0] in runs}

    def _judged(self, part: _Part) -> float | None:
        if part not in self._deviations:
            try:
                self._deviations[part] = self._deviation(part)
            except StoreError:
                return None
        return self._deviations[part]

    def _deviation(self, part: _Part) -> float:
        graph, (lo, hi, before, after) = self.bundle.graph, part[1]
        if not is_consistent(graph, lo, before, hi, after):
            return math.inf
        start, end = fetch_segment(self.store, graph, lo, before, hi, after)
        if hi - lo > 1:
            found = self._segments[part] = measure_segment(self.bundle, lo, start, hi, end)
            return found.excess
        if find_refutable_element(self.bundle, lo, start, of_outputs(graph, lo, end)) is not None:
            return math.inf
        return measure(self.bundle, lo, start, end).exceedance

    def _missing(self, dispute: DisputeView, before: Sequence[bytes], after: Sequence[bytes]) -> Missing:
        """The first value around the operator that cannot be had as its record describes it.

        Each demand asks for another chunk, as far as the tensor has several.
        """
        graph, node = self.bundle.graph, self.bundle.graph.nodes[dispute.lo]
        for slot, commitment in enumerate(of_outputs(graph, dispute.lo, after)):
            if self._is_absent(node.outputs[slot], commitment):
                return Missing(
                    True, slot, chunk_numbered(graph.types[node.outputs[slot]], dispute.demands_left)
                )
        held = dict(zip(graph.live(dispute.lo), before, strict=True))
        for index, operand in enumerate(node.operands):
            if operand.value in held and self._is_absent(operand.value, held[operand.value]):
                return Missing(False, index, chunk_numbered(graph.types[operand.value], dispute.demands_left))
        raise StoreError(
            f"the values around operator {dispute.lo} were missing a moment ago and are there now"
        )

    def _is_absent(self, value: int, commitment: bytes) -> bool:
        try:
            fetch_value(self.store, self.bundle.graph, value, commitment)
        except StoreError:
            return True
        return False


def _child(dispute: DisputeView, number: int) -> _Part:
    return dispute.dispute_id, ends(dispute, dispute.cuts[number], dispute.cuts[number + 1])
