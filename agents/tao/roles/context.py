"""What every role works with: the chain, an account, the store and a journal."""

from dataclasses import dataclass
from pathlib import Path

from eth_account.messages import encode_defunct
from eth_utils import keccak
from web3 import Web3
from web3.contract.contract import ContractFunction

from tao.chain.build import Build, load_build
from tao.chain.contracts import Contracts
from tao.chain.deployment import Deployment
from tao.chain.reader import Reader
from tao.chain.sender import Sender, Sent, Signer
from tao.roles.journal import Journal
from tao.tensors.store import TensorStore


@dataclass(frozen=True)
class Context:
    """A connected account. `sender` is None for those who only read."""

    w3: Web3
    deployment: Deployment
    contracts: Contracts
    reader: Reader
    sender: Sender | None
    store: TensorStore
    journal: Journal
    signer: Signer | None = None

    @classmethod
    def connect(
        cls,
        w3: Web3,
        deployment: Deployment | Path,
        signer: Signer | None,
        store: TensorStore | str,
        journal: Journal | None = None,
        build: Build | None = None,
    ) -> "Context":
        """Bind a verified deployment; raises DeploymentError or ChainError in one sentence."""
        build = build or load_build()
        deployment = Deployment.load(deployment) if isinstance(deployment, Path) else deployment
        contracts = Contracts.bind(w3, deployment, build)
        journal = journal or Journal()
        return cls(
            w3=w3,
            deployment=deployment,
            contracts=contracts,
            reader=Reader(w3, contracts, deployment.first_block),
            sender=Sender(w3, signer, contracts.errors, waiting=journal.display.waiting) if signer else None,
            store=TensorStore(store) if isinstance(store, str) else store,
            journal=journal,
            signer=signer,
        )

    @property
    def address(self) -> str:
        """The account's checksummed address."""
        return self.sender.address

    def send(self, call: ContractFunction, value: int = 0, already: tuple[str, ...] = ()) -> Sent:
        """See Sender.send."""
        return self.sender.send(call, value, already)

    def secret(self, purpose: str) -> bytes:
        """A key only this account can derive, always the same: the hash of a deterministic signature."""
        message = f"TAO secret for {purpose} on chain {self.deployment.chain_id}; sign this nowhere else"
        return keccak(bytes(self.signer.sign_message(encode_defunct(text=message)).signature))
