"""Registering a model: trace, calibrate, store, register."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from tao.commands.options import Settings, apply_variant, chain_options
from tao.errors import ModelError


def register_model(
    settings: Settings, source: str, variants: tuple[str, ...], safety: float, profile: Path | None = None
) -> str:
    """Register the model that `source` (FILE.py:FUNCTION) builds; returns its id in hex.

    The function returns a torch module and a list of argument tuples: the first one fixes the shapes, all
    calibrate the tolerances between the kernel `variants` (default: all this processor runs), unless
    `profile` is the file that `tao calibrate` wrote.
    """
    apply_variant(None)
    from rich.console import Console

    from tao.model import trace
    from tao.numerics.calibrate import Settings as Calibration
    from tao.numerics.calibrate import calibrate
    from tao.numerics.profile import Profile
    from tao.numerics.variants import available
    from tao.roles.client import register as send

    context = settings.context()
    module, samples = load_function(source)()
    with Console(stderr=True).status("tracing") as shown:
        bare = trace(module, samples[0])
        if profile is None:
            shown.update(f"calibrating {len(bare.graph)} operators on {len(samples)} inputs")
            how = Calibration(safety=safety, fan_out=context.reader.fan_out)
            tolerances = calibrate(bare, samples, variants or available(), settings.store, settings=how)
        else:
            tolerances = Profile.from_json(profile.read_bytes())
    return send(context, replace(bare, profile=tolerances)).details["model"]


def load_function(source: str) -> Callable:
    """The function that FILE.py:FUNCTION names. Raises ModelError if there is none."""
    path, _, name = source.partition(":")
    if not Path(path).is_file() or not name:
        raise ModelError(f"{source!r} names no function; give FILE.py:FUNCTION")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        raise ModelError(f"{path} has no function {name}")
    return getattr(module, name)


@click.command()
@chain_options
@click.argument("source", metavar="FILE.py:FUNCTION")
@click.option(
    "--variants",
    multiple=True,
    help="Kernel variant to calibrate on, repeatable; default: all that run here.",
)
@click.option(
    "--safety",
    type=float,
    default=3.0,
    show_default=True,
    help="Deviation rejected, over the largest calibrated.",
)
@click.option(
    "--profile",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the tolerances that `tao calibrate` wrote instead of calibrating.",
)
def register(settings, **options):
    """Trace, calibrate, store and register the model that FUNCTION returns; prints its id.

    FUNCTION returns a torch module and a list of argument tuples to calibrate on.

    Example: tao register models.py:classifier --variants native --variants avx2 --account owner
    """
    click.echo(register_model(settings, **options))
