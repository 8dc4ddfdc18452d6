"""The main job. `python -m demo` plays all scenes, prints a table and writes results/demo.json.

Example: python -m demo --only altered-output
"""

import shutil
import sys
import time

import click
from rich.console import Console

from benchmarks.environment import write_result
from demo.screen import Screen
from demo.stage import FOLDER, raise_stage
from tao.errors import TaoError
from tao.numerics import variants

SCENES = {
    "altered-output": "one embedding altered by 1e-3 of its norm",
    "swapped-weights": "one layer's weights moved by 1e-3",
    "nudged-weights": "the widest matrices moved by 3e-5",
    "int8-weights": "weights rounded to int8 per channel",
    "bf16-matmuls": "matrix products in bfloat16",
    "skipped-layer": "a transformer layer skipped",
    "passing-value": "a value changed while passing through a cut",
    "falls-silent": "a prover that stops answering",
    "another-run": "boundaries of another run",
}
FIRST_CHEAT = 10
"""Account index of the first cheating prover."""
ATTACKER = 19
CLIENT = 9
FEE, CHEAP_FEE = 10**16, 10**15
"""The honest prover serves for FEE and above; those who cheat are cheaper."""


def play(screen: Screen, only: str | None) -> dict:
    """Set the stage, play the scenes, and return what demo.json holds."""
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "logs").mkdir(parents=True)
    screen.say("compiled contracts go onto a local chain")
    stage = raise_stage(screen.line, screen.say)
    try:
        names = list(SCENES) if only is None else [only]
        kernels = variants.available()
        screen.say("tracing all-MiniLM-L6-v2 into its canonical operator graph")
        from demo.scenes import Play
        from models.minilm.model import batches, build
        from tao.roles import client

        bundle = build()
        context = stage.context(CLIENT)
        client.register(stage.context(0), bundle)
        model = "0x" + bundle.model_id.hex()
        screen.say(f"model {model[:10]}…: {len(bundle.graph)} operators, {len(bundle.parameters)} parameters")
        stage.start(
            "prover", 1, ["prover", "--model", model, "--minimum-fee", f"{FEE} wei"], kernels[0], "tao"
        )
        for number in (1, 2):
            stage.start(
                f"challenger-{number}", 1 + number, ["challenger", "--model", model], kernels[number], "tao"
            )
        for number in range(1, 6):
            variant = kernels[(2 + number) % len(kernels)]
            stage.start(f"member-{number}", 3 + number, ["committee", "--model", model], variant, "tao")
        screen.say("a prover, two challengers and five members start, each with its own kernels")
        for name in list(stage.parties):
            stage.wait_for(f"{name} to start", lambda name=name: stage.has("start", party=name))

        def hire(number: int) -> None:
            """A cheat's process starts one scene ahead, so that nobody waits for its imports.

            Each asks for more than the one before, and so leaves the other's request alone.
            """
            if number < len(names):
                fee = f"{CHEAP_FEE + number} wei"
                arguments = ["prover", "--cheat", names[number], "--model", model, "--minimum-fee", fee]
                stage.start(names[number], FIRST_CHEAT + number, arguments, kernels[0], "demo.villains")

        texts = batches(len(names) + 2, seed=0)
        scenes = Play(stage, bundle, context)
        hire(0)
        honest = screen.scene(scenes.honest(texts[0], FEE))
        cheats = []
        for number, name in enumerate(names):
            stage.wait_for(f"{name} to start", lambda name=name: stage.has("start", party=name))
            screen.say(f"{name}: {SCENES[name]}")
            hire(number + 1)
            decided = scenes.cheat(name, SCENES[name], texts[number + 1], CHEAP_FEE + number)
            cheats.append(screen.scene(decided))
            stage.stop(name)
        for number in (1, 2):
            stage.stop(f"challenger-{number}")
        stage.start("attacker", ATTACKER, ["challenger", "--model", model], kernels[1], "demo.villains")
        stage.wait_for("the attacker to start", lambda: stage.has("start", party="attacker"))
        attack = screen.scene(scenes.malicious_challenger(texts[-1], FEE))
    finally:
        stage.close()
    return {
        "honest": honest.record(),
        "cheats": [cheat.record() for cheat in cheats],
        "malicious_challenger": {"lost_bond": attack.slashed, **attack.record()},
        "model": {"id": model, "operators": len(bundle.graph), "name": "all-MiniLM-L6-v2"},
        "seconds": round(time.monotonic() - started, 1),
    }


@click.command()
@click.option("--only", type=click.Choice(list(SCENES)), help="Play one cheat only; writes no result.")
def main(only: str | None) -> None:
    """Play the main job on a local chain.

    Example: python -m demo --only int8-weights
    """
    console = Console()
    try:
        with Screen(console, len(SCENES) + 2 if only is None else 3) as screen:
            result = play(screen, only)
    except TaoError as error:
        console.print(f"[red]{error}[/red]")
        sys.exit(1)
    screen.summary(result)
    if only is None:
        write_result("demo", result)
        console.print("figures are in results/demo.json")
    caught = all(cheat["slashed"] for cheat in result["cheats"])
    if not (caught and result["honest"]["finalised"] and result["malicious_challenger"]["lost_bond"]):
        console.print("[red]not every scene ended as it must[/red]")
        sys.exit(1)


if __name__ == "__main__":
    main()
