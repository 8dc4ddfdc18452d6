"""The loop common to all roles."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from web3.logs import DISCARD

from tao.chain.sender import Sent
from tao.errors import sentence
from tao.protocol import actions
from tao.protocol.actions import Action
from tao.protocol.views import ChainView, ClaimView, DisputeView, Outcome
from tao.roles.context import Context
from tao.roles.journal import Done

P = TypeVar("P", bound=DisputeView | ClaimView)

OVER = ("AlreadyClosed", "ClaimRefutedElsewhere", "WrongPhase")
"""Refusals by which a dispute says that it has moved on without us."""

_WON = {
    Outcome.CHALLENGER_WON: "the challenger won",
    Outcome.PROVER_WON: "the prover won",
    Outcome.UNDECIDED: "too few voted, so nobody won",
    Outcome.MOOT: "its claim was refuted in another one",
}

SLICE = 20.0
"""Seconds after which a tick begins nothing that can wait: in the next one what is urgent comes first."""


class Role(ABC):
    """Reads a view, decides, and does: subclasses give `name`, `decide` and `perform`.

    One move that fails, by whatever hostile data can cause, is reported and does not hold up the others; the next
    tick decides afresh, so ending the process at any point loses nothing.
    """

    name = "role"
    is_finished = False
    """Whether there is nothing left to run for."""
    remains = "everything is on the chain and in the store"
    """What is left of the process where it ends, in words."""

    def __init__(self, context: Context):
        self.context = context
        self.address = context.address
        self._tick_end = 0.0
        self._put_off: set[str] = set()

    def view(self) -> ChainView:
        """The part of the chain the role looks at."""
        return self.context.reader.view()

    @abstractmethod
    def decide(self, view: ChainView) -> Iterable[Action]:
        """The moves to make now, most urgent first."""

    @abstractmethod
    def perform(self, action: Action) -> Done | None:
        """Carry one move out."""

    def tick(self, seconds: float = SLICE) -> list[Done]:
        """Look at the chain once and do what is to be done; returns what was done. After so many seconds nothing is
        begun that can wait, and requests that failed before are served last.

        Raises ChainError where the chain cannot be read.
        """
        self._tick_end = time.monotonic() + seconds
        done: list[Done] = []
        last: list[Action] = []
        chosen = iter(self.decide(self.view()))
        while (action := self._next(chosen)) is not None:
            if isinstance(action, actions.Serve) and (self._is_over() or _subject(action) in self._put_off):
                last.append(action)
            else:
                done += self._performed(action)
        for action in last:
            if not self._is_over():
                done += self._performed(action)
        return done

    def _next(self, chosen: Iterator[Action]) -> Action | None:
        try:
            with self.context.journal.display.work(f"{self.name} looks and computes"):
                action = next(chosen, None)
        except Exception as error:
            self.context.journal.problem(self.name, "decide", sentence(error))
            return None
        if action is None:
            self.context.journal.solved("decide")
        return action

    def _performed(self, action: Action) -> list[Done]:
        """What was done, nothing where it failed."""
        subject = f"{type(action).__name__} {_subject(action)}"
        try:
            with self.context.journal.display.work(subject):
                result = self.perform(action)
        except Exception as error:
            self.context.journal.problem(self.name, subject, sentence(error))
            self._put_off.add(_subject(action))
            return []
        self._put_off.discard(_subject(action))
        self.context.journal.solved(subject)
        if result is None:
            return []
        self.context.journal.done(result)
        return [result]

    def _is_over(self) -> bool:
        """Whether this tick has taken so long that the chain is to be looked at again."""
        return time.monotonic() > self._tick_end

    def _each(self, parts: Iterable[P], move: Callable[[P], Action | None]) -> Iterator[Action]:
        """The moves in parts of a view. A part that fails is reported and holds up no other."""
        for part in parts:
            about = short(part.dispute_id if isinstance(part, DisputeView) else part.claim_id)
            subject = f"decide {about}"
            try:
                action = move(part)
            except Exception as error:
                self.context.journal.problem(self.name, subject, sentence(error))
            else:
                self.context.journal.solved(subject)
                if action is not None:
                    yield action

    def run(self, poll: float) -> None:
        """Tick every `poll` seconds until finished or interrupted; a chain out of reach is reported and tried again."""
        while not self.is_finished:
            try:
                self.tick()
                self.context.journal.solved("tick")
            except Exception as error:
                self.context.journal.problem(self.name, "tick", sentence(error))
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
        if sent.already:
            return None
        if isinstance(action, actions.SettleVote):
            (closed,) = self.context.contracts.game.events.DisputeClosed().process_receipt(
                sent.receipt, DISCARD
            )
            what += f": {_WON[Outcome(closed['args']['outcome'])]}"
        return self.done(name, what, start, sent, **facts)


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
