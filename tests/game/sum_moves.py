"""Moves of the stateful tests: what is said of the sums over the lanes of a leaf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from game.disputes import Dispute, Finding, Phase, partition
from game.leaf_moves import LeafMoves
from game.sums import Stage
from support.encoding import ZERO, Tensor
from support.oracle import is_refuted
from support.sums import SUMMED, Range, Row, Triple, lied

SLIGHT, GROSS = 1, 1 << 120
"""By how much lies overstate sums, in units: one changes no verdict, the other is beyond every element."""


class SumMoves(LeafMoves):
    def summable(self) -> list[bytes]:
        """Leaves whose lanes can be summed, and of which nothing has been asserted."""
        return [d for d in self.stated(Phase.LEAF, Stage.NONE) if self._has_lanes(d)]

    def stated(self, phase: Phase, stage: Stage) -> list[bytes]:
        """Those in the phase of which so much has been said."""
        return [d for d in self.playable(phase) if self.reference.sums.of(d).stage == stage]

    def splittable(self) -> list[bytes]:
        sums = self.reference.sums
        return [d for d in self.playable(Phase.SPLIT) if sums.of(d).hi - sums.of(d).lo > 1]

    def recorded(self) -> list[bytes]:
        """Those whose doubted lanes are summed on the chain."""
        return [d for d in self.playable(Phase.SPLIT) if self._recorded(d)]

    def settleable(self) -> list[bytes]:
        """Those of which the doubted sums are true, too."""
        return [d for d in self.recorded() if self._is_true(d, 0)]

    def conclusive(self) -> list[bytes]:
        """Those whose accepted sums refute an element: that which is false, or any."""
        accepted = self.stated(Phase.LEAF, Stage.ACCEPTED)
        return [
            d for d in accepted if self.rows[d].is_false or self.reference.sums.of(d).partials[0][0] >= GROSS
        ]

    def assert_sum(self, data: st.DataObject) -> None:
        fitting = [*self.summable(), *self.stated(Phase.LEAF, Stage.ACCEPTED)]
        dispute = self._pick(data, fitting, Phase.LEAF)
        entry, row = self.reference.disputes.disputes[dispute], None
        sources, firsts, lanes, hint, sums = [], [], 1, 2, (0, 0, 0)
        if self._has_lanes(dispute):
            row = self._row(data, entry)
            sources, firsts, lanes, hint = row.sources, row.firsts, row.lanes, row.window
            sums = lied(row.sums(), self.choose(data, (0, GROSS, 0, SLIGHT, GROSS)))
        match self.choose(data, ("none",) * 20 + ("other", "path", "fewer", "shifted", "longer", "empty")):
            case "other":
                sources = [(ZERO, path) for _, path in sources]
            case "path":
                sources = [(commitment, [*path, ZERO]) for commitment, path in sources]
            case "fewer":
                sources, firsts = sources[1:], firsts[1:]
            case "shifted":
                firsts = [first + 1 for first in firsts]
            case "longer":
                lanes += 1
            case "empty":
                lanes = 0
        leaf = self._perhaps_spoiled(data, self.leaf(entry)[0])
        statement = (leaf, sources, firsts, lanes, hint, sums)
        self._say(data, "assertSum", dispute, self.reference.sums.assert_sum, *statement)
        if row is not None and self.reference.sums.of(dispute).key == row.key:
            self.rows[dispute] = row

    def accept(self, data: st.DataObject) -> None:
        dispute = self._pick(data, self.stated(Phase.DOUBT, Stage.ASSERTED), Phase.DOUBT)
        key, sums = self._key(data, dispute), self._partials(data, dispute)[0]
        self._say(data, "accept", dispute, self.reference.sums.accept, key, sums)

    def doubt(self, data: st.DataObject) -> None:
        """Of a child whose sums are false, if there is one."""
        dispute = self.pick_dispute(data, Phase.DOUBT)
        key, lanes = self._key(data, dispute), self._lanes(data, dispute)
        partials = self._partials(data, dispute)
        false = [i for i in range(len(partials)) if dispute in self.rows and not self._is_true(dispute, i)]
        child = self.choose(data, false or range(len(partials)))
        child = len(partials) if self.rarely(data) else child
        self._say(data, "doubt", dispute, self.reference.sums.doubt, key, *lanes, partials, child)

    def split(self, data: st.DataObject) -> None:
        """A lie goes to any child; now and then two children of true sums are false."""
        dispute = self.pick_dispute(data, Phase.SPLIT)
        lanes, sums = self._lanes(data, dispute), self._partials(data, dispute)[0]
        partials = self._split(data, dispute, sums)
        match self.choose(data, ("none",) * 12 + ("other", "fewer", "more")):
            case "other":
                partials = [*partials[:-1], lied(partials[-1], SLIGHT)]
            case "fewer":
                partials = partials[:-1]
            case "more":
                partials = [*partials, (0, 0, 0)]
        self._say(data, "split", dispute, self.reference.sums.split, *lanes, sums, partials)

    def _split(self, data: st.DataObject, dispute: bytes, sums: Triple) -> list[Triple]:
        """Sums over the children of the lanes in doubt that add up; the whole where there are none."""
        assertion, row = self.reference.sums.of(dispute), self.rows.get(dispute)
        lo, hi = assertion.lo, assertion.hi
        if row is None or hi - lo == 1 or len(assertion.partials) > 1:
            return [sums]
        cuts = partition(lo, hi, min(self.rules.fan_out, hi - lo))
        partials = [row.sums(*cut) for cut in zip(cuts, cuts[1:], strict=False)]
        excess = sums[0] - row.sums(lo, hi)[0]
        child = self.choose(
            data, [i for i, (positive, _, _) in enumerate(partials) if positive + excess >= 0]
        )
        partials[child] = lied(partials[child], excess)
        moved = min(SLIGHT, partials[-1][0]) if self.rarely(data, 6) else 0
        partials[0], partials[-1] = lied(partials[0], moved), lied(partials[-1], -moved)
        return partials

    def post(self, data: st.DataObject) -> None:
        """Pieces of the lanes in doubt."""
        dispute = self.choose(data, self.playable(Phase.SPLIT) or list(self.rows))
        row, cuts = self.rows[dispute], self.choose(data, self._cuttings(dispute))
        pieces = list(zip(cuts, cuts[1:], strict=False))
        records = {row.range.part(*piece).key: row.sums(*piece) for piece in pieces}
        self.move(
            "post",
            self.choose(data, self.accounts),
            row.adjudicator,
            "post",
            ([row.piece(*piece) for piece in pieces],),
            lambda now, _: self.reference.sums.post(records),
            at=self.when(data),
        )

    def settle(self, data: st.DataObject) -> None:
        dispute = self._pick(data, self.settleable() or self.recorded(), Phase.SPLIT)
        whole, cuttings = Range(1, 1, ZERO, 0), self._cuttings(dispute)
        if dispute in self.rows:
            whole, cuttings = self.rows[dispute].range, self._recorded(dispute) or cuttings
        if self.rarely(data, 20):
            whole = whole._replace(first=whole.first + 1)
        cuts = self.choose(data, cuttings)
        lanes = [hi - lo for lo, hi in zip(cuts, cuts[1:], strict=False)]
        match self.choose(data, ("none",) * 12 + ("fewer", "more")):
            case "fewer":
                lanes = lanes[:-1]
            case "more":
                lanes = [*lanes, 1]
        sums, caller = self._partials(data, dispute)[0], self.choose(data, self.accounts)
        self._say(data, "settle", dispute, self.reference.sums.settle, whole, sums, lanes, caller=caller)

    def prove_by_sums(self, data: st.DataObject) -> None:
        dispute = self._pick(data, self.conclusive() or self.stated(Phase.LEAF, Stage.ACCEPTED), Phase.LEAF)
        entry, sums = self.reference.disputes.disputes[dispute], self._partials(data, dispute)[0]
        whole, lanes, proof, finding = Range(1, 0, ZERO, 0), [], b"", Finding.MALFORMED
        if dispute in self.rows:
            row, spoil = self.rows[dispute], self.choose(data, ("none",) * 12 + ("empty", "cut", "element"))
            row = self._row(data, entry) if spoil == "element" else row
            lanes = [1, row.lanes - 1] if spoil == "cut" else [row.lanes]
            whole = row.range
            if spoil != "empty":
                is_given = spoil != "cut" and row.key == self.rows[dispute].key
                proof, is_shown = row.proof(lanes), is_given and sums[0] >= GROSS or self._is_refuted(row)
                finding = Finding.SHOWN if is_shown else Finding.NOT_SHOWN
        leaf = self._perhaps_spoiled(data, self.leaf(entry)[0])
        self.move(
            "proveBySums",
            self.choose(data, self.accounts),
            "sums",
            "prove",
            (dispute, leaf, proof, sums),
            lambda now, _: self.reference.sums.prove(now, dispute, leaf, whole, lanes, sums, finding),
            at=self.when(data, self.reference.disputes.deadline(dispute)),
        )

    # ---- private

    def _pick(self, data: st.DataObject, fitting: list[bytes], phase: Phase) -> bytes:
        """One that fits, now and then any in the phase."""
        if fitting and not self.rarely(data, 6):
            return self.choose(data, fitting)
        return self.pick_dispute(data, phase)

    def _say(
        self,
        data: st.DataObject,
        kind: str,
        dispute: bytes,
        effect: Callable,
        *args: Any,
        caller: str | None = None,
    ) -> None:
        """The contract and the reference are told the same; by the side to move, unless a caller is given."""
        disputes = self.reference.disputes
        sender = caller or self.usually(data, disputes.mover(disputes.disputes[dispute]))
        self.move(
            kind,
            sender,
            "sums",
            kind,
            (dispute, *args),
            lambda now, _: effect(now, sender, dispute, *args),
            at=self.when(data, disputes.deadline(dispute)),
        )

    def _has_lanes(self, dispute: bytes) -> bool:
        """Whether it is at an operator with partial sums, whose tensors are known and fit its record."""
        entry = self.reference.disputes.disputes[dispute]
        story = self.story_of(entry)
        _, before, outputs = self.leaf(entry)
        return (
            entry.hi - entry.lo == 1
            and story.network.record(entry.lo).operator in SUMMED
            and not (story.inconsistent and story.lie == entry.lo)
            and len(before) == story.network.record(entry.lo).live_before
            and all(isinstance(value, Tensor) for value in (*before, *outputs))
        )

    def _row(self, data: st.DataObject, entry: Dispute) -> Row:
        """That of the false element, if there is one; now and then of another."""
        story = self.story_of(entry)
        if story.lie == entry.lo and not self.rarely(data, 6):
            return Row.of(story, entry.lo, story.false_element)
        elements = Row(story, operator=entry.lo).output.array.size
        return Row.of(story, entry.lo, self.choose(data, range(elements)))

    def _is_true(self, dispute: bytes, child: int) -> bool:
        assertion = self.reference.sums.of(dispute)
        return assertion.partials[child] == self.rows[dispute].sums(*assertion.cuts[child : child + 2])

    def _is_refuted(self, row: Row) -> bool:
        network, before = row.story.network, list(row.story.states[row.operator])
        return is_refuted(network, network.node(row.operator), before, row.output, row.index)

    def _key(self, data: st.DataObject, dispute: bytes) -> bytes:
        return ZERO if self.rarely(data) else self.reference.sums.of(dispute).key

    def _lanes(self, data: st.DataObject, dispute: bytes) -> tuple[int, int]:
        assertion = self.reference.sums.of(dispute)
        return assertion.lo, assertion.hi + self.rarely(data)

    def _partials(self, data: st.DataObject, dispute: bytes) -> list[Triple]:
        """Those that stand, now and then others."""
        partials = self.reference.sums.of(dispute).partials or [(0, 0, 0)]
        return [lied(partials[0], SLIGHT * self.rarely(data)), *partials[1:]]

    def _cuttings(self, dispute: bytes) -> list[list[int]]:
        """Of the lanes in doubt, as one piece or as two."""
        assertion = self.reference.sums.of(dispute)
        lo, hi = assertion.lo, assertion.hi
        return [[lo, hi], [lo, (lo + hi) // 2, hi]] if hi - lo > 1 else [[lo, hi]]

    def _recorded(self, dispute: bytes) -> list[list[int]]:
        """Those cuttings of which all pieces are on the chain."""
        records, whole = self.reference.sums.records, self.rows[dispute].range
        return [
            cuts
            for cuts in self._cuttings(dispute)
            if all(whole.part(lo, hi).key in records for lo, hi in zip(cuts, cuts[1:], strict=False))
        ]
