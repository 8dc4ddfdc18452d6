"""The attackers of support/solidity, compiled and deployed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from support.wire import Contract, Wire

SOURCES = Path(__file__).parent / "solidity"
ACCEPT, REFUSE, REENTER, BURN_GAS = range(4)


@cache
def _compiled(name: str) -> Any:
    import ape

    return ape.compilers.compile_source("solidity", (SOURCES / f"{name}.sol").read_text()).contract_type


def actor(wire: Wire, sender: str, value: int = 0) -> Contract:
    """A contract that plays as an actor; `value` is its purse."""
    compiled = _compiled("Actor")
    address = wire.deploy(sender, bytes(compiled.deployment_bytecode.bytecode), value)
    return wire.contract("Actor", address, compiled.abi)


def force_ether(wire: Wire, sender: str, victim: str, value: int) -> None:
    """Send ether that the victim cannot refuse."""
    bytecode = bytes(_compiled("Forcer").deployment_bytecode.bytecode)
    wire.deploy(sender, bytecode + bytes(12) + bytes.fromhex(victim[2:]), value)
