"""Verdicts of deployed adjudicators on single elements: is what kernels compute left alone, and is everything a
hundredth outside the bound proven?

Every case is a whole proof, as a challenger would send it: a node record, openings of the committed tensors and the
claimed element, answered by the contract in a call to a local chain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from eth_abi import encode
from torch import Tensor
from web3 import Web3

from benchmarks.cases import Case
from tao.chain.build import load_build
from tao.chain.deployment import ADJUDICATORS
from tao.chain.local import local_chain
from tao.chain.rpc import connect
from tao.execution import capture
from tao.graph.builder import Builder
from tao.graph.literals import fill
from tao.model import ModelBundle
from tao.numerics.bounds import Bound, Exact, bound
from tao.proofs import element_proof, leaf_claim
from tao.proofs.search import is_decided
from tao.tensors import commit
from tao.tensors.keccak import keccak

OUTSIDE = 1.01
"""Times the bound: how far off a claim is that has to be refuted."""
HONEST, WRONG = 4, 6
"""Elements of a call that are asked about: of kernels' results, and of claims outside the bound."""

_GAS = 1_000_000_000
_LEAF = "(bytes,bytes32[],bytes32[],bytes32,uint256)"


@dataclass(frozen=True)
class Disputed:
    """A node of one call alone, or with the copies that it needs, and what is live before it."""

    bundle: ModelBundle
    index: int
    state: tuple[Tensor, ...]

    @classmethod
    def of(cls, case: Case) -> Disputed:
        target, args, kwargs, operands, (result, *_) = case
        builder = Builder()
        refs = [builder.input(tensor) for tensor in operands]
        args, kwargs = fill(args, kwargs, refs)
        graph, parameters, _ = builder.finish([builder.call(target, args, kwargs, {0: result}, "")[0]])
        index = len(graph) - 1
        state = capture(graph, parameters, operands, [index])[index]
        return cls(ModelBundle(graph, tuple(parameters)), index, state)


@dataclass
class Court:
    """The adjudicators on a chain, by the operators that they decide."""

    w3: Web3
    addresses: dict[bytes, str] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator[Court]:
        """A local chain with all adjudicators, which ends with the context."""
        with local_chain("--gas-limit", str(_GAS)) as url:
            court, build = cls(connect(url)), load_build()
            for name in ADJUDICATORS:
                creation = {"from": court.w3.eth.accounts[0], "data": build[name].creation, "gas": 16_000_000}
                receipt = court.w3.eth.wait_for_transaction_receipt(court.w3.eth.send_transaction(creation))
                deployed = court.w3.eth.contract(receipt["contractAddress"], abi=build[name].abi)
                for operator in deployed.functions.operators().call():
                    court.addresses[bytes(operator)] = deployed.address
            yield court

    def refutes(self, node: Disputed, output: Tensor, element: int) -> bool:
        """The verdict on an element of a claimed output; a proof that reverts proves nothing."""
        bundle, index = node.bundle, node.index
        proof = element_proof(bundle, index, node.state, [output], element)
        claim = leaf_claim(bundle, index, [commit(value) for value in node.state], [commit(output)])
        leaf = (*(claim[name] for name in ("record", "stateBefore", "outputs")), bundle.weights_root)
        data = keccak(f"refutes({_LEAF},bytes)".encode())[:4]
        data += encode([_LEAF, "bytes"], [(*leaf, len(bundle.parameters)), proof])
        operator = keccak(bundle.graph.nodes[index].operator.encode())[:4]
        request = {"to": self.addresses[operator], "data": "0x" + data.hex(), "gas": hex(_GAS)}
        answer = self.w3.provider.make_request("eth_call", [request, "latest"])
        return "error" not in answer and int(answer["result"], 16) == 1


def ask(court: Court, case: Case, kind: str = "deterministic") -> dict[str, int]:
    """Verdicts on some elements of one call: `chain_cases`, those `chain_unsound`, refuted although a kernel computed
    them, and those `chain_unprovable`, not refuted although they are OUTSIDE times the judge's bound (or not bit-equal,
    where results are exact). Nothing is asked where no contract decides the call."""
    found = {"chain_cases": 0, "chain_unsound": 0, "chain_unprovable": 0}
    node, results = Disputed.of(case), case[4]
    if not is_decided(node.bundle.graph.nodes[node.index]):
        return found
    target, args, kwargs, operands, _ = case
    rule = bound(target, args, kwargs, operands, kind)[0]
    for y, element in _honest(results, rule):
        found["chain_cases"] += 1
        found["chain_unsound"] += court.refutes(node, y, element)
    wrong, elements = _wrong(results[0], rule)
    for element in elements:
        found["chain_cases"] += 1
        found["chain_unprovable"] += not court.refutes(node, wrong, element)
    return found


def _honest(results: Sequence[Tensor], rule: Bound | Exact) -> Iterator[tuple[Tensor, int]]:
    """Elements of some kernels' results: of each the worst, and any."""
    for choice in torch.randperm(len(results))[: HONEST // 2].tolist():
        y = results[choice].contiguous()
        yield y, int(torch.randint(y.numel(), ()))
        yield (
            y,
            int(rule.excess(y).argmax()) if isinstance(rule, Bound) else int(torch.randint(y.numel(), ())),
        )


def _wrong(y: Tensor, rule: Bound | Exact) -> tuple[Tensor, list[int]]:
    """Claims outside the bound everywhere, and some elements of which they are finite."""
    wrong = _outside(rule) if isinstance(rule, Bound) else _different(y)
    finite = wrong.isfinite().flatten().nonzero().flatten()
    return wrong, finite[torch.randperm(len(finite))[:WRONG]].tolist()


def _outside(rule: Bound) -> Tensor:
    """float32, OUTSIDE times the tolerance away on either side, rounded away from the value."""
    side = torch.randint(2, rule.value.shape) * 2 - 1
    target = rule.value + side * OUTSIDE * rule.tolerance
    claim = target.float()
    short = (claim.double() - rule.value).abs() <= OUTSIDE * rule.tolerance
    further = torch.nextafter(claim, side * torch.tensor(math.inf))
    return torch.where(short, further, claim).contiguous()


def _different(y: Tensor) -> Tensor:
    """The next number: of floats that are not zero or subnormal, the next float, of the others one more."""
    if y.dtype == torch.bool:
        return ~y
    if not y.is_floating_point():
        return y + 1
    small = y.abs() < torch.finfo(y.dtype).smallest_normal
    return torch.where(small, y + 1, torch.nextafter(y, torch.tensor(math.inf, dtype=y.dtype))).contiguous()
