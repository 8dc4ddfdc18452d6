"""Training, verified: `python -m demo.training` plays all scenes and writes results/demo-training.json.

Example: python -m demo.training --only flipped-label
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
    "poisoned-batch": "noise in the images of one batch",
    "skipped-step": "a step counted but not taken",
    "learning-rate": "twice the learning rate",
    "flipped-label": "one label wrong",
    "backdoor": "a trigger in some images, with a label of the trainer's",
    "always-up": "rounding up whatever is near a boundary",
    "fewer-epochs": "training stopped half way",
    "forged-log": "a log of other roundings",
    "another-seed": "batches drawn from another seed",
}
FIRST_CHEAT, ATTACKER, CLIENT = 10, 19, 9
FEE, CHEAP_FEE = 10**16, 10**15


def play(screen: Screen, only: str | None) -> dict:
    """Set the stage, play the scenes, and return what demo-training.json holds."""
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "logs").mkdir(parents=True)
    screen.say("compiled contracts go onto a local chain")
    stage = raise_stage(screen.line, screen.say)
    try:
        names = list(SCENES) if only is None else [only]
        kernels = variants.available()
        screen.say("tracing one training step into its canonical operator graph")
        from demo.training.job import build
        from demo.training.scenes import AUDITORS, TrainingPlay
        from tao.roles import client

        job = build()
        context = stage.context(CLIENT)
        client.register(stage.context(0), job.bundle)
        model = "0x" + job.bundle.model_id.hex()
        screen.say(f"job {model[:10]}…: {job.steps} steps of {len(job.bundle.graph)} operators")
        arguments = ["trainer", "--model", model, "--minimum-fee", f"{FEE} wei"]
        stage.start("trainer", 1, arguments, kernels[0], "tao")
        for number, name in enumerate(AUDITORS):
            stage.start(name, 2 + number, ["auditor", "--model", model], kernels[1 + number], "tao")
        screen.say("a trainer and two auditors start, each with its own kernels")
        for name in list(stage.parties):
            stage.wait_for(f"{name} to start", lambda name=name: stage.has("start", party=name))

        def hire(number: int) -> None:
            """A cheat's process starts one scene ahead; each asks for more than the one before."""
            if number < len(names):
                fee = f"{CHEAP_FEE + number} wei"
                cheat = ["trainer", "--cheat", names[number], "--model", model, "--minimum-fee", fee]
                stage.start(names[number], FIRST_CHEAT + number, cheat, kernels[0], "demo.training.villains")

        scenes = TrainingPlay(stage, job.bundle, context)
        hire(0)
        honest = screen.scene(scenes.honest(job.initial, FEE))
        cheats = []
        for number, name in enumerate(names):
            stage.wait_for(f"{name} to start", lambda name=name: stage.has("start", party=name))
            screen.say(f"{name}: {SCENES[name]}")
            hire(number + 1)
            cheats.append(screen.scene(scenes.cheat(name, SCENES[name], job.initial, CHEAP_FEE + number)))
            stage.stop(name)
        for name in AUDITORS:
            stage.stop(name)
        villain = ["auditor", "--model", model]
        stage.start("attacker", ATTACKER, villain, kernels[1], "demo.training.villains")
        stage.wait_for("the attacker to start", lambda: stage.has("start", party="attacker"))
        attack = screen.scene(scenes.malicious_auditor(job.initial, FEE))
    finally:
        stage.close()
    return {
        "honest": honest.record(),
        "cheats": [cheat.record() for cheat in cheats],
        "malicious_challenger": {"lost_bond": attack.slashed, **attack.record()},
        "job": {"id": model, "operators": len(job.bundle.graph), "steps": job.steps},
        "seconds": round(time.monotonic() - started, 1),
    }


@click.command()
@click.option("--only", type=click.Choice(list(SCENES)), help="Play one cheat only; writes no result.")
def main(only: str | None) -> None:
    """Play the training demonstration on a local chain.

    Example: python -m demo.training --only flipped-label
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
        write_result("demo-training", result)
        console.print("figures are in results/demo-training.json")
    caught = all(cheat["slashed"] for cheat in result["cheats"])
    if not (caught and result["honest"]["finalised"] and result["malicious_challenger"]["lost_bond"]):
        console.print("[red]not every scene ended as it must[/red]")
        sys.exit(1)


if __name__ == "__main__":
    main()
