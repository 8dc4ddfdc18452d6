"""Reference model of requests, claims, the challenge window and finality."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from game.rules import Model, Now, Refused, Rules, require
from game.vault import Vault
from support.encoding import ZERO, claim_id, request_id, state_hash


class Status(IntEnum):
    UNKNOWN, PENDING, DISPUTED, FINALISABLE, FINALISED, REFUTED = range(6)


@dataclass
class Claim:
    model: bytes
    inputs: bytes
    outputs: bytes
    checkpoints: bytes
    request: bytes
    prover: str
    claimed_at: int
    open_disputes: int = 0
    refuted: bool = False
    finalised: bool = False


@dataclass
class Request:
    model: bytes
    inputs: bytes
    client: str
    fee: int
    active: bytes = ZERO
    closed: bool = False


class Claims:
    def __init__(self, rules: Rules, vault: Vault, models: dict[bytes, Model]):
        self.rules, self.vault, self.models = rules, vault, models
        self.claims: dict[bytes, Claim] = {}
        self.requests: dict[bytes, Request] = {}

    def request(self, now: Now, caller: str, model: bytes, inputs: list[bytes], salt: int, fee: int) -> bytes:
        require(len(inputs) == self.model(model).input_count, "WrongValueCount")
        rules, root = self.rules, state_hash(inputs)
        identifier = request_id(rules.chain, rules.registry, model, root, caller, fee, salt)
        require(identifier not in self.requests, "DuplicateRequest")
        self.requests[identifier] = Request(model, root, caller, fee)
        if fee:
            self.vault.lock(rules.registry, identifier, fee)
        return identifier

    def cancel(self, now: Now, caller: str, request: bytes) -> None:
        entry = self._open_request(request)
        require(caller == entry.client, "NotClient")
        entry.closed = True
        self._pay_fee(request, caller)

    def claim(
        self,
        now: Now,
        caller: str,
        model: bytes,
        request: bytes,
        inputs: list[bytes],
        outputs: list[bytes],
        checkpoints: bytes,
        bond: int,
    ) -> bytes:
        rules = self.rules
        require(bond == rules.prover_bond, "WrongBond")
        entry = self.model(model)
        require(len(inputs) == entry.input_count and len(outputs) == entry.output_count, "WrongValueCount")
        require((checkpoints == ZERO) == (entry.steps == 1), "WrongCheckpoints")
        input_root, output_root = state_hash(inputs), state_hash(outputs)
        identifier = claim_id(
            rules.chain, rules.registry, model, request, input_root, output_root, checkpoints, caller
        )
        require(identifier not in self.claims, "DuplicateClaim")
        if request != ZERO:
            served = self._open_request(request)
            require((served.model, served.inputs) == (model, input_root), "RequestMismatch")
            served.active = identifier
        self.claims[identifier] = Claim(
            model, input_root, output_root, checkpoints, request, caller, now.time
        )
        self.vault.lock(rules.registry, identifier, bond)
        return identifier

    def finalise(self, now: Now, caller: str, claim: bytes) -> None:
        require(self.status(now, claim) == Status.FINALISABLE, "NotFinalisable")
        entry = self.claims[claim]
        entry.finalised = True
        self.vault.credit(self.rules.registry, claim, entry.prover, self.rules.prover_bond)
        if entry.request != ZERO:
            self.requests[entry.request].closed = True
            self._pay_fee(entry.request, entry.prover)

    # ---- called by the game

    def dispute_opened(self, now: Now, claim: bytes) -> None:
        in_window = now.time <= self.window_end(claim)
        require(
            in_window and self.status(now, claim) in (Status.PENDING, Status.DISPUTED), "NotChallengeable"
        )
        self.claims[claim].open_disputes += 1

    def dispute_closed(self, claim: bytes) -> None:
        self.claims[claim].open_disputes -= 1

    def refute(self, claim: bytes, challenger: str, members: list[str]) -> None:
        entry = self.claims[claim]
        assert not entry.refuted and not entry.finalised and entry.open_disputes > 0
        entry.refuted = True
        entry.open_disputes -= 1
        if entry.request != ZERO:
            self.requests[entry.request].active = ZERO
        self.vault.distribute(self.rules.registry, claim, self.rules.prover_bond, challenger, members)

    # ---- views

    def model(self, model: bytes) -> Model:
        if model not in self.models:
            raise Refused("UnknownModel")
        return self.models[model]

    def get(self, claim: bytes) -> Claim:
        if claim not in self.claims:
            raise Refused("UnknownClaim")
        return self.claims[claim]

    def window_end(self, claim: bytes) -> int:
        return self.get(claim).claimed_at + self.rules.window

    def status(self, now: Now, claim: bytes) -> Status:
        entry = self.claims.get(claim)
        if entry is None:
            return Status.UNKNOWN
        if entry.refuted:
            return Status.REFUTED
        if entry.finalised:
            return Status.FINALISED
        if entry.open_disputes:
            return Status.DISPUTED
        return Status.FINALISABLE if now.time > self.window_end(claim) else Status.PENDING

    def _open_request(self, request: bytes) -> Request:
        if request not in self.requests:
            raise Refused("UnknownRequest")
        entry = self.requests[request]
        require(not entry.closed and entry.active == ZERO, "RequestNotOpen")
        return entry

    def _pay_fee(self, request: bytes, account: str) -> None:
        fee = self.requests[request].fee
        if fee:
            self.vault.credit(self.rules.registry, request, account, fee)
