"""The loop common to all roles."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from web3.exceptions import Web3Exception

from tao.chain.sender import Sent
from tao.errors import TaoError
from tao.protocol import actions
from tao.protocol.actions import Action
from tao.protocol.views import ChainView, ClaimView, DisputeView
from tao.roles.context import Context
from tao.roles.journal import Done

P = TypeVar("P", bound=DisputeView | ClaimView)

OVER = ("AlreadyClosed", "ClaimRefutedElsewhere", "WrongPhase")
"""Refusals by which a dispute says that it has moved on without us."""

FAILURES = (TaoError, Web3Exception, RuntimeError, MemoryError)
"""What a move, or judging it, may end with, the last two for want of memory: others still have to be made."""


class Role(ABC):
    """Reads a view, decides, and does: subclasses give `name`, `decide` and `perform`.

    One move that fails is reported and does not hold up the others; the next tick decides afresh, so ending
    the process at any point loses nothing.
    """

    name = "role"

    def __init__(self, context: Context):
        self.context = context
        self.address = context.address

    def view(self) -> ChainView:
        """The part of the chain the role looks at."""
        return self.context.reader.view()

    @abstractmethod
    def decide(self, view: ChainView) -> Iterable[Action]:
        """The moves to make now, most urgent first."""

    @abstractmethod
    def perform(self, action: Action) -> Done | None:
        """Carry one move out."""

    def tick(self) -> list[Done]:
        """Look at the chain once and do what is to be done; returns what was done.

        Raises ChainError where the chain cannot be read.
        """
        done: list[Done] = []
        chosen = iter(self.decide(self.view()))
        while True:
            subject = "decide"
            try:
                with self.context.journal.working(f"{self.name} looks and computes"):
                    action = next(chosen, None)
                if action is None:
                    return done
                subject = f"{type(action).__name__} {_subject(action)}"
                with self.context.journal.working(subject):
                    result = self.perform(action)
            except FAILURES as error:
                self.context.journal.problem(self.name, subject, str(error) or repr(error))
                if subject == "decide":
                    return done
                continue
            if result is not None:
                self.context.journal.done(result)
                done.append(result)

    def _each(self, parts: Iterable[P], move: Callable[[P], Action | None]) -> Iterator[Action]:
        """The moves in parts of a view. A part that fails is reported and holds up no other."""
        for part in parts:
            try:
                action = move(part)
            except FAILURES as error:
                subject = short(part.dispute_id if isinstance(part, DisputeView) else part.claim_id)
                self.context.journal.problem(self.name, f"decide {subject}", str(error) or repr(error))
            else:
                if action is not None:
                    yield action

    def run(self, poll: float) -> None:
        """Tick every `poll` seconds until interrupted; a chain out of reach is reported and tried again."""
        while True:
            try:
                self.tick()
            except FAILURES as error:
                self.context.journal.problem(self.name, "tick", str(error) or repr(error))
            time.sleep(poll)

    def done(self, action: str, what: str, since: float, sent: Sent | None = None, **details: Any) -> Done:
        """The report of a move that started at `since` (time.monotonic), with all bytes fetched so far."""
        details = {"bytes_fetched": self.context.store.bytes_read} | details
        return Done(self.name, self.address, action, what, time.monotonic() - since, sent, details)

    def upkeep(self, action: Action) -> Done | None:
        """Carry out one of the moves that are open to anyone."""
        start, game = time.monotonic(), self.context.contracts.game.functions
        dispute = action.dispute
        name, which, facts = type(action).__name__.lower(), short(dispute.dispute_id), dispute_facts(dispute)
        match action:
            case actions.Timeout():
                call, already = game.timeout(dispute.dispute_id), (*OVER, "ClockRunning")
                what = f"ended dispute {which}: the side to move let its clock run out"
            case actions.Close():
                call, already = game.close(dispute.dispute_id), OVER
                what = f"closed dispute {which}: its claim was refuted in another one"
            case actions.SettleVote():
                name = "settle"
                call, already = game.settleVote(dispute.dispute_id), (*OVER, "WrongStage")
                what = f"settled dispute {which} by the committee's tally"
            case actions.Draw():
                committee = self.context.contracts.committee.functions
                call, already = committee.draw(dispute.dispute_id), ("WrongStage", "SeedNotMined")
                what = f"drew the panel of dispute {which}"
            case _:
                raise TypeError(f"{action} is not upkeep")
        sent = self.context.send(call, already=already)
        return None if sent.already else self.done(name, what, start, sent, **facts)


def short(identifier: bytes) -> str:
    """The first four bytes, for people."""
    return "0x" + identifier.hex()[:8]


def dispute_facts(dispute: DisputeView) -> dict[str, Any]:
    """What every log line about a dispute names."""
    return {"dispute": "0x" + dispute.dispute_id.hex(), "lo": dispute.lo, "hi": dispute.hi}


def _subject(action: Action) -> str:
    for name in ("dispute", "claim", "request"):
        if hasattr(action, name):
            held = getattr(action, name)
            return f"{name} {short(getattr(held, f'{name}_id'))}"
    return ""
