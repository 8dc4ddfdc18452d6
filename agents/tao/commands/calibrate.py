"""Calibrating a model: what this machine's kernels, or a cluster's, deviate by on sample inputs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tao.chain.build import ROOT
from tao.commands.options import (
    INTERRUPTED,
    apply_variant,
    require_writable,
    safety_option,
    segment_safety_option,
    store_option,
    variants_option,
)
from tao.display import Display
from tao.errors import ProfileError
from tao.files import write_whole
from tao.numerics.settings import FAN_OUT, SAFETY, SEGMENT_SAFETY

if TYPE_CHECKING:
    from tao.graph.canonical import Graph
    from tao.numerics.profile import Profile

WORK = ROOT / ".runs" / "calibration"


def calibrate_model(
    source: str,
    store: str,
    work: Path,
    variants: Sequence[str] = (),
    ray: str | None = None,
    safety: float = SAFETY,
    segment_safety: float = SEGMENT_SAFETY,
    fan_out: int = FAN_OUT,
) -> bytes:
    """The profile's file of the model that `source` (FILE.py:FUNCTION) builds, on all the inputs it gives.

    variants: of this machine's kernels, by default all it runs, on a CUDA device too. ray: address of a Ray
    cluster, each of whose nodes is a device instead.
    """
    apply_variant(None)
    from tao.commands.sources import load_samples, require_alike
    from tao.model import trace
    from tao.numerics.calibrate import Settings, calibrate, calibrate_on
    from tao.numerics.variants import available

    settings = Settings(safety=safety, segment_safety=segment_safety, fan_out=fan_out)
    module, samples = load_samples(source)
    bundle = trace(module, samples[0])
    require_alike(source, samples, bundle.graph)
    title = f"calibrating {len(bundle.graph)} operators on {len(samples)} inputs and"
    if ray is None:
        names = variants or available()
        with Display().work(f"{title} {len(names)} kernel variants") as bar:
            profile = calibrate(bundle, samples, names, store, bar.show, settings, work)
    else:
        from tao.numerics.cluster import ray_devices

        with ray_devices(ray, bundle) as nodes, Display().work(f"{title} {len(nodes)} nodes") as bar:
            profile = calibrate_on(nodes, bundle, samples, bar.show, settings, work)
    for line in largest_constants(bundle.graph, profile):
        click.echo(line, err=True)
    return profile.to_json()


def largest_constants(graph: "Graph", profile: "Profile") -> list[str]:
    """By operator: how far the devices, or honest schedules, were off at most, in the family's unit."""
    from tao.numerics.dot import THETA_ONE
    from tao.numerics.theta import unit_name

    largest: dict[tuple[str, str], float] = {}
    for node, tolerance in zip(graph.nodes, profile.nodes, strict=True):
        if tolerance.theta:
            key, constant = (node.operator, unit_name(node)), tolerance.theta / THETA_ONE
            largest[key] = max(constant, largest.get(key, 0.0))
    return [
        f"{operator}: honest results within {constant / profile.safety:.3g} {unit}, theta {constant:.3g}"
        for (operator, unit), constant in sorted(largest.items())
    ]


def merge_files(paths: Sequence[Path]) -> bytes:
    """The envelope of several profiles' files."""
    from tao.numerics.merge import merge

    return merge(list(map(read_profile, paths))).to_json()


def read_profile(path: Path) -> "Profile":
    """A profile from its file. Raises ProfileError, naming the file, where it cannot be read or is none."""
    from tao.numerics.profile import Profile

    try:
        return Profile.from_json(path.read_bytes())
    except OSError as error:
        raise ProfileError(f"the profile {path} cannot be read: {error.strerror}") from error
    except ProfileError as error:
        raise ProfileError(f"{path}: {error}") from error


@click.command()
@store_option
@click.argument("sources", nargs=-1, required=True, metavar="FILE.py:FUNCTION | PROFILE.json ...")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    callback=require_writable,
    help="Where to write the profile.",
)
@click.option("--merge", is_flag=True, help="Merge the profiles given instead of calibrating.")
@variants_option
@click.option("--ray", metavar="ADDRESS", help="Calibrate on the nodes of this Ray cluster instead.")
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    callback=require_writable,
    default=WORK,
    show_default=True,
    help="Where the results of single inputs are kept, so that an interrupted run goes on.",
)
@safety_option
@segment_safety_option
@click.option(
    "--fan-out",
    type=click.IntRange(2),
    default=FAN_OUT,
    show_default=True,
    help="Children of a segment in the deployment's disputes.",
)
def calibrate(sources, out, merge, **options):
    """Measure what honest devices deviate by, and write the model's tolerance profile.

    FUNCTION returns a torch module and a list of argument tuples to calibrate on. All pairs of the machine's
    kernel variants are compared, those of its CPU and, where it has one, its CUDA device; how far they were off is
    said operator by operator, in the unit of each (docs/protocol.md, section 4). With --merge the
    arguments are profiles of one model, from several machines or inputs: the result has the largest threshold
    of any.

    Example: tao calibrate examples/models.py:classifier --variant native --variant avx2 --out profile.json
    """
    if merge:
        data = merge_files([Path(source) for source in sources])
    elif len(sources) > 1:
        raise click.UsageError("give one FILE.py:FUNCTION to calibrate, or --merge and several profiles")
    elif options["ray"] and options["variants"]:
        raise click.UsageError(
            "--variant chooses among this machine's kernels, --ray takes a cluster's nodes"
        )
    else:
        try:
            data = calibrate_model(sources[0], **options)
        except KeyboardInterrupt:
            kept = f"the inputs that are done are kept in {options['work']}"
            click.echo(f"stopped; {kept}, and the same command goes on from there", err=True)
            raise SystemExit(INTERRUPTED) from None
    try:
        write_whole(out, data + b"\n")
    except OSError as error:
        raise ProfileError(f"the profile {out} cannot be written: {error.strerror}") from error
    click.echo(str(out))
