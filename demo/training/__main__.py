"""Training, verified: `python -m demo.training` plays all scenes and writes results/demo-training.json.

Example: python -m demo.training --only flipped-label
"""

import click

from demo.programme import Programme, Subject, perform
from demo.training.scenes import TrainingPlay

CHEATS = {
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


def prepare(scenes: int) -> Subject:
    """The job, which is the same in all scenes."""
    from demo.training.job import build  # whose training rules take a while to load

    job = build()
    model, operators = "0x" + job.bundle.model_id.hex(), len(job.bundle.graph)
    return Subject(
        job.bundle,
        [job.initial] * scenes,
        f"job {model[:10]}…: {job.steps} steps of {operators} operators",
        {"job": {"id": model, "operators": operators, "steps": job.steps}},
    )


PROGRAMME = Programme(
    result="demo-training",
    play=TrainingPlay,
    cheats=CHEATS,
    traced="one training step",
    cast="a trainer and two auditors",
    members=0,
    prepare=prepare,
)


@click.command()
@click.option("--only", type=click.Choice(list(CHEATS)), help="Play one cheat only; writes no result.")
def main(only: str | None) -> None:
    """Play the training demonstration on a local chain.

    Example: python -m demo.training --only flipped-label
    """
    perform(PROGRAMME, only)


if __name__ == "__main__":
    main()
