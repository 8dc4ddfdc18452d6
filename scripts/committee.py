"""Runs a committee member: ape run committee --network ethereum:sepolia:node --account NAME"""

import click

from tao.commands.agents import run_member
from tao.commands.options import (
    join_option,
    leave_option,
    models_option,
    role_options,
    state_option,
)
from tao.commands.wallets import ApeCommand, ape_options


@click.command(cls=ApeCommand)
@ape_options
@role_options
@join_option
@leave_option
@state_option
@models_option
def cli(settings, **options):
    """Sit on the committee: re-execute what is in dispute, one operator or several, and vote.

    Penalties that took from the stake are made good at the start; --leave takes the stake out for good.

    Example: ape run committee --network ethereum:sepolia:node --account member-1
    """
    run_member(settings, **options)
