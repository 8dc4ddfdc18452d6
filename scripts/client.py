"""A client's calls: ape run client request --network ethereum:sepolia:node --account NAME --model ID --inputs FILE"""

import click

from tao.commands.client import cancel_request, post_request, read_result, withdraw_credit
from tao.commands.options import (
    fee_option,
    inputs_option,
    model_option,
    out_option,
    request_option,
)
from tao.commands.wallets import ApeCommand, ape_options


@click.group()
def cli():
    """Ask for runs, read results, take requests back, withdraw credit.

    Example: ape run client read --network ethereum:sepolia:node --account me --request 0x5e…
    """


@cli.command(cls=ApeCommand)
@ape_options
@model_option
@inputs_option
@fee_option
def request(settings, **options):
    """Store the inputs and post a request for one run; prints the request's id.

    Example: ape run client request --network ethereum:sepolia:node --account me --model 0x1b… --inputs in.safetensors
    """
    click.echo(post_request(settings, **options))


@cli.command(cls=ApeCommand)
@ape_options
@request_option
@out_option
def read(settings, **options):
    """Show what became of a request, with the outputs. The exit status is 3 while nobody serves it.

    Example: ape run client read --network ethereum:sepolia:node --account me --request 0x5e…
    """
    read_result(settings, **options)


@cli.command(cls=ApeCommand)
@ape_options
@request_option
def cancel(settings, **options):
    """Take back a request that no claim serves; its fee becomes credit, which `withdraw` pays out.

    Example: ape run client cancel --network ethereum:sepolia:node --account me --request 0x5e…
    """
    cancel_request(settings, **options)


@cli.command(cls=ApeCommand)
@ape_options
def withdraw(settings):
    """Pull the account's credit (bonds, fees, rewards) from the vault.

    Example: ape run client withdraw --network ethereum:sepolia:node --account me
    """
    withdraw_credit(settings)
