"""What every demonstration does: set the stage, hire a process for each party, play the scenes, report."""

import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from torch import Tensor

from benchmarks.environment import write_result
from demo.scenes import Play
from demo.screen import Screen
from demo.stage import FOLDER, raise_stage
from tao.errors import TaoError
from tao.model import ModelBundle
from tao.numerics import variants
from tao.roles import client

FIRST_CHEAT, ATTACKER, CLIENT = 10, 19, 9
"""Account indices: of the first who cheats, of the attacker, and of the client."""
FEE, CHEAP_FEE = 10**16, 10**15
"""The honest one serves for FEE and above; those who cheat are cheaper."""
VILLAINS = "demo.villains"
BUSY, CASUAL = 0.3, 1.0
"""Seconds between two looks at the chain: of who moves in most scenes, and of members, who are called into few."""


@dataclass(frozen=True)
class Subject:
    """What is served and disputed. inputs: of each scene, the honest one first and the attack last. said: a
    line about it for people. facts: what the result file holds of it."""

    bundle: ModelBundle
    inputs: Sequence[Sequence[Tensor]]
    said: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Programme:
    """A demonstration. result: name of the file of results. cheats: the scenes, each a cheat and a line about
    it. traced: what is traced into a graph. cast: who starts. members: size of the committee's pool. prepare:
    given the number of scenes, what they are about."""

    result: str
    play: type[Play]
    cheats: Mapping[str, str]
    traced: str
    cast: str
    members: int
    prepare: Callable[[int], Subject]


def perform(programme: Programme, only: str | None) -> None:
    """Play the programme, or one cheat of it, for a person to watch; a whole one writes its result.

    Ends the process with 1 where a scene does not end as it must.
    """
    console = Console()
    names = list(programme.cheats) if only is None else [only]
    try:
        with Screen(console, len(names) + 2) as screen:
            result = _play(programme, names, screen)
    except TaoError as error:
        console.print(f"[red]{error}[/red]")
        sys.exit(1)
    screen.summary(result)
    if only is None:
        write_result(programme.result, result)
        console.print(f"figures are in results/{programme.result}.json")
    caught = all(cheat["slashed"] for cheat in result["cheats"])
    if not (caught and result["honest"]["finalised"] and result["malicious_challenger"]["lost_bond"]):
        console.print("[red]not every scene ended as it must[/red]")
        sys.exit(1)


class _Company:
    """The parties of a programme, each a process with an account and, as far as there are, kernels of its own."""

    def __init__(self, play: Play) -> None:
        self._play, self._stage = play, play.stage
        self._kernels = variants.available(accelerators=False)

    def hire(self, members: int) -> None:
        """Start the honest ones: who claims, those who watch, and the committee's members."""
        play, kernels = self._play, self._kernels
        self._start(play.claimant, 1, [play.claimant, *_asking(FEE)], kernels[0])
        for number, name in enumerate(play.watchers, 1):
            self._start(name, 1 + number, [play.watcher], kernels[number])
        for number in range(1, members + 1):
            kernel = kernels[(2 + number) % len(kernels)]
            self._start(f"member-{number}", 3 + number, ["committee"], kernel, poll=CASUAL)

    def hire_cheat(self, name: str, number: int) -> None:
        """A cheat's process starts one scene ahead, so that nobody waits for its imports.

        Each asks for more than the one before, and so leaves the other's request alone.
        """
        arguments = [self._play.claimant, "--cheat", name, *_asking(CHEAP_FEE + number)]
        self._start(name, FIRST_CHEAT + number, arguments, self._kernels[0], VILLAINS)

    def hire_attacker(self) -> None:
        """Start who disputes an honest claim, in the place of those who watch, and wait until it has."""
        for name in self._play.watchers:
            self._stage.stop(name)
        self._start("attacker", ATTACKER, [self._play.watcher], self._kernels[1], VILLAINS)
        self.wait_for("attacker")

    def wait_for(self, name: str) -> None:
        """Wait until a party has started."""
        self._stage.wait_for(f"{name} to start", lambda: self._stage.has("start", party=name))

    def _start(
        self,
        name: str,
        index: int,
        arguments: list[str],
        variant: str,
        module: str = "tao",
        poll: float = BUSY,
    ) -> None:
        model = ["--model", "0x" + self._play.bundle.model_id.hex()]
        self._stage.start(name, index, [*arguments, *model], variant, module, poll)


def _asking(fee: int) -> list[str]:
    return ["--minimum-fee", f"{fee} wei"]


def _play(programme: Programme, names: Sequence[str], screen: Screen) -> dict[str, Any]:
    """Set the stage, play the scenes, and return what the result file holds."""
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "logs").mkdir(parents=True)
    screen.say("compiled contracts go onto a local chain")
    stage = raise_stage(screen.line, screen.say)
    try:
        screen.say(f"tracing {programme.traced} into its canonical operator graph")
        subject = programme.prepare(len(names) + 2)
        client.register(stage.context(0), subject.bundle)
        screen.say(subject.said)
        scenes = programme.play(stage, subject.bundle, stage.context(CLIENT))
        company = _Company(scenes)
        company.hire(programme.members)
        screen.say(f"{programme.cast} start, each with its own kernels")
        for name in list(stage.parties):
            company.wait_for(name)
        company.hire_cheat(names[0], 0)
        honest = screen.scene(scenes.honest(subject.inputs[0], FEE))
        cheats = []
        for number, name in enumerate(names):
            title = programme.cheats[name]
            company.wait_for(name)
            screen.say(f"{name}: {title}")
            if number + 1 < len(names):
                company.hire_cheat(names[number + 1], number + 1)
            decided = scenes.cheat(name, title, subject.inputs[number + 1], CHEAP_FEE + number)
            cheats.append(screen.scene(decided))
            stage.stop(name)
        company.hire_attacker()
        attack = screen.scene(scenes.malicious_challenger(subject.inputs[-1], FEE))
    finally:
        stage.close()
    return {
        "honest": honest.record(),
        "cheats": [cheat.record() for cheat in cheats],
        "malicious_challenger": {"lost_bond": attack.slashed, **attack.record()},
        **subject.facts,
        "seconds": round(time.monotonic() - started, 1),
    }
