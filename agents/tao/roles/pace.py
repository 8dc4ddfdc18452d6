"""How a run of many steps goes on: what a trainer and an auditor show of it, and say at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean

from tao.display import Work, duration, trace

RECENT = 10
"""Steps that the time of a step is taken from."""


@dataclass
class Pace:
    """The steps of a run that this process has recorded or replayed. steps: of the whole run. seconds: of wall time, by
    step. losses: likewise, none where the graph does not tell them."""

    steps: int
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def add(self, seconds: float, loss: float | None) -> None:
        """Count a step."""
        self.seconds.append(seconds)
        if loss is not None:
            self.losses.append(loss)

    def show(self, bar: Work, position: int, moved: str) -> None:
        """Bring a bar up to date. position: steps of the run that are done. moved: what was read or written."""
        facts = [f"loss {self.losses[-1]:.4g}"] if self.losses else []
        if self.seconds:
            facts.append(f"{duration(fmean(self.seconds[-RECENT:]))} a step")
        bar.show(position, self.steps, ", ".join([*facts, moved]), trace(self.losses))

    def summary(self) -> str:
        """How long it took, and what became of the loss."""
        time = f"in {duration(sum(self.seconds))}"
        return f"{time}, loss {self.losses[0]:.4g} -> {self.losses[-1]:.4g}" if self.losses else time
