"""Deploys the protocol. Immutable contracts that name each other: the game's address is known in advance."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import rlp
from eth_abi import encode
from eth_utils import keccak, to_checksum_address
from web3 import Web3

from tao.chain.build import Build, ContractType
from tao.chain.deployment import ADJUDICATORS, CONTRACTS, Deployed, Deployment, source_commit
from tao.chain.reverts import Errors
from tao.chain.sender import Sender, Signer, Waiting
from tao.errors import DeploymentError


def create_address(deployer: str, nonce: int) -> str:
    """Address of the contract that `deployer` creates with transaction number `nonce`."""
    return to_checksum_address(keccak(rlp.encode([bytes.fromhex(deployer.removeprefix("0x")), nonce]))[12:])


def deploy(
    w3: Web3,
    signer: Signer,
    parameters: dict[str, Any],
    build: Build,
    network: str,
    progress: Callable[[str], None] = lambda line: None,
    waiting: Waiting = nullcontext,
) -> Deployment:
    """Deploy all contracts with one account and verify what is on the chain.

    parameters: as `load_parameters` returns them. network: `<ecosystem>-<network>`, for the record. progress:
    called with a line for each contract. waiting: see Sender. Raises ChainError where a transaction fails,
    DeploymentError where the account sends other transactions meanwhile.
    """
    errors = Errors(contract.abi for contract in build.contracts.values())
    sender = Sender(w3, signer, errors, waiting=waiting)
    first = w3.eth.get_transaction_count(sender.address)
    addresses = {name: create_address(sender.address, first + index) for index, name in enumerate(CONTRACTS)}
    deployed: dict[str, Deployed] = {}
    for name, arguments in _arguments(addresses, parameters).items():
        contract = build[name]
        sent = sender.transact(f"deploying {name}", _creation(contract, arguments))
        address = sent.receipt["contractAddress"]
        if address != addresses[name]:
            raise DeploymentError(
                f"{name} went to {address} instead of {addresses[name]}; deploy again while {sender.address} "
                "sends nothing else"
            )
        deployed[name] = Deployed(
            address=address,
            arguments=arguments,
            transaction=sent.transaction,
            block=sent.block,
            gas_used=sent.gas_used,
            code_hash=Web3.to_hex(keccak(bytes(w3.eth.get_code(address)))),
        )
        progress(f"{name} at {address} ({sent.gas_used:,} gas)")
    deployment = Deployment(
        network=network,
        chain_id=w3.eth.chain_id,
        deployer=sender.address,
        commit=source_commit(),
        compiler=build.compiler,
        parameters=parameters,
        contracts=deployed,
    )
    deployment.verify(w3, build)
    return deployment


def _arguments(addresses: dict[str, str], parameters: dict[str, Any]) -> dict[str, list[Any]]:
    """Constructor arguments by contract, in the order of deployment; structs as objects."""
    share = {"burnShareBps": parameters["burnShareBps"]}
    vault, models, claims = addresses["BondVault"], addresses["ModelRegistry"], addresses["ClaimRegistry"]
    committee, game = addresses["OperatorCommittee"], addresses["DisputeGame"]
    return {
        "BondVault": [],
        "ModelRegistry": [],
        "ClaimRegistry": [vault, models, game, parameters["claims"] | share],
        "OperatorCommittee": [vault, game, parameters["committee"]],
        "SumGame": [game, claims],
        **{name: [] for name in ADJUDICATORS},
        "DisputeGame": [
            vault,
            models,
            claims,
            committee,
            addresses["SumGame"],
            [addresses[name] for name in ADJUDICATORS],
            parameters["game"] | share,
        ],
    }


def _creation(contract: ContractType, arguments: list[Any]) -> bytes:
    constructor = next((entry for entry in contract.abi if entry["type"] == "constructor"), {"inputs": []})
    inputs = constructor["inputs"]
    types = [_type(item) for item in inputs]
    values = [_plain(item, argument) for item, argument in zip(inputs, arguments, strict=True)]
    return contract.creation + encode(types, values)


def _type(item: dict[str, Any]) -> str:
    if item["type"] != "tuple":
        return item["type"]
    return "(" + ",".join(_type(component) for component in item["components"]) + ")"


def _plain(item: dict[str, Any], argument: Any) -> Any:
    """A struct given as an object, as the tuple in the order of its components."""
    if item["type"] != "tuple":
        return argument
    names = [component["name"] for component in item["components"]]
    if set(names) != set(argument):
        raise DeploymentError(f"the constructor's {item['name']} wants {names}, not {sorted(argument)}")
    return tuple(argument[name] for name in names)
