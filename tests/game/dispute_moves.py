"""Moves of the stateful tests: the dispute from the opening to the leaf, to the vote and to its end."""

from __future__ import annotations

from hypothesis import strategies as st

from game.claims import Status
from game.disputes import Phase
from game.machine import Machine
from game.rules import Now
from support.encoding import state_hash

MOST_DISPUTES = 7
TIMED = (Phase.REVEAL, Phase.SELECT, Phase.LEAF, Phase.ANSWER, Phase.DEFENCE, Phase.DOUBT, Phase.SPLIT)
SUMS = {Phase.DOUBT: "OfDoubt", Phase.SPLIT: "OfSplit"}
"""Ends in the sum game are counted apart."""


class DisputeMoves(Machine):
    def challengeable(self) -> list[tuple[bytes, str]]:
        claims, disputes = self.reference.claims, self.reference.disputes
        taken = {(entry.claim, entry.challenger) for entry in disputes.disputes.values()}
        now = Now(self.time, self.block)
        return [
            (claim, challenger)
            for claim in claims.claims
            for challenger in self.challengers
            if (claim, challenger) not in taken
            and claims.status(now, claim) in (Status.PENDING, Status.DISPUTED)
            and self.time <= claims.window_end(claim)
        ]

    def expired(self) -> list[bytes]:
        deadline = self.reference.disputes.deadline
        return [d for phase in TIMED for d in self.in_phase(phase) if deadline(d) < self.time]

    def moot(self) -> list[bytes]:
        claims = self.reference.claims.claims
        return [
            d
            for d, entry in self.reference.disputes.disputes.items()
            if claims[entry.claim].refuted and entry.phase not in (Phase.VOTE, Phase.CLOSED)
        ]

    def open(self, data: st.DataObject) -> None:
        claims, disputes = self.reference.claims, self.reference.disputes
        free = self.challengeable()
        stray = [(claim, challenger) for claim in claims.claims for challenger in self.accounts]
        claim, challenger = self.choose(data, free if free and not self.rarely(data) else stray)
        bond = self.rules.challenger_bond + self.rarely(data, 20)
        self.move(
            "open",
            challenger,
            "game",
            "open",
            (claim,),
            lambda now, _: disputes.open(now, challenger, claim, bond),
            value=bond,
            at=self.when(data, claims.window_end(claim)),
        )

    def reveal(self, data: st.DataObject) -> None:
        disputes = self.reference.disputes
        dispute = self.pick_dispute(data, Phase.REVEAL)
        entry = disputes.disputes[dispute]
        cuts = disputes.cuts(entry)
        states = [[value.commitment for value in self.story_of(entry).states[cut]] for cut in cuts[1:-1]]
        paths = self._perhaps_other_paths(data, self.story_of(entry).paths(cuts))
        if states and self.rarely(data):
            states[self.choose(data, range(len(states)))] = self.choose(data, ([], [b"\7" * 32]))
        elif self.rarely(data, 20):
            states.append([b"\7" * 32])
        caller = self.usually(data, self.reference.claims.get(entry.claim).prover)
        segment = (entry.lo, entry.hi + self.rarely(data, 20))
        self.move(
            "reveal",
            caller,
            "game",
            "reveal",
            (dispute, *segment, states, paths),
            lambda now, _: self._revealed(now, caller, dispute, segment, states, paths),
            at=self.when(data, disputes.deadline(dispute)),
        )

    def _perhaps_other_paths(self, data: st.DataObject, paths: list[list[bytes]]) -> list[list[bytes]]:
        match self.choose(data, ("none",) * 20 + ("more", "order", "longer", "other")):
            case "more":
                return [*paths, []]
            case "order":
                return paths[::-1]
            case "longer":
                return [[*path, bytes(32)] for path in paths]
            case "other":
                return [[b"\6" * 32 for _ in path] for path in paths]
        return paths

    def _revealed(
        self,
        now: Now,
        caller: str,
        dispute: bytes,
        segment: tuple[int, int],
        states: list[list[bytes]],
        paths: list[list[bytes]],
    ) -> None:
        self.reference.disputes.reveal(now, caller, dispute, segment, states, paths)
        entry = self.reference.disputes.disputes[dispute]
        self.known_boundaries[dispute] = [entry.lo_state, *map(state_hash, states), entry.hi_state]

    def select(self, data: st.DataObject) -> None:
        disputes = self.reference.disputes
        dispute = self.pick_dispute(data, Phase.SELECT)
        entry = disputes.disputes[dispute]
        cuts = disputes.cuts(entry)
        hashes = list(self.known_boundaries.get(dispute, [entry.lo_state, entry.hi_state]))
        child = self.story_of(entry).first_false_child(cuts)
        if child is None or self.rarely(data, 6):
            child = self.choose(data, range(len(cuts)) if self.rarely(data) else range(len(cuts) - 1))
        if self.rarely(data):
            hashes[self.choose(data, range(len(hashes)))] = b"\5" * 32
        caller = self.usually(data, entry.challenger)
        segment = (entry.lo, entry.hi + self.rarely(data, 20))
        self.move(
            "select",
            caller,
            "game",
            "select",
            (dispute, *segment, hashes, child),
            lambda now, _: disputes.select(now, caller, dispute, segment, hashes, child),
            at=self.when(data, disputes.deadline(dispute)),
        )

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
        entry = disputes.disputes[dispute]
        segment = (entry.lo, entry.hi + self.rarely(data, 20))
        self.move(
            kind,
            caller,
            "game",
            "escalate",
            (dispute, *segment),
            lambda now, _: disputes.escalate(now, caller, dispute, segment),
            at=self.when(data, disputes.deadline(dispute)),
        )

    # ---- the end

    def timeout(self, data: st.DataObject) -> None:
        disputes = self.reference.disputes
        running = [dispute for phase in TIMED for dispute in self.in_phase(phase)]
        due = self.expired() or running
        dispute = self.choose(data, due if due and not self.rarely(data) else disputes.disputes)
        edge = disputes.deadline(dispute)
        at = self.on_edge(data, edge, edge + 1) if edge < self.time + 100_000 else self.time
        caller = self.choose(data, self.accounts)
        self.move(
            f"timeout{SUMS.get(disputes.disputes[dispute].phase, '')}",
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
            f"close{SUMS.get(disputes.disputes[dispute].phase, '')}",
            caller,
            "game",
            "close",
            (dispute,),
            lambda now, _: disputes.close(now, caller, dispute),
            at=self.when(data),
        )
