"""The real adjudicators on a local chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from torch import Tensor
from web3.contract import Contract
from web3.middleware import Web3Middleware

from tao.chain.build import load_build
from tao.chain.deployment import ADJUDICATORS
from tao.chain.local import local_chain
from tao.chain.rpc import connect
from tao.model import ModelBundle
from tao.proofs import leaf_claim
from tao.tensors.keccak import keccak
from tao.tensors.tree import commit

Decides = Callable[..., bool]
"""Of a bundle, a node, the values before it, its outputs, a proof and what else the function takes."""


class Included(Web3Middleware):
    """A transaction is in a block, and has succeeded, when the call that sends it returns."""

    def response_processor(self, method: str, response: Any) -> Any:
        if method == "eth_sendTransaction":
            receipt = self._w3.eth.wait_for_transaction_receipt(response["result"], poll_latency=0.005)
            assert receipt["status"] == 1
        return response


@pytest.fixture(scope="session")
def deciders() -> Iterator[dict[bytes, Contract]]:
    """The adjudicators by the operators that they decide."""
    build = load_build()
    with local_chain() as url:
        web3 = connect(url)
        web3.middleware_onion.add(Included)
        web3.eth.default_account = web3.eth.accounts[0]
        contracts = []
        for name in ADJUDICATORS:
            factory = web3.eth.contract(abi=build[name].abi, bytecode=build[name].creation)
            receipt = web3.eth.get_transaction_receipt(factory.constructor().transact())
            contracts.append(web3.eth.contract(receipt["contractAddress"], abi=build[name].abi))
        yield {bytes(op): each for each in contracts for op in each.functions.operators().call()}


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
