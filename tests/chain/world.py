"""A deployed protocol with a registered network, and accounts that play the roles."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console
from web3 import Web3

from benchmarks.small import inputs, member
from tao.chain.build import Build
from tao.chain.deployment import Deployment
from tao.chain.local import account, let_pass, mine
from tao.chain.reader import Reader
from tao.chain.rpc import connect
from tao.chain.sender import Sender
from tao.model import ModelBundle
from tao.protocol.views import DisputeView, Phase
from tao.roles import client
from tao.roles.challenger import ChallengerRole
from tao.roles.context import Context
from tao.roles.journal import Done, Journal
from tao.roles.member import MemberRole
from tao.roles.prover import ProverRole
from tao.tensors.store import TensorStore

OWNER, CLIENT, PROVER, CHALLENGER, FIRST_MEMBER = 0, 1, 2, 3, 5
FEE = 10**16


@dataclass
class World:
    """`url` may be that of a proxy for the roles; the world itself talks to the chain through `w3`. The connection and
    the bindings of `connected`, a context on `url`, serve this world too, so that the deployment need not be checked
    again.
    """

    url: str
    w3: Web3
    deployment: Deployment
    build: Build
    bundle: ModelBundle
    folder: Path
    connected: Context | None = None

    @cached_property
    def reader(self) -> Reader:
        """What anybody sees of the chain."""
        return self._first.reader

    @cached_property
    def _first(self) -> Context:
        if (found := self.connected) is None:
            return self.context(CLIENT)
        return replace(found, reader=Reader(found.w3, found.contracts, self.deployment.first_block))

    def actor(self, index: int, store: Any = None) -> Context:
        """An account on the connection, and with the reader, of all others of this world: the deployment is checked
        once, and the chain is read once for all who look at the same block."""
        first, signer = self._first, account(index)
        sender = Sender(first.w3, signer, first.contracts.errors)
        own = {"signer": signer, "store": TensorStore(store or self.store), "journal": self._journal()}
        return replace(first, sender=sender, **own)

    @property
    def store(self) -> str:
        return str(self.folder / "store")

    def context(self, index: int, store: Any = None) -> Context:
        """An account that has connected by itself."""
        w3, store = connect(self.url), store or self.store
        return Context.connect(w3, self.deployment, account(index), store, self._journal(), self.build)

    def _journal(self) -> Journal:
        """Of one role, in files for all of them."""
        console = Console(file=(self.folder / "console.txt").open("a"), width=200)
        return Journal(self.folder / "log.jsonl", console)

    def prover(self, behaviour=None) -> ProverRole:
        return ProverRole(self.actor(PROVER), self.bundle, behaviour)

    def challenger(self, index: int = CHALLENGER) -> ChallengerRole:
        return ChallengerRole(self.actor(index), self.bundle)

    def members(self, count: int = 3) -> list[MemberRole]:
        """They vote on claims that are made from now on."""
        members = [
            member(self.actor(FIRST_MEMBER + i), f"member {i}", folder=self.folder / "state")
            for i in range(count)
        ]
        for each in members:
            each.join()
        let_pass(self.w3, 1)
        return members

    def request(self) -> bytes:
        done = client.request(self.actor(CLIENT), self.bundle, inputs(), FEE)
        return bytes.fromhex(done.details["request"][2:])

    def play(self, *roles, rounds: int = 40, each_round=lambda: None) -> list[Done]:
        """Tick all roles in turn, a block between, until the first dispute has ended; members, who do nothing
        else, as soon as there is a vote."""
        done: list[Done] = []
        disputes: tuple[DisputeView, ...] = ()
        for _ in range(rounds):
            for role in roles:
                if not isinstance(role, MemberRole) or is_voted_on(disputes):
                    done += role.tick()
            disputes = self.reader.view().disputes
            if disputes and all(dispute.phase is Phase.CLOSED for dispute in disputes):
                return done
            mine(self.w3)
            each_round()
        raise AssertionError(f"no end after {rounds} rounds; done: {[d.what for d in done]}; {self.log()}")

    def dispute(self) -> DisputeView:
        (dispute,) = self.reader.view().disputes
        return dispute

    def log(self) -> str:
        return (self.folder / "log.jsonl").read_text()


def is_voted_on(disputes: Iterable[DisputeView]) -> bool:
    """Whether the committee has one of the disputes before it."""
    return any(dispute.case is not None for dispute in disputes)
