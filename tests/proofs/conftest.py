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

Refutes = Callable[[ModelBundle, int, Sequence[Tensor], Sequence[Tensor], bytes], bool]


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
def refutes(deciders) -> Refutes:
    """What the operator's adjudicator makes of a proof; reverts are raised."""

    def call(
        bundle: ModelBundle, node: int, before: Sequence[Tensor], outputs: Sequence[Tensor], proof: bytes
    ) -> bool:
        claim = leaf_claim(bundle, node, list(map(commit, before)), list(map(commit, outputs)))
        leaf = {name: claim[name] for name in ("record", "stateBefore", "outputs")}
        leaf |= {"weightsRoot": bundle.weights_root, "parameterCount": len(bundle.parameters)}
        return (
            deciders[keccak(bundle.graph.nodes[node].operator.encode())[:4]]
            .functions.refutes(leaf, proof)
            .call({"gas": 20_000_000})
        )

    return call
