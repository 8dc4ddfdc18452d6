"""Accounts and networks that Ape manages, for the scripts that `ape run` starts."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
from ape.api import AccountAPI, ProviderAPI
from ape.cli import ConnectedProviderCommand, account_option, network_option
from ape.exceptions import ApeException
from ape.logging import LogLevel, logger
from ape_accounts.accounts import InvalidPasswordError, KeyfileAccount
from ape_node.provider import NodeSoftwareNotInstalledError
from eth_utils import keccak

from tao.commands.deploy import record_path
from tao.commands.options import Settings, log_option, one_sentence, store_option
from tao.errors import ChainError


class ApeCommand(ConnectedProviderCommand):
    """A command on a network of Ape's, whose errors and Ape's are told in one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        return one_sentence(_as_ours(super().invoke))(ctx)


def _as_ours(command: Callable) -> Callable:
    """Raises ChainError in the place of Ape's errors."""

    @wraps(command)
    def wrapped(*arguments, **options):
        try:
            return command(*arguments, **options)
        except NodeSoftwareNotInstalledError as error:
            raise ChainError("no node answers; check --network and that the node is running") from error
        except ApeException as error:
            raise ChainError(str(error)) from error

    return wrapped


class ApeSigner:
    """An account of Ape's with the interface of eth_account's: see tao.chain.sender.Signer."""

    def __init__(self, account: AccountAPI, provider: ProviderAPI):
        self._account, self._ecosystem = account, provider.network.ecosystem
        self.address = account.address
        if isinstance(account, KeyfileAccount):
            try:
                account.set_autosign(True)  # Takes APE_ACCOUNTS_<alias>_PASSPHRASE, or asks once.
            except InvalidPasswordError as error:
                raise ChainError(
                    f"the account {account.alias!r} does not open with this passphrase"
                ) from error

    def sign_transaction(self, transaction: dict[str, Any]) -> SimpleNamespace:
        """`raw_transaction` and `hash` of the signed transaction."""
        with logger.at_level(LogLevel.ERROR):  # Ape warns of the unlocked key at every signature.
            signed = self._account.sign_transaction(self._ecosystem.create_transaction(**transaction))
        raw = signed.serialize_transaction()
        return SimpleNamespace(raw_transaction=raw, hash=keccak(raw))

    def sign_message(self, message: Any) -> SimpleNamespace:
        """`signature` over an EIP-191 message."""
        return SimpleNamespace(signature=self._account.sign_message(message).encode_rsv())


def network_name(ecosystem: Any, network: Any) -> str:
    """`<ecosystem>-<network>`, which names a deployment record."""
    return f"{ecosystem.name}-{network.name}"


def ape_options(command: Callable) -> Callable:
    """Ape's --network and --account with --deployment, --store and --log, passed on as `settings`."""

    @network_option(default="ethereum:local:http://127.0.0.1:8545")
    @account_option()
    @click.option(
        "--deployment", type=click.Path(path_type=Path), help="Record of the deployment; default by network."
    )
    @store_option
    @log_option
    @wraps(command)
    def wrapped(ecosystem, network, provider, account, deployment, store, log, **rest):
        path = deployment or record_path(network_name(ecosystem, network))
        signer = ApeSigner(account, provider)
        return command(Settings(path, provider.http_uri, store, signer, log), **rest)

    del wrapped.__wrapped__  # Ape looks at the signature for what it is to pass in.
    return wrapped
