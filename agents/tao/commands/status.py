"""What is on the chain, as tables."""

import click
from rich.markup import escape

from tao.commands.options import Settings, chain_options
from tao.display import printable, utc
from tao.protocol.views import CHALLENGER_MOVES, PROVER_MOVES, ChainView, DisputeView, Phase


def show_status(settings: Settings) -> None:
    """Print deployment, models, claims and disputes."""
    from rich.console import Console
    from rich.table import Table

    context = settings.context(with_account=False)
    console = Console()
    deployment, view, vault = context.deployment, context.reader.view(), context.contracts.vault.functions
    members = context.contracts.committee.functions.memberCount().call()
    console.print(
        f"[bold]{deployment.network}[/bold] chain {deployment.chain_id}, block {view.block}, "
        f"{utc(view.now)}; committee of {members}"
    )
    amounts = [vault.totalLocked(), vault.totalCredited(), vault.totalBurned()]
    locked, credited, burned = (context.w3.from_wei(amount.call(), "ether") for amount in amounts)
    console.print(f"vault: {locked} ETH locked, {credited} ETH to withdraw, {burned} ETH burned")

    table = Table("model", "operators", "steps", "inputs", "outputs", "store", title="Models")
    for model_id, registered in context.reader.models().items():
        numbers = (registered["model"][f"{what}Count"] for what in ("node", "input", "output"))
        nodes, inputs, outputs = map(str, numbers)
        steps = str(registered["model"]["steps"])
        uri = escape(printable(registered["uri"]))  # whoever registers a model writes there what it likes
        table.add_row(_hex(model_id), nodes, steps, inputs, outputs, uri)
    console.print(table)
    console.print(
        _claims(view, Table("claim", "model", "prover", "status", "window ends in", title="Claims"))
    )
    console.print(
        _disputes(
            view, Table("dispute", "claim", "phase", "operators", "to move", "time left", title="Disputes")
        )
    )


def _claims(view: ChainView, table):
    for claim in view.claims:
        left = f"{max(0, claim.window_end - view.now)} s"
        status = claim.status.name.lower()
        table.add_row(_hex(claim.claim_id), _hex(claim.model_id), claim.prover, status, left)
    return table


def _disputes(view: ChainView, table):
    for dispute in view.disputes:
        phase = (
            dispute.phase.name.lower() if dispute.phase is not Phase.CLOSED else dispute.outcome.name.lower()
        )
        segment = f"{dispute.lo} to {dispute.hi - 1}"
        table.add_row(
            _hex(dispute.dispute_id), _hex(dispute.claim.claim_id), phase, segment, *_turn(dispute, view.now)
        )
    return table


def _turn(dispute: DisputeView, now: int) -> tuple[str, str]:
    if dispute.phase in PROVER_MOVES:
        return "prover", f"{dispute.turn_start + dispute.prover_left - now} s"
    if dispute.phase in CHALLENGER_MOVES:
        return "challenger", f"{dispute.turn_start + dispute.challenger_left - now} s"
    return ("committee", "") if dispute.phase is Phase.VOTE else ("", "")


def _hex(identifier: bytes) -> str:
    return "0x" + identifier.hex()[:8]


@click.command()
@chain_options
def status(settings):
    """Show the deployment, its models, claims and disputes.

    Example: tao status --rpc https://rpc.example.org --deployment deployments/ethereum-sepolia.json
    """
    show_status(settings)
