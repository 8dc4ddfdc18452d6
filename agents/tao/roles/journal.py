"""What a role did: plain lines for people, JSON lines for programs."""

import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from tao.chain.sender import Sent
from tao.display import Display, printable


@dataclass(frozen=True)
class Done:
    """One finished action.

    action: its name, such as `reveal`. what: a sentence for people. seconds: time it took, computation and
    inclusion together. `sent` is None where nothing went to the chain. details: figures of that action.
    """

    role: str
    account: str
    action: str
    what: str
    seconds: float
    sent: Sent | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """The fields of a line in the log file. `transaction` is None and `gas` 0 where nothing was sent."""
        included = self.sent if self.sent and not self.sent.already else None
        return {
            "time": round(time.time(), 3),
            "role": self.role,
            "account": self.account,
            "action": self.action,
            "what": self.what,
            "seconds": round(self.seconds, 3),
            "already": bool(self.sent and self.sent.already),
            "transaction": included and included.transaction,
            "block": included and included.block,
            "gas": included.gas_used if included else 0,
            **self.details,
        }


class Journal:
    """Prints each finished action as a line and, with a file, appends it there as JSON.

    A problem is printed when it appears, not at every tick that meets it again. A file that cannot be written is a
    problem, too: what is done on a chain does not wait for it. display: of work under way.
    """

    def __init__(self, path: Path | None = None, console: Console | None = None):
        self._path = path
        self.display = Display(console)
        self._problems: dict[str, str] = {}

    def done(self, done: Done) -> None:
        """Report a finished action."""
        if done.sent is None:
            sending = ""
        elif done.sent.already:
            sending = " [dim](nothing to send)[/dim]"
        else:
            sending = f" [dim]{done.sent.transaction} · {done.sent.gas_used:,} gas[/dim]"
        self._print(done.role, "green", done.what, sending)
        self._append(done.record())

    def problem(self, role: str, subject: str, sentence: str) -> None:
        """Report what went wrong with `subject`, once per wording until it is `solved`."""
        if self._problems.get(subject) == sentence:
            return
        self._problems[subject] = sentence
        self._print(role, "yellow", sentence)
        self._append({"time": round(time.time(), 3), "role": role, "action": "problem", "what": sentence})

    def solved(self, subject: str) -> None:
        """What went wrong with `subject` is over: if it comes back, it is told again."""
        self._problems.pop(subject, None)

    def note(self, role: str, sentence: str) -> None:
        """Print a line that is no action, such as a verdict."""
        self._print(role, "cyan", sentence)

    def _print(self, role: str, colour: str, text: str, sending: str = "") -> None:
        line = f"[dim]{time.strftime('%H:%M:%S')}[/dim] [{colour}]{role:>10}[/{colour}]  "
        with suppress(OSError):  # a file on a full disk, say: there is nowhere left to tell it
            self.display.console.print(line + escape(printable(text)) + sending)

    def _append(self, record: dict[str, Any]) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps(record) + "\n")
            self.solved("log")
        except OSError as error:
            why = f"the log {self._path} cannot be written ({error.strerror}); check --log and the disk"
            if self._problems.get("log") != why:
                self._problems["log"] = why
                self._print(record["role"], "yellow", f"{why}, as its lines are lost until then")
