"""Runs a challenger: ape run challenger --network ethereum:sepolia:node --account NAME --model ID"""

import click

from tao.commands.agents import run_challenger
from tao.commands.options import model_option, role_options
from tao.commands.wallets import ApeCommand, ape_options


@click.command(cls=ApeCommand)
@ape_options
@role_options
@model_option
def cli(settings, **options):
    """Re-execute the claims of a model and dispute the implausible ones to the end.

    Example: ape run challenger --network ethereum:sepolia:node --account challenger --model 0x1b…
    """
    run_challenger(settings, **options)
