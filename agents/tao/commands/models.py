"""Registering a model or a training job: trace, calibrate, store, register."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from tao.commands.calibrate import read_profile
from tao.commands.options import (
    Settings,
    apply_variant,
    chain_options,
    require_writable,
    safety_option,
    segment_safety_option,
    variants_option,
)
from tao.commands.sources import load_job, load_samples, require_alike
from tao.errors import ModelError
from tao.numerics.settings import SAFETY, SEGMENT_SAFETY

if TYPE_CHECKING:
    from tao.graph import Graph

FIRST_STATE = Path("first-state.safetensors")


def register_model(
    settings: Settings,
    source: str,
    variants: tuple[str, ...] = (),
    safety: float = SAFETY,
    segment_safety: float = SEGMENT_SAFETY,
    profile: Path | None = None,
) -> str:
    """Register the model that `source` (FILE.py:FUNCTION) builds; returns its id in hex.

    The function returns a torch module and a list of argument tuples: the first one fixes the shapes, all
    calibrate the tolerances between the kernel `variants` (default: all this processor runs), unless
    `profile` is the file that `tao calibrate` wrote.
    """
    apply_variant(None)
    from tao.model import trace
    from tao.numerics.calibrate import Settings as Calibration
    from tao.numerics.calibrate import calibrate
    from tao.numerics.variants import available
    from tao.roles.client import register as send

    context = settings.context()
    how = Calibration(safety=safety, segment_safety=segment_safety, fan_out=context.reader.fan_out)
    module, samples = load_samples(source)
    display = context.journal.display
    with display.work("tracing the model"):
        bare = trace(module, samples[0])
    require_alike(source, samples, bare.graph)
    click.echo(decidable(bare.graph), err=True)
    if profile is None:
        names = variants or available()
        what = f"calibrating {len(bare.graph)} operators on {len(samples)} inputs and {len(names)} kernel variants"
        with display.work(what) as bar:
            tolerances = calibrate(bare, samples, names, settings.store, bar.show, how)
    else:
        tolerances = read_profile(profile)
    return send(context, replace(bare, profile=tolerances)).details["model"]


def register_training(settings: Settings, source: str, first_state: Path = FIRST_STATE) -> str:
    """Register the training job that `source` describes; returns its model's id in hex.

    The function returns the arguments of `tao.training.prepare`, by name. first_state: the safetensors file
    that the state before the first step is written to: the inputs of the request for this run.
    """
    apply_variant(None)
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    from tao.roles.client import register as send

    context = settings.context()
    with context.journal.display.work("tracing the job"):
        job = load_job(source)
    try:
        save_file({str(i): tensor.contiguous() for i, tensor in enumerate(job.initial)}, first_state)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"the first state cannot be written to {first_state}: {error}") from error
    model = send(context, job.bundle).details["model"]
    click.echo(f"first state in {first_state}; ask for the run with it as --inputs", err=True)
    return model


def decidable(graph: "Graph") -> str:
    """How many operators of a graph a contract can decide, and which it cannot, in a sentence."""
    from tao.proofs.search import is_decided_in

    others = Counter(node.operator for node in graph.nodes if not is_decided_in(graph, node))
    said = f"{len(graph) - others.total()} of {len(graph)} operators can be decided by a contract"
    if not others:
        return said
    return f"{said}; the others by vote only: " + ", ".join(f"{name} x{n}" for name, n in others.items())


@click.command()
@chain_options
@click.argument("source", metavar="FILE.py:FUNCTION")
@click.option("--training", is_flag=True, help="FUNCTION describes a training job.")
@click.option(
    "--first-state",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=require_writable,
    help=f"With --training: safetensors file for the first state; default: {FIRST_STATE}.",
)
@variants_option
@safety_option
@segment_safety_option
@click.option(
    "--profile",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the tolerances that `tao calibrate` wrote instead of calibrating.",
)
def register(settings, source, training, first_state, profile, **calibration):
    """Trace, calibrate, store and register the model that FUNCTION returns; prints its id.

    FUNCTION returns a torch module and a list of argument tuples to calibrate on. With --training it returns a
    dict of the arguments of tao.training.prepare, nothing is calibrated, and the state before the first step is
    written to a file: the inputs with which `tao client request` asks for the run.

    Example: tao register examples/models.py:classifier --variant native --variant avx2 --account owner
    """
    source_of = click.get_current_context().get_parameter_source
    calibrates = any(source_of(name) is not ParameterSource.DEFAULT for name in calibration)
    if calibrates and (training or profile):
        given = "--training" if training else "--profile"
        raise click.UsageError(f"{given} calibrates nothing; leave --variant and the safety factors out")
    if training and profile:
        raise click.UsageError("--training has no tolerances; leave --profile out")
    if first_state and not training:
        raise click.UsageError("--first-state goes with --training")
    if training:
        model = register_training(settings, source, first_state or FIRST_STATE)
    else:
        model = register_model(settings, source, profile=profile, **calibration)
    click.echo(model)
