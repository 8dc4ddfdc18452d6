"""What a person sees while the scenes are played, and the table at the end."""

import time
from collections import deque
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from demo.scenes import Decided

COLOURS = {"prover": "green", "cheat": "red", "challenger": "cyan", "member": "magenta", "attacker": "red"}


class Screen:
    """A live view on a terminal; plain lines elsewhere."""

    def __init__(self, console: Console, scenes: int):
        self.console, self.scenes = console, scenes
        self._decided: list[Decided] = []
        self._lines: deque[Text] = deque(maxlen=12)
        self._now = ""
        self._started = time.monotonic()
        self._live = Live(self, console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> "Screen":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def __rich__(self) -> Group:
        elapsed = time.monotonic() - self._started
        bar = ProgressBar(total=self.scenes, completed=len(self._decided), width=40)
        head = Text(f"{elapsed:5.0f} s  {self._now}", style="bold")
        return Group(_results(self._decided), bar, head, *self._lines)

    def say(self, what: str) -> None:
        """What happens now."""
        self._now = what
        if not self.console.is_terminal:
            self.console.print(f"{time.monotonic() - self._started:6.1f} s  {escape(what)}")

    def line(self, line: dict[str, Any]) -> None:
        """An action of one of the parties."""
        gas = f"  {line['gas']:,} gas" if line.get("gas") else ""
        text = Text.assemble(
            (f"{line['party']:>16}  ", COLOURS.get(line["role"], "white")), line["what"], (gas, "dim")
        )
        self._lines.append(text)
        if not self.console.is_terminal:
            self.console.print(text)

    def scene(self, decided: Decided) -> Decided:
        """A scene has ended."""
        self._decided.append(decided)
        if not self.console.is_terminal:
            self.console.print(
                f"{time.monotonic() - self._started:6.1f} s  {verdict(decided)}: {escape(decided.evidence)}"
            )
        return decided

    def summary(self, result: dict[str, Any]) -> None:
        """The table of all scenes, what settled each, and the money."""
        self.console.print(_results(self._decided))
        for decided in self._decided:
            where = f" at {decided.where}" if decided.where else ""
            self.console.print(f"[bold]{decided.name}[/bold]{escape(where)}: {escape(decided.evidence)}")
        money = Table("scene", "party", "before (ETH)", "after (ETH)", "change (ETH)", title="Balances")
        for decided in self._decided:
            for party, (before, after) in decided.balances.items():
                row = (f"{before / 1e18:.6f}", f"{after / 1e18:.6f}", f"{(after - before) / 1e18:+.6f}")
                money.add_row(decided.name, party, *row)
        self.console.print(money)
        self.console.print(f"all scenes in {result['seconds']:.0f} s")


def verdict(decided: Decided) -> str:
    """The outcome in a word or two."""
    if decided.name == "malicious-challenger":
        return "attacker lost its bond" if decided.slashed else "attacker not punished"
    if decided.name == "honest":
        return "final" if decided.finalised else "not final"
    return "slashed" if decided.slashed else "NOT CAUGHT"


def _results(scenes: list[Decided]) -> Table:
    table = Table("scene", "outcome", "route", "operator", "node", "txs", "gas", "fetched", "seconds")
    for scene in scenes:
        table.add_row(
            scene.name,
            verdict(scene),
            scene.route or "",
            scene.operator or "",
            "" if scene.node is None else str(scene.node),
            str(scene.transactions),
            f"{scene.gas:,}",
            f"{scene.bytes_fetched / 1e6:.1f} MB",
            f"{scene.seconds:.1f}",
        )
    return table
