"""The real contracts, deployed through Ape with small bonds and short clocks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import rlp
from eth_hash.auto import keccak

from game.rules import Rules
from support.attackers import calibrated
from support.wire import Contract, Wire

GWEI = 10**9
FAMILIES = (
    "contraction",
    "convolution",
    "elementwise",
    "exact",
    "movement",
    "normalisation",
    "pooling",
    "reduction",
    "rounded_contraction",
    "rounded_elementwise",
    "rounded_reduction",
    "softmax",
    "training",
)
"""Each has an adjudicator."""

SMALL = Rules(
    window=3_000,
    prover_bond=100 * GWEI,
    challenger_bond=60 * GWEI,
    burn_bps=2_500,
    fan_out=3,
    prover_clock=900,
    challenger_clock=1_100,
    max_demands=2,
    stake=10 * GWEI,
    member_fee=3 * GWEI,
    no_show_penalty=4 * GWEI,
    minority_penalty=1 * GWEI,
    size=3,
    quorum=2,
    minority_margin=1,
    seed_delay=2,
    commit_period=60,
    reveal_period=50,
    leave_delay=200,
)


@dataclass(frozen=True)
class Deployment:
    rules: Rules
    wire: Wire
    vault: Contract
    models: Contract
    claims: Contract
    committee: Contract
    game: Contract
    sums: Contract
    contraction: Contract
    convolution: Contract
    elementwise: Contract
    exact: Contract
    movement: Contract
    normalisation: Contract
    pooling: Contract
    reduction: Contract
    rounded_contraction: Contract
    rounded_elementwise: Contract
    rounded_reduction: Contract
    softmax: Contract
    training: Contract

    @property
    def contracts(self) -> tuple[Contract, ...]:
        return tuple(value for value in vars(self).values() if isinstance(value, Contract))


def adjudicator(family: str) -> str:
    """The name of a family's contract."""
    return f"{family.title().replace('_', '')}Adjudicator"


def created_address(sender: str, nonce: int) -> str:
    """Address of what `sender` creates with transaction number `nonce`."""
    return "0x" + keccak(rlp.encode([bytes.fromhex(sender[2:]), nonce]))[12:].hex()


def claim_parameters(rules: Rules) -> tuple:
    return rules.window, rules.prover_bond, rules.burn_bps


def game_parameters(rules: Rules) -> tuple:
    return (
        rules.fan_out,
        rules.challenger_bond,
        rules.burn_bps,
        rules.prover_clock,
        rules.challenger_clock,
        rules.max_demands,
    )


def committee_parameters(rules: Rules) -> tuple:
    return (
        rules.stake,
        rules.member_fee,
        rules.no_show_penalty,
        rules.minority_penalty,
        rules.size,
        rules.quorum,
        rules.minority_margin,
        rules.seed_delay,
        rules.commit_period,
        rules.reveal_period,
        rules.leave_delay,
    )


def deploy(project: Any, account: Any, wire: Wire, rules: Rules = SMALL) -> Deployment:
    """Deploy all contracts from `account`, the game's address computed before it exists.

    Beside the real adjudicators the game has one that only measures, for an operator that is none of torch's.
    """
    measuring = calibrated(wire, account.address)
    vault = account.deploy(project.BondVault)
    models = account.deploy(project.ModelRegistry)
    adjudicators = {family: account.deploy(getattr(project, adjudicator(family))) for family in FAMILIES}
    game_address = created_address(account.address, account.nonce + 3)
    claims = account.deploy(project.ClaimRegistry, vault, models, game_address, claim_parameters(rules))
    committee = account.deploy(project.OperatorCommittee, vault, game_address, committee_parameters(rules))
    sums = account.deploy(project.SumGame, game_address, claims)
    game = account.deploy(
        project.DisputeGame,
        vault,
        models,
        claims,
        committee,
        sums,
        [*adjudicators.values(), measuring.address],
        game_parameters(rules),
    )
    deployed = dict(
        vault=vault,
        models=models,
        claims=claims,
        committee=committee,
        game=game,
        sums=sums,
        **adjudicators,
    )
    contracts = {
        name: wire.contract(instance.contract_type.name, instance.address.lower(), instance.contract_type.abi)
        for name, instance in deployed.items()
    }
    known = {field.name: getattr(rules, field.name) for field in fields(Rules)} | {
        "chain": wire.chain_id,
        "registry": contracts["claims"].address,
        "game": contracts["game"].address,
        "committee": contracts["committee"].address,
        "adjudicators": {
            bytes(op): contract.address
            for contract in (*(contracts[family] for family in FAMILIES), measuring)
            for op in wire.call(contract, "operators")
        },
    }
    return Deployment(Rules(**known), wire, **contracts)
