"""The real adjudicators on an in-process chain."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from torch import Tensor
from web3 import EthereumTesterProvider, Web3

from tao.chain.deployment import ADJUDICATORS
from tao.model import ModelBundle
from tao.proofs import leaf_claim
from tao.tensors.keccak import keccak
from tao.tensors.tree import commit

ROOT = Path(__file__).resolve().parents[2]

Refutes = Callable[[ModelBundle, int, Sequence[Tensor], Sequence[Tensor], bytes], bool]


@pytest.fixture(scope="session")
def refutes(tmp_path_factory: pytest.TempPathFactory) -> Refutes:
    """What the operator's adjudicator makes of a proof; reverts are raised."""
    out = tmp_path_factory.mktemp("forge")
    command = [
        "tools/bin/forge",
        "build",
        "contracts/adjudicators",
        "--out",
        out,
        "--cache-path",
        out / "cache",
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    web3 = Web3(EthereumTesterProvider())
    contracts = []
    for name in ADJUDICATORS:
        built = json.loads((out / f"{name}.sol" / f"{name}.json").read_text())
        factory = web3.eth.contract(abi=built["abi"], bytecode=built["bytecode"]["object"])
        receipt = web3.eth.wait_for_transaction_receipt(factory.constructor().transact())
        contracts.append(web3.eth.contract(receipt["contractAddress"], abi=built["abi"]))
    deciders = {bytes(op): each for each in contracts for op in each.functions.operators().call()}

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
