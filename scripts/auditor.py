"""Runs an auditor: ape run auditor --network ethereum:sepolia:node --account NAME --model ID"""

import click

from tao.commands.agents import run_auditor
from tao.commands.options import grace_option, model_option, role_options
from tao.commands.wallets import ApeCommand, ape_options


@click.command(cls=ApeCommand)
@ape_options
@role_options
@model_option
@grace_option
def cli(settings, **options):
    """Replay the claimed runs of a training job bit for bit, and prove what does not follow.

    Example: ape run auditor --network ethereum:sepolia:node --account auditor --model 0x1b…
    """
    run_auditor(settings, **options)
