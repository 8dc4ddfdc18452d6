"""What is on the chain, object by object, each with the id that other commands take."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from tao.commands.options import Settings, account_option, deployment_option, rpc_option
from tao.display import duration, printable, utc
from tao.protocol.views import CHALLENGER_MOVES, PROVER_MOVES, ChainView, DisputeView, Phase

if TYPE_CHECKING:
    from tao.roles.context import Context

Entry = tuple[bytes, str, str]
"""An object's id, how it stands, and what it belongs to."""


def show_status(settings: Settings) -> None:
    """Print deployment, what the account has in it, models, open requests, claims and disputes."""
    from rich.console import Console

    from tao.chain.accounts import address_of
    from tao.chain.reader import MOST_REQUESTS

    context = settings.context(with_account=False)
    console = Console(highlight=False, soft_wrap=True)  # an id is copied whole, however narrow the terminal
    deployment, view, vault = context.deployment, context.reader.view(), context.contracts.vault.functions
    members = context.contracts.committee.functions.memberCount().call()
    console.print(
        f"[bold]{deployment.network}[/bold] chain {deployment.chain_id}, block {view.block}, "
        f"{utc(view.now)}; committee of {members}"
    )
    amounts = [vault.totalLocked(), vault.totalCredited(), vault.totalBurned()]
    locked, credited, burned = (context.w3.from_wei(amount.call(), "ether") for amount in amounts)
    console.print(f"vault: {locked} ETH locked, {credited} ETH to withdraw, {burned} ETH burned")

    if (address := address_of(settings.account)) is not None:
        console.print(_account(context, address))

    requests = list(_requests(view, context.w3))
    which = "Open requests" if len(requests) < MOST_REQUESTS else "Open requests, the best paid"
    for title, entries in (
        ("Models", _models(context.reader.models())),
        (which, requests),
        ("Claims", _claims(view)),
        ("Disputes", _disputes(view)),
    ):
        console.print(f"\n[bold]{title}[/bold]")
        for identifier, state, about in entries:
            console.print(f"0x{identifier.hex()}  {state}\n    [dim]{about}[/dim]")


def _account(context: "Context", address: str) -> str:
    """What an account holds, can withdraw and has staked."""
    held = context.w3.eth.get_balance(address)
    credit = context.contracts.vault.functions.creditOf(address).call()
    stake = context.contracts.committee.functions.stakeOf(address).call()
    held, credit, stake = (context.w3.from_wei(wei, "ether") for wei in (held, credit, stake))
    seat = f"a seat on the committee with {stake} ETH staked" if stake else "no seat on the committee"
    return f"account {address}: {held} ETH, {credit} ETH to withdraw, {seat}"


def _models(registered: dict[bytes, dict[str, Any]]) -> Iterable[Entry]:
    for model_id, arguments in registered.items():
        counts = {name: arguments["model"][f"{name}Count"] for name in ("node", "input", "output")}
        state = f"operators {counts['node']}, steps {arguments['model']['steps']}"
        # Whoever registers a model writes there what it likes.
        store = escape(printable(arguments["uri"]))
        yield model_id, state, f"inputs {counts['input']}, outputs {counts['output']}, store {store}"


def _requests(view: ChainView, w3: Any) -> Iterable[Entry]:
    for request in view.requests:
        if request.is_open:
            fee = f"{w3.from_wei(request.fee, 'ether')} ETH"
            yield request.request_id, fee, f"model {_short(request.model_id)}, client {request.client}"


def _claims(view: ChainView) -> Iterable[Entry]:
    for claim in view.claims:
        left = claim.window_end - view.now
        is_open = claim.is_open and left >= 0
        state = claim.status.name.lower() + (f", window ends in {duration(left)}" if is_open else "")
        asked = f"\n    request 0x{claim.request_id.hex()}" if claim.request_id else ""
        yield claim.claim_id, state, f"model {_short(claim.model_id)}, prover {claim.prover}{asked}"


def _disputes(view: ChainView) -> Iterable[Entry]:
    for dispute in view.disputes:
        name = dispute.outcome.name if dispute.phase is Phase.CLOSED else dispute.phase.name
        state = name.lower().replace("_", " ") + _turn(dispute, view.now)
        about = f"claim {_short(dispute.claim.claim_id)}, operators {dispute.lo} to {dispute.hi - 1}"
        yield dispute.dispute_id, state, about


def _turn(dispute: DisputeView, now: int) -> str:
    """Whose turn it is, and how long."""
    if dispute.phase in PROVER_MOVES:
        who, clock = "prover", dispute.prover_left
    elif dispute.phase in CHALLENGER_MOVES:
        who, clock = "challenger", dispute.challenger_left
    else:
        return ""
    left = dispute.turn_start + clock - now
    return f", {who} has {duration(left)}" if left >= 0 else f", {who} is out of time"


def _short(identifier: bytes) -> str:
    return "0x" + identifier.hex()[:8]


@click.command()
@deployment_option
@rpc_option
@account_option
def status(deployment, rpc, account):
    """Show the deployment, its models, open requests, claims and disputes, and what an account has in it.

    The ids are those that --model and --request of the other commands take.

    Example: tao status --rpc https://rpc.example.org --deployment deployments/ethereum-sepolia.json
    """
    show_status(Settings(deployment, rpc, account=account))
