"""Contracts on a local chain and roles that play against them, each receipt noted."""

import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

from rich.console import Console
from torch import Tensor
from web3.contract import Contract

from tao.chain.build import load_build
from tao.chain.deploy import deploy
from tao.chain.local import account, let_pass, local_chain, mine
from tao.chain.parameters import load_parameters
from tao.chain.rpc import connect
from tao.chain.sender import Sender
from tao.model import ModelBundle
from tao.protocol.views import Phase
from tao.roles import client
from tao.roles.challenger import ChallengerRole
from tao.roles.context import Context
from tao.roles.journal import Done, Journal
from tao.roles.prover import Behaviour, ProverRole
from tao.roles.role import Role
from tao.tensors.store import TensorStore

EVM = "prague"
OWNER, CLIENT, PROVER, CHALLENGER, FIRST_MEMBER = 0, 1, 2, 3, 5
ROUNDS = 60


class World:
    """Contracts on a local chain, and the dearest receipt of each function so far."""

    def __init__(self, url: str, folder: str, parameters: dict):
        self.url, self.folder, self.gas = url, folder, {}
        self.last_proof: tuple = ()
        self.w3, self.build = connect(url), load_build()
        self.deployment = deploy(self.w3, account(OWNER), parameters, self.build, "ethereum-local")

    @cached_property
    def owner(self) -> Context:
        """The account that deployed the contracts."""
        return self.context(OWNER)

    @cached_property
    def _first(self) -> Context:
        """What all accounts share: the deployment is checked once, and the chain read once a block."""
        return Context.connect(self.w3, self.deployment, None, self._store(), self._journal(), self.build)

    def _store(self) -> TensorStore:
        return TensorStore(f"{self.folder}/store")

    def _journal(self) -> Journal:
        return Journal(console=Console(quiet=True))

    def context(self, index: int) -> Context:
        """An account whose receipts are noted."""
        signer = account(index)
        sender = Sender(self.w3, signer, self._first.contracts.errors)
        own = {"signer": signer, "store": self._store(), "journal": self._journal()}
        context = replace(self._first, sender=sender, **own)
        names = {contract.address: name for name, contract in self.deployment.contracts.items()}
        send = context.sender.send

        def noted(call, *arguments, **options):
            if call.fn_name == "prove":
                self.last_proof = call.arguments
            sent = send(call, *arguments, **options)
            if not sent.already:
                key = f"{names[call.address]}.{call.fn_name}"
                self.gas[key] = max(self.gas.get(key, 0), sent.gas_used)
            return sent

        context.sender.send = noted
        return context

    def play(self, *roles: Role, until: Callable[[], bool], seconds: int = 0) -> list[Done]:
        """Tick the roles in turn until the condition holds; returns what they did."""
        done = []
        for _ in range(ROUNDS):
            for role in roles:
                done += role.tick()
            if until():
                return done
            let_pass(self.w3, seconds) if seconds else mine(self.w3)
        raise RuntimeError(f"no end after {ROUNDS} rounds; done were {[d.what for d in done]}")

    def dispute(
        self,
        bundle: ModelBundle,
        inputs: tuple[Tensor, ...],
        behaviour: Behaviour,
        *others: Role,
        prover: type[ProverRole] = ProverRole,
        seconds: int = 0,
    ) -> list[Done]:
        """Request, claim and one dispute to its end; returns what was done from the opening on. prover: the role that
        claims. seconds: that pass between moves."""
        client.request(self.context(CLIENT), bundle, inputs, 10**15)
        claimant = prover(self.context(PROVER), bundle, behaviour)
        challenger = ChallengerRole(self.context(CHALLENGER), bundle)
        reader = challenger.context.reader
        before = len(reader.view().disputes)

        def ended() -> bool:
            disputes = reader.view().disputes
            return len(disputes) > before and all(dispute.phase is Phase.CLOSED for dispute in disputes)

        done = self.play(claimant, challenger, *others, until=ended, seconds=seconds)
        return [each for each in done if each.action not in ("claim", "finalise")]

    def contract(self, name: str) -> Contract:
        """A deployed contract by its name."""
        return self.w3.eth.contract(self.deployment.contracts[name].address, abi=self.build[name].abi)

    def adjudicator_gas(self, bundle: ModelBundle, node: int, claim: Mapping[str, Any], proof: bytes) -> int:
        """Gas of a transaction that asks the adjudicator of a node whether a proof refutes what is claimed of it.

        claim: with the fields of IDisputeGame.LeafClaim. Raises RuntimeError where the proof does not."""
        leaf = {name: claim[name] for name in ("record", "stateBefore", "outputs")}
        leaf |= {"weightsRoot": bundle.weights_root, "parameterCount": len(bundle.parameters)}
        operator = bundle.graph.nodes[node].operator
        call = self.owner.contracts.adjudicator_of(operator).functions.refutes(leaf, proof)
        if not call.call():
            raise RuntimeError(f"the adjudicator does not refute {operator}")
        return self.owner.send(call).gas_used


@contextmanager
def world(fan_out: int) -> Iterator[World]:
    """A fresh chain with the local parameters and the given fan-out."""
    parameters = copy.deepcopy(load_parameters("local"))
    parameters["game"]["fanOut"] = fan_out
    with local_chain() as url, tempfile.TemporaryDirectory() as folder:
        yield World(url, folder, parameters)
