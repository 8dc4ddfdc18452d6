"""How commands show that they work: bars and spinners where a person watches, lines now and then in a log."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta

from rich.console import Console, RenderableType
from rich.filesize import decimal as size
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
)
from rich.table import Column
from rich.text import Text

__all__ = ["Display", "Work", "duration", "printable", "size", "trace", "utc"]

TELL_EVERY = 30.0
"""Seconds between lines of progress in a log."""
_LEVELS = "▁▂▃▄▅▆▇█"
_TRACED = 16
_BAR = 20


class Work:
    """A piece of work that is shown: a spinner until its first `show`, then a bar."""

    def __init__(self, display: Display, rows: Progress, what: str) -> None:
        self._display, self._rows, self._what = display, rows, what
        self.row = rows.add_task(escape(what), total=None, facts="", trace="")
        self._since: tuple[float, int] | None = None

    def show(self, done: int, total: int, facts: str = "", trace: str = "") -> None:
        """How many of so many parts are done, with the time that the others take if they take as long as those since
        the first call. facts: of the work, for bar and log. trace: of a figure, for the bar alone."""
        now = time.monotonic()
        since, first = self._since = self._since or (now, done)
        if done > first:
            left = duration((now - since) / (done - first) * (total - done))
            facts = ", ".join(filter(None, (facts, f"{left} left")))
            self._display.tell(f"{self._what}: {done:,} of {total:,}, {facts}")
        self._rows.update(self.row, completed=done, total=total, facts=facts, trace=trace)


class Display:
    """Rows at the bottom of a terminal, one for each piece of work under way; a log gets lines instead.

    tell_every: seconds between lines of progress in a log.
    """

    def __init__(self, console: Console | None = None, tell_every: float = TELL_EVERY) -> None:
        self.console = console or Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._tell_every = tell_every
        self._told: float | None = None
        self._rows: Progress | None = None

    @property
    def is_watched(self) -> bool:
        """Whether rows can be shown."""
        console = self.console
        return console.is_terminal and not console.is_dumb_terminal and not console.quiet

    @contextmanager
    def work(self, what: str) -> Iterator[Work]:
        """A row for as long as the context lasts."""
        is_outermost = self._rows is None
        rows = self._rows = self._rows or self._started()
        work = Work(self, rows, what)
        try:
            yield work
        finally:
            rows.remove_task(work.row)
            if is_outermost:
                self._rows = None
                rows.stop()

    def waiting(self, what: str) -> AbstractContextManager[Work]:
        """The same for something that is waited for, of which a log gets a line at once."""
        if not self.is_watched:
            self.console.print(escape(what))
        return self.work(what)

    def tell(self, line: str) -> None:
        """A line of progress for a log, unless one was written a short while ago."""
        now = time.monotonic()
        if not self.is_watched and (self._told is None or now >= self._told + self._tell_every):
            self._told = now
            self.console.print(escape(line))

    def _started(self) -> Progress:
        rows = _Rows(
            SpinnerColumn(),
            TextColumn("{task.description}", table_column=Column()),  # wraps
            _Counted(BarColumn(_BAR)),
            _Counted(MofNCompleteColumn()),
            _Elapsed(),
            console=self.console,
            transient=True,
            disable=not self.is_watched,
        )
        rows.start()
        return rows


class _Rows(Progress):
    """Each row as wide as it needs, with its facts below it."""

    def get_renderables(self) -> Iterator[RenderableType]:
        for task in self.tasks:
            yield self.make_tasks_table([task])
            if task.fields["facts"]:
                facts = Text(f"  {task.fields['facts']}  ", no_wrap=True, overflow="ellipsis")
                yield facts.append(task.fields["trace"], "cyan")


class _Counted(ProgressColumn):
    """A column that is empty until it is known how much there is to do."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> RenderableType:
        return Text() if task.total is None else self._column.render(task)


class _Elapsed(ProgressColumn):
    """How long something has taken of which no more is known."""

    def render(self, task: Task) -> Text:
        return Text(duration(int(task.elapsed or 0)) if task.total is None else "")


def utc(second: int) -> str:
    """A second of the chain's time, for people."""
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S} UTC"


def printable(text: str) -> str:
    """A stranger's words without what a terminal would obey instead of showing it: spaces in the place of that."""
    return "".join(character if character.isprintable() else " " for character in text)


def duration(seconds: float) -> str:
    """A time for people: `0.0213 s`, `18 s`, `0:03:20`."""
    return f"{seconds:.3g} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def trace(values: Sequence[float]) -> str:
    """The course of some numbers in few characters, from the lowest to the highest level; empty of none."""
    count = min(len(values), _TRACED)
    drawn = [values[(place + 1) * len(values) // count - 1] for place in range(count)]
    chosen = [value for value in drawn if math.isfinite(value)]
    low, high = min(chosen, default=0.0), max(chosen, default=0.0)
    top = len(_LEVELS) - 1
    return "".join(_LEVELS[round((value - low) / ((high - low) or 1.0) * top)] for value in chosen)
