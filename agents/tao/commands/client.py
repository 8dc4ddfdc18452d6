"""Commands of the client: ask for a run, read the result, cancel a request, withdraw credit."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tao.commands.options import (
    Settings,
    chain_options,
    fee_option,
    inputs_option,
    model_option,
    out_option,
    request_option,
)
from tao.display import printable
from tao.errors import ChainError, ModelError, StoreError

if TYPE_CHECKING:
    from torch import Tensor

MOST_SHOWN = 100
"""Values of an output that are printed although they are saved."""


class Unserved(click.ClickException):
    """No claim serves a request: its exit status lets a script ask again."""

    exit_code = 3


def post_request(settings: Settings, model_id: bytes, inputs: Path, fee: int) -> str:
    """Post one request; returns its id in hex."""
    from tao.roles import client as role

    context = settings.context()
    with context.journal.display.work(f"loading the graph of model 0x{model_id.hex()[:8]}"):
        model = role.load_outline(context, model_id)
    done = role.request(context, model, _load(inputs), fee)
    return done.details["request"]


def read_result(settings: Settings, request_id: bytes, out: Path | None) -> None:
    """Save a request's outputs, and print what became of it.

    Raises Unserved where no claim serves it; once all else is printed, ChainError where it was cancelled, StoreError
    where an output cannot be had, and ModelError where they cannot be saved.
    """
    from rich.console import Console

    from tao.display import utc
    from tao.protocol.views import Status
    from tao.roles import client as role

    context = settings.context(with_account=False)
    result = role.read(context, request_id)
    claim, outputs, missing = result.claim, {}, {}
    for slot in range(len(claim.outputs) if claim else 0):
        try:
            outputs[str(slot)] = role.output(context, claim, slot).contiguous()
        except StoreError as error:
            missing[str(slot)] = printable(str(error))
    unsaved = (
        _save(outputs, out) if outputs and out and not missing else None
    )  # before anything can stop the printing

    console = Console(soft_wrap=True)  # ids and paths stay whole
    for refuted in result.refuted:
        console.print(f"claim 0x{refuted.claim_id.hex()} of {refuted.prover}: refuted")
    if claim is None:
        if result.request.closed:
            raise ChainError("the request was cancelled")
        raise Unserved(f"nobody serves the request {'now' if result.refuted else 'yet'}")
    state = {
        Status.PENDING: f"pending, open to challenge until {utc(claim.window_end)}",
        Status.DISPUTED: f"disputed by {claim.open_disputes} challengers",
        Status.FINALISABLE: "finalisable, as nobody challenged it in time",
        Status.FINALISED: "finalised",
    }[claim.status]
    console.print(f"claim 0x{claim.claim_id.hex()} of {claim.prover}: {state}")
    for slot in map(str, range(len(claim.outputs))):
        said = _shown(outputs[slot], is_saved=out is not None) if slot in outputs else missing[slot]
        console.print(f"output {slot}: {said}", markup=False)
    if missing:
        lost = "" if out is None else "; none is saved"
        raise StoreError(f"{len(missing)} of {len(claim.outputs)} outputs cannot be had{lost}")
    if unsaved is not None:
        raise unsaved
    if out is not None:
        console.print(f"outputs saved to {out}", markup=False)


def _save(outputs: "dict[str, Tensor]", out: Path) -> ModelError | None:
    """Write the outputs; what went wrong, if anything did."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(outputs, out)
    except (OSError, SafetensorError) as error:
        return ModelError(f"the outputs cannot be saved to {out}: {error}")
    return None


def _shown(tensor: "Tensor", is_saved: bool) -> str:
    """Type and shape, and the values unless they are many and saved."""
    said = f"{tensor.dtype} {tuple(tensor.shape)}"
    return said if is_saved and tensor.numel() > MOST_SHOWN else f"{said}\n{tensor}"


def cancel_request(settings: Settings, request_id: bytes) -> None:
    """Take a request back that nobody serves."""
    from tao.roles import client as role

    role.cancel(settings.context(), request_id)


def withdraw_credit(settings: Settings) -> None:
    """Pull the account's whole credit."""
    from tao.roles import client as role

    role.withdraw(settings.context())


def _load(path: Path) -> list:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is not a safetensors file with the inputs: {error}") from error
    if sorted(tensors) != sorted(map(str, range(len(tensors)))):
        raise ModelError(f"{path} holds {sorted(tensors)}; name the inputs 0, 1, … in the model's order")
    return [tensors[str(index)] for index in range(len(tensors))]


@click.group()
def client() -> None:
    """Ask for runs, read results, take requests back.

    Example: tao client request --model 0x1b… --inputs inputs.safetensors --fee "0.01 ether"
    """


@client.command()
@chain_options
@model_option
@inputs_option
@fee_option
def request(settings, **options):
    """Store the inputs and post a request for one run; prints the request's id.

    Example: tao client request --model 0x1b… --inputs inputs.safetensors --fee "0.01 ether" --account me
    """
    click.echo(post_request(settings, **options))


@client.command()
@chain_options
@request_option
@out_option
def read(settings, **options):
    """Show what became of a request, with the outputs. The exit status is 3 while nobody serves it.

    Example: tao client read --request 0x5e… --out outputs.safetensors
    """
    read_result(settings, **options)


@client.command()
@chain_options
@request_option
def cancel(settings, **options):
    """Take back a request that no claim serves; its fee becomes credit, which `tao withdraw` pays out.

    Example: tao client cancel --request 0x5e… --account me
    """
    cancel_request(settings, **options)


@click.command()
@chain_options
def withdraw(settings):
    """Pull the account's credit (bonds, fees, rewards) from the vault.

    Example: tao withdraw --account prover
    """
    withdraw_credit(settings)
