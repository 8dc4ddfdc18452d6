"""Moves of the stateful tests: the dispute from the opening to its end."""

from __future__ import annotations

from hypothesis import strategies as st

from game.disputes import Phase
from game.leaf_moves import LeafMoves
from game.partition_moves import PartitionMoves

MOST_DISPUTES = 7
TIMED = (Phase.REVEAL, Phase.SELECT, Phase.LEAF, Phase.ANSWER, Phase.DEFENCE)


class DisputeMoves(PartitionMoves, LeafMoves):
    def expired(self) -> list[bytes]:
        deadline = self.reference.disputes.deadline
        return [d for phase in TIMED for d in self.in_phase(phase) if deadline(d) < self.time]

    def moot(self) -> list[bytes]:
        claims = self.reference.claims.claims
        return [
            d
            for d, entry in self.reference.disputes.disputes.items()
            if claims[entry.claim].refuted and entry.phase != Phase.CLOSED
        ]

    def defend(self, data: st.DataObject) -> None:
        disputes = self.reference.disputes
        dispute = self.pick_dispute(data, Phase.DEFENCE)
        caller = self.usually(data, self.reference.claims.get(disputes.disputes[dispute].claim).prover)
        self._escalate(data, "defend", dispute, caller)

    def escalate(self, data: st.DataObject) -> None:
        disputes = self.reference.disputes
        dispute = self.pick_dispute(data, Phase.LEAF)
        caller = self.usually(data, disputes.disputes[dispute].challenger)
        self._escalate(data, "escalate", dispute, caller)

    def escalate_early(self, data: st.DataObject) -> None:
        """The segment of several operators in which a child is to be selected."""
        dispute = self.pick_dispute(data, Phase.SELECT)
        caller = self.usually(data, self.reference.disputes.disputes[dispute].challenger)
        self._escalate(data, "escalateSegment", dispute, caller)

    def _escalate(self, data: st.DataObject, kind: str, dispute: bytes, caller: str) -> None:
        disputes = self.reference.disputes
        self.move(
            kind,
            caller,
            "game",
            "escalate",
            (dispute,),
            lambda now, _: disputes.escalate(now, caller, dispute),
            at=self.when(data, disputes.deadline(dispute)),
        )

    def timeout(self, data: st.DataObject) -> None:
        disputes = self.reference.disputes
        running = [dispute for phase in TIMED for dispute in self.in_phase(phase)]
        due = self.expired() or running
        dispute = self.choose(data, due if due and not self.rarely(data) else disputes.disputes)
        edge = disputes.deadline(dispute)
        at = self.on_edge(data, edge, edge + 1) if edge < self.time + 100_000 else self.time
        caller = self.choose(data, self.accounts)
        self.move(
            "timeout",
            caller,
            "game",
            "timeout",
            (dispute,),
            lambda now, _: disputes.timeout(now, caller, dispute),
            at=at,
        )

    def close(self, data: st.DataObject) -> None:
        disputes = self.reference.disputes
        dispute = self.choose(data, self.moot() or disputes.disputes)
        caller = self.choose(data, self.accounts)
        self.move(
            "close",
            caller,
            "game",
            "close",
            (dispute,),
            lambda now, _: disputes.close(now, caller, dispute),
            at=self.when(data),
        )
