"""The real adjudicators on an in-process chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from torch import Tensor
from web3 import EthereumTesterProvider, Web3
from web3.contract import Contract

from tao.chain.build import load_build
from tao.chain.deployment import ADJUDICATORS
from tao.model import ModelBundle
from tao.proofs import leaf_claim
from tao.tensors.keccak import keccak
from tao.tensors.tree import commit

Decides = Callable[..., bool]
"""Of a bundle, a node, the values before it, its outputs, a proof and what else the function takes."""


@pytest.fixture(scope="session")
def deciders() -> dict[bytes, Contract]:
    """The adjudicators by the operators that they decide."""
    build, web3 = load_build(), Web3(EthereumTesterProvider())
    contracts = []
    for name in ADJUDICATORS:
        factory = web3.eth.contract(abi=build[name].abi, bytecode=build[name].creation)
        receipt = web3.eth.wait_for_transaction_receipt(factory.constructor().transact())
        contracts.append(web3.eth.contract(receipt["contractAddress"], abi=build[name].abi))
    return {bytes(op): each for each in contracts for op in each.functions.operators().call()}


@pytest.fixture(scope="session")
def decides(deciders) -> Callable[[str], Decides]:
    """A function of the operators' adjudicators, by name; reverts are raised."""

    def function(name: str) -> Decides:
        def call(
            bundle: ModelBundle,
            node: int,
            before: Sequence[Tensor],
            outputs: Sequence[Tensor],
            proof: bytes,
            *others: int,
        ) -> bool:
            claim = leaf_claim(bundle, node, list(map(commit, before)), list(map(commit, outputs)))
            leaf = {name: claim[name] for name in ("record", "stateBefore", "outputs")}
            leaf |= {"weightsRoot": bundle.weights_root, "parameterCount": len(bundle.parameters)}
            decider = deciders[keccak(bundle.graph.nodes[node].operator.encode())[:4]]
            return decider.functions[name](leaf, proof, *others).call({"gas": 20_000_000})

        return call

    return function


@pytest.fixture(scope="session")
def refutes(decides) -> Decides:
    return decides("refutes")


@pytest.fixture(scope="session")
def exceeds(decides) -> Decides:
    return decides("exceeds")
