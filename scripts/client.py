"""Posts a request: ape run client --network ethereum:sepolia:node --account NAME --model ID --inputs FILE"""

import click
from ape.cli import ConnectedProviderCommand

from tao.commands.client import post_request
from tao.commands.options import fee_option, inputs_option, model_option, one_sentence
from tao.commands.wallets import ape_options


@click.command(cls=ConnectedProviderCommand)
@ape_options
@model_option
@inputs_option
@fee_option
@one_sentence
def cli(settings, **options):
    """Store the inputs and post a request for one run; prints the request's id.

    Example: ape run client --network ethereum:sepolia:node --account me --model 0x1b… --inputs in.safetensors
    """
    click.echo(post_request(settings, **options))
