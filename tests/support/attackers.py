"""The contracts of support/solidity, compiled and deployed: attackers, and an adjudicator."""

from __future__ import annotations

from support.harness import compiled, deployed
from support.wire import Contract, Wire

SOURCES = "tests/support/solidity"
ACCEPT, REFUSE, REENTER, BURN_GAS = range(4)


def actor(wire: Wire, sender: str, value: int = 0) -> Contract:
    """A contract that plays as an actor; `value` is its purse."""
    return deployed(wire, sender, f"{SOURCES}/Actor.sol", value)


def calibrated(wire: Wire, sender: str) -> Contract:
    """An adjudicator that measures what it is told."""
    return deployed(wire, sender, f"{SOURCES}/Calibrated.sol")


def force_ether(wire: Wire, sender: str, victim: str, value: int) -> None:
    """Send ether that the victim cannot refuse."""
    bytecode, _ = compiled(f"{SOURCES}/Forcer.sol")
    wire.deploy(sender, bytecode + bytes(12) + bytes.fromhex(victim[2:]), value)
