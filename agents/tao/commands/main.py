"""The command `tao`: one subcommand per role, and what a person needs around them."""

import click

from tao.commands import agents, calibrate, client, models, status
from tao.commands.options import TaoGroup


@click.group(cls=TaoGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="tao")
def main() -> None:
    """Optimistic verification of what a machine-learning service computed.

    Example: tao status --rpc http://127.0.0.1:8545
    """


for command in (
    agents.prover,
    agents.challenger,
    agents.committee,
    agents.trainer,
    agents.auditor,
    client.client,
    client.withdraw,
    calibrate.calibrate,
    models.register,
    status.status,
):
    main.add_command(command)
