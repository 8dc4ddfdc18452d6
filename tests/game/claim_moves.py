"""Moves of the stateful tests: requests, claims, finality, withdrawals."""

from __future__ import annotations

from hypothesis import strategies as st

from game.claims import Status
from game.machine import Machine
from game.rules import Now
from game.stories import Story, networks, stories
from support.encoding import ZERO
from support.graphs import Network

GWEI = 10**9
MOST_CLAIMS, MOST_REQUESTS = 5, 3


class ClaimMoves(Machine):
    def open_requests(self) -> list[bytes]:
        requests = self.reference.claims.requests
        return [request for request, entry in requests.items() if entry.active == ZERO and not entry.closed]

    def undisputed(self, within: int) -> list[bytes]:
        """Claims that can be finalised `within` so many seconds if nobody disputes them."""
        later = Now(self.time + within, self.block)
        claims = self.reference.claims
        return [claim for claim in claims.claims if claims.status(later, claim) == Status.FINALISABLE]

    def request(self, data: st.DataObject) -> None:
        story = self.choose(data, (stories()[0], stories()[-1]))
        model = self.model_id_of(story)
        inputs = story.inputs * (2 if self.rarely(data) else 1)
        fee, salt = self.choose(data, (5 * GWEI, 0)), self.choose(data, (1, 2))
        self.move(
            "request",
            self.client,
            "claims",
            "request",
            (model, inputs, salt),
            lambda now, _: self.reference.claims.request(now, self.client, model, inputs, salt, fee),
            value=fee,
            at=self.when(data),
        )

    def cancel(self, data: st.DataObject) -> None:
        free = self.open_requests()
        request = self.choose(
            data, free if free and not self.rarely(data) else self.reference.claims.requests
        )
        caller = self.usually(data, self.client)
        self.move(
            "cancel",
            caller,
            "claims",
            "cancel",
            (request,),
            lambda now, _: self.reference.claims.cancel(now, caller, request),
            at=self.when(data),
        )

    def claim(self, data: st.DataObject) -> None:
        claims = self.reference.claims
        prover = self.choose(data, self.provers)
        mine = [self.told[claim] for claim, entry in claims.claims.items() if entry.prover == prover]
        again = self.rarely(data, 20)
        fresh = [story for story in stories() if again or story not in mine]
        if not self.rarely(data, 3):
            fresh = [story for story in fresh if self.focus(story)] or fresh
        network = self._network(data, fresh)
        story = self.choose(data, [story for story in fresh if story.network is network])
        model = self.model_id_of(story)
        fitting = [request for request in self.open_requests() if claims.requests[request].model == model]
        request = self.choose(data, [*fitting, ZERO])
        if self.rarely(data):
            request = self.choose(data, [ZERO, b"\1" * 32, *claims.requests])
        outputs = story.outputs * (2 if self.rarely(data, 20) else 1)
        root = story.checkpoint_root
        if self.rarely(data, 30):
            root = self.choose(data, (ZERO, b"\6" * 32))
        bond = self.rules.prover_bond - self.rarely(data, 20)
        claim = self.move(
            "claim",
            prover,
            "claims",
            "claim",
            (model, request, story.inputs, outputs, root),
            lambda now, _: claims.claim(now, prover, model, request, story.inputs, outputs, root, bond),
            value=bond,
            at=self.when(data),
        )
        if claim is not None:
            self.told[claim] = story

    def _network(self, data: st.DataObject, told: list[Story]) -> Network:
        """One that there is a story of; those of several operators, with more stories, twice as often."""
        given = [
            network for network in networks().values() if any(story.network is network for story in told)
        ]
        return self.choose(data, [*given, *(network for network in given if network.length > 1)])

    def finalise(self, data: st.DataObject) -> None:
        claims = self.reference.claims
        due = self.undisputed(20)
        claim = self.choose(data, due if due and not self.rarely(data) else claims.claims)
        edge = claims.window_end(claim)
        caller = self.choose(data, self.accounts)
        self.move(
            "finalise",
            caller,
            "claims",
            "finalise",
            (claim,),
            lambda now, _: claims.finalise(now, caller, claim),
            at=self.on_edge(data, edge, edge + 1),
        )

    def withdraw(self, data: st.DataObject) -> None:
        rich = [account for account in self.accounts if self.reference.vault.credits[account]]
        caller = self.choose(data, self.accounts if self.rarely(data) or not rich else rich)
        self.move(
            "withdraw",
            caller,
            "vault",
            "withdraw",
            (caller,),
            lambda now, _: self.reference.vault.withdraw(caller),
            at=self.when(data),
        )
