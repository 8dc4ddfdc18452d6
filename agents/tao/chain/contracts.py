"""Bindings of the deployed contracts."""

from dataclasses import dataclass

from web3 import Web3
from web3.contract import Contract

from tao.chain.build import Build
from tao.chain.deployment import ADJUDICATORS, CONTRACTS, Deployment
from tao.chain.reverts import Errors
from tao.tensors.keccak import keccak


@dataclass(frozen=True)
class Contracts:
    """The protocol's contracts on one chain, the adjudicators by address, and all their custom errors."""

    vault: Contract
    models: Contract
    claims: Contract
    committee: Contract
    game: Contract
    sums: Contract
    adjudicators: dict[str, Contract]
    errors: Errors

    @classmethod
    def bind(cls, w3: Web3, deployment: Deployment, build: Build) -> "Contracts":
        """Check the deployment against the chain and bind it; raises DeploymentError unless it fits."""
        deployment.verify(w3, build)

        def bound(name: str) -> Contract:
            return w3.eth.contract(deployment.contracts[name].address, abi=build[name].abi)

        return cls(
            vault=bound("BondVault"),
            models=bound("ModelRegistry"),
            claims=bound("ClaimRegistry"),
            committee=bound("OperatorCommittee"),
            game=bound("DisputeGame"),
            sums=bound("SumGame"),
            adjudicators={deployment.contracts[name].address: bound(name) for name in ADJUDICATORS},
            errors=Errors(build[name].abi for name in CONTRACTS),
        )

    def adjudicator_of(self, operator: str) -> Contract | None:
        """The contract that decides an operator, None where there is none that this build knows."""
        code = keccak(operator.encode())[:4]
        return self.adjudicators.get(self.game.functions.adjudicatorOf(code).call())
