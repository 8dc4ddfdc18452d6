"""Deploys the protocol: ape run deploy --network ethereum:sepolia:node --account NAME"""

from pathlib import Path

import click
from ape.cli import account_option, network_option

from tao.commands.deploy import run_deploy
from tao.commands.wallets import ApeCommand, ApeSigner, network_name


@click.command(cls=ApeCommand)
@network_option(default="ethereum:local:http://127.0.0.1:8545")
@account_option()
@click.option(
    "--profile", help="Profile of deployments/parameters.yaml; default `local` or `testnet` by network."
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to record the deployment; default by network.",
)
@click.option("--force", is_flag=True, help="Replace the record of an earlier deployment.")
def cli(ecosystem, network, provider, account, profile, out, force):
    """Deploy all contracts and record them in deployments/<ecosystem>-<network>.json.

    Example: ape run deploy --network ethereum:sepolia:node --account deployer
    """
    run_deploy(
        provider.http_uri,
        ApeSigner(account, provider),
        network_name(ecosystem, network),
        profile or ("local" if network.is_dev else "testnet"),
        out,
        force,
    )
