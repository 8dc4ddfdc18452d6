"""The contracts of support/solidity, compiled and deployed: attackers, and an adjudicator."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from support.wire import Contract, Wire

SOLC = "0.8.30"
SOURCES = Path(__file__).parent / "solidity"
ACCEPT, REFUSE, REENTER, BURN_GAS = range(4)


@cache
def _compiled(name: str) -> tuple[bytes, list[Any]]:
    """Bytecode and ABI. Imported here, as tests without a chain have no compiler."""
    from ethpm_types import ContractType
    from solcx import compile_standard

    description = {
        "language": "Solidity",
        "sources": {name: {"content": (SOURCES / f"{name}.sol").read_text()}},
        "settings": {"evmVersion": "prague", "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object"]}}},
    }
    output = compile_standard(description, solc_version=SOLC)["contracts"][name][name]
    return bytes.fromhex(output["evm"]["bytecode"]["object"]), ContractType(abi=output["abi"]).abi


def actor(wire: Wire, sender: str, value: int = 0) -> Contract:
    """A contract that plays as an actor; `value` is its purse."""
    bytecode, abi = _compiled("Actor")
    return wire.contract("Actor", wire.deploy(sender, bytecode, value), abi)


def calibrated(wire: Wire, sender: str) -> Contract:
    """An adjudicator that measures what it is told."""
    bytecode, abi = _compiled("Calibrated")
    return wire.contract("Calibrated", wire.deploy(sender, bytecode), abi)


def force_ether(wire: Wire, sender: str, victim: str, value: int) -> None:
    """Send ether that the victim cannot refuse."""
    bytecode, _ = _compiled("Forcer")
    wire.deploy(sender, bytecode + bytes(12) + bytes.fromhex(victim[2:]), value)
