"""Accounts: a private key from the environment, a keystore file, or an account that Ape keeps."""

import json
import os
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils import is_hex_address, to_checksum_address

from tao.errors import ChainError

KEY_VARIABLE = "TAO_PRIVATE_KEY"
PASSPHRASE_VARIABLE = "TAO_PASSPHRASE"


def load_account(name: str | None, ask=None) -> LocalAccount:
    """The account `name`: a keystore file or an alias of Ape's; without a name the key in TAO_PRIVATE_KEY.

    The passphrase of a keystore comes from APE_ACCOUNTS_<alias>_PASSPHRASE or TAO_PASSPHRASE, else from
    `ask(prompt)`. Raises ChainError where there is no such account or it does not open.
    """
    if name is None:
        key = os.environ.get(KEY_VARIABLE)
        if not key:
            raise ChainError(f"no account is given; name one with --account or set {KEY_VARIABLE}")
        try:
            return Account.from_key(key)
        except ValueError as error:
            raise ChainError(f"{KEY_VARIABLE} does not hold a private key of 32 bytes in hex") from error
    path = _path(name)
    keystore = _keystore(path)
    passphrase = os.environ.get(f"APE_ACCOUNTS_{path.stem}_PASSPHRASE", os.environ.get(PASSPHRASE_VARIABLE))
    if passphrase is None:
        if ask is None:
            raise ChainError(f"the account {name!r} needs its passphrase; set {PASSPHRASE_VARIABLE}")
        passphrase = ask(f"Passphrase of {name}")
    try:
        return Account.from_key(Account.decrypt(keystore, passphrase))
    except (ValueError, TypeError, KeyError) as error:
        raise ChainError(f"the keystore {path} does not open with this passphrase") from error


def address_of(name: str | None) -> str | None:
    """The address of an account as `load_account` takes it, without its passphrase; None where none is given.

    Raises ChainError where there is no such account, or its keystore does not name its address.
    """
    if name is None:
        return load_account(None).address if os.environ.get(KEY_VARIABLE) else None
    path = _path(name)
    address = _keystore(path).get("address")
    if not is_hex_address(address):
        raise ChainError(f"the keystore {path} does not say its address")
    return to_checksum_address(address)


def _path(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        path = Path(os.environ.get("APE_DATA_FOLDER", Path.home() / ".ape")) / "accounts" / f"{name}.json"
    if not path.is_file():
        raise ChainError(f"there is no keystore file and no Ape account {name!r}; see `ape accounts list`")
    return path


def _keystore(path: Path) -> dict[str, Any]:
    refusal = ChainError(f"{path} is no keystore file; give --account one, or an account of Ape's")
    try:
        keystore = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise refusal from error
    if not isinstance(keystore, dict) or "crypto" not in {key.lower() for key in keystore}:
        raise refusal
    return keystore
