"""The main job. `python -m demo` plays all scenes, prints a table and writes results/demo.json.

Example: python -m demo --only altered-output
"""

import click

from demo.programme import Programme, Subject, perform
from demo.scenes import Play

CHEATS = {
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


def prepare(scenes: int) -> Subject:
    """The model, and texts of its own for each scene."""
    from models.minilm.model import batches, build  # whose tokeniser takes a while to load

    bundle = build()
    model = "0x" + bundle.model_id.hex()
    return Subject(
        bundle,
        batches(scenes, seed=0),
        f"model {model[:10]}…: {len(bundle.graph)} operators, {len(bundle.parameters)} parameters",
        {"model": {"id": model, "operators": len(bundle.graph), "name": "all-MiniLM-L6-v2"}},
    )


PROGRAMME = Programme(
    result="demo",
    play=Play,
    cheats=CHEATS,
    traced="all-MiniLM-L6-v2",
    cast="a prover, two challengers and five members",
    members=5,
    prepare=prepare,
)


@click.command()
@click.option("--only", type=click.Choice(list(CHEATS)), help="Play one cheat only; writes no result.")
def main(only: str | None) -> None:
    """Play the main job on a local chain.

    Example: python -m demo --only int8-weights
    """
    perform(PROGRAMME, only)


if __name__ == "__main__":
    main()
