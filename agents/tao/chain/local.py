"""A local chain for demonstrations, measurements and tests: anvil on a free port, ended by its process id."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import Web3

from tao.chain.rpc import connect
from tao.errors import ChainError

MNEMONIC = "test test test test test test test test test test test junk"
ACCOUNTS = 24
PATIENCE = 20.0
"""Seconds for the chain to answer after its start."""
HISTORY = 1000
"""Blocks whose state is kept. Without a limit anvil writes older ones to the home directory, and leaves them there."""

Account.enable_unaudited_hdwallet_features()


def account(index: int) -> LocalAccount:
    """One of the funded accounts, 0 to ACCOUNTS - 1."""
    return Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")


def free_port() -> int:
    """A TCP port nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(*options: str) -> tuple[subprocess.Popen, str]:
    """Start anvil with further options; returns the process and the RPC address once it answers.

    Raises ChainError where anvil is not installed or does not come up.
    """
    port = free_port()
    command = ["anvil", "--port", str(port), "--hardfork", "prague", "--accounts", str(ACCOUNTS), "--silent"]
    command += ["--prune-history", str(HISTORY)]
    try:
        process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise ChainError("anvil is not on PATH; run `. tools/env.sh` first, or install Foundry") from error
    url = f"http://127.0.0.1:{port}"
    try:
        connect(url, PATIENCE, first=PATIENCE)
    except BaseException:
        end(process)
        raise
    return process, url


def end(process: subprocess.Popen) -> None:
    """Terminate a process and wait for it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def local_chain(*options: str) -> Iterator[str]:
    """The RPC address of a fresh chain that lasts as long as the context."""
    process, url = start(*options)
    try:
        yield url
    finally:
        end(process)


def mine(w3: Web3, blocks: int = 1) -> None:
    """Mine empty blocks."""
    w3.provider.make_request("anvil_mine", [hex(blocks)])


def let_pass(w3: Web3, seconds: int) -> None:
    """Move the chain's clock on, and mine a block at the new time."""
    w3.provider.make_request("evm_increaseTime", [seconds])
    mine(w3)
