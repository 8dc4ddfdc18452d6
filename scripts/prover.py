"""Runs a prover: ape run prover --network ethereum:sepolia:node --account NAME --model ID"""

import click

from tao.commands.agents import run_prover
from tao.commands.options import minimum_fee_option, model_option, role_options
from tao.commands.wallets import ApeCommand, ape_options


@click.command(cls=ApeCommand)
@ape_options
@role_options
@model_option
@minimum_fee_option
def cli(settings, **options):
    """Serve requests for a model: run it, claim its outputs under a bond, defend the claims.

    Example: ape run prover --network ethereum:sepolia:node --account prover --model 0x1b…
    """
    run_prover(settings, **options)
