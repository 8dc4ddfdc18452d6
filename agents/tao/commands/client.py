"""Commands of the client: ask for a run, read the result, cancel a request, withdraw credit."""

from pathlib import Path

import click

from tao.commands.options import (
    Settings,
    apply_variant,
    chain_options,
    fee_option,
    inputs_option,
    load_bundle,
    model_option,
    out_option,
    request_option,
)
from tao.errors import ModelError


def post_request(settings: Settings, model_id: bytes, inputs: Path, fee: int) -> str:
    """Post one request; returns its id in hex."""
    apply_variant(None)
    from tao.roles import client as role

    context = settings.context()
    done = role.request(context, load_bundle(context, model_id), _load(inputs), fee)
    return done.details["request"]


def read_result(settings: Settings, request_id: bytes, out: Path | None) -> None:
    """Print what became of a request, and save its outputs where they are there."""
    from rich.console import Console

    from tao.display import utc
    from tao.protocol.views import Status
    from tao.roles import client as role

    result = role.read(settings.context(with_account=False), request_id)
    console = Console()
    if result.claim is None:
        console.print(
            "nobody serves the request yet" if not result.request.closed else "the request was cancelled"
        )
        return
    claim = result.claim
    state = {
        Status.PENDING: f"claimed, open to challenge until {utc(claim.window_end)}",
        Status.DISPUTED: f"disputed by {claim.open_disputes} challengers",
        Status.FINALISABLE: "unchallenged, ready to be finalised",
        Status.FINALISED: "final",
    }[claim.status]
    console.print(f"claim 0x{claim.claim_id.hex()} of {claim.prover}: {state}")
    for slot, tensor in enumerate(result.outputs):
        console.print(f"output {slot}: {tensor.dtype} {tuple(tensor.shape)}\n{tensor}", markup=False)
    if out is not None:
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        try:
            save_file({str(slot): tensor.contiguous() for slot, tensor in enumerate(result.outputs)}, out)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"the outputs cannot be saved to {out}: {error}") from error
        console.print(f"outputs saved to {out}", markup=False)


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
    """Show what became of a request, with the outputs.

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
