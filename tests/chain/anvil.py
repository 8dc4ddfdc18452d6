"""A local chain for tests, on a free port, ended by its own process id."""

import socket
import subprocess
from contextlib import contextmanager

from eth_account import Account
from web3 import Web3

from tao.chain.rpc import connect

MNEMONIC = "test test test test test test test test test test test junk"
Account.enable_unaudited_hdwallet_features()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def account(index: int):
    """One of anvil's funded accounts."""
    return Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")


@contextmanager
def anvil(*options: str):
    """The RPC address of a fresh chain."""
    port = free_port()
    command = ["anvil", "--port", str(port), "--hardfork", "prague", "--accounts", "20", "--silent", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        connect(url, patience=20)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


def mine(w3: Web3, blocks: int = 1) -> None:
    w3.provider.make_request("anvil_mine", [hex(blocks)])


def wait(w3: Web3, seconds: int) -> None:
    """Let chain time pass."""
    w3.provider.make_request("evm_increaseTime", [seconds])
    mine(w3)
