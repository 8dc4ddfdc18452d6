"""Runs a trainer: ape run trainer --network ethereum:sepolia:node --account NAME --model ID"""

import click

from tao.commands.agents import run_trainer
from tao.commands.options import keep_option, minimum_fee_option, model_option, role_options
from tao.commands.wallets import ApeCommand, ape_options


@click.command(cls=ApeCommand)
@ape_options
@role_options
@model_option
@minimum_fee_option
@keep_option
def cli(settings, **options):
    """Serve requests for a training job: record the run, claim it under a bond, defend the claim.

    Example: ape run trainer --network ethereum:sepolia:node --account trainer --model 0x1b…
    """
    run_trainer(settings, **options)
