"""The record of a deployment: what was put where, and whether it is still what is there."""

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eth_utils import keccak
from web3 import Web3

from tao.chain.build import ROOT, Build, matches
from tao.errors import DeploymentError
from tao.files import write_whole

ADJUDICATORS = (
    "ContractionAdjudicator",
    "ConvolutionAdjudicator",
    "ElementwiseAdjudicator",
    "ExactAdjudicator",
    "MovementAdjudicator",
    "NormalisationAdjudicator",
    "PoolingAdjudicator",
    "ReductionAdjudicator",
    "RoundedContractionAdjudicator",
    "RoundedElementwiseAdjudicator",
    "RoundedReductionAdjudicator",
    "SoftmaxAdjudicator",
    "TrainingAdjudicator",
)
CONTRACTS = (
    "BondVault",
    "ModelRegistry",
    "ClaimRegistry",
    "OperatorCommittee",
    "SumGame",
    *ADJUDICATORS,
    "DisputeGame",
)


@dataclass(frozen=True)
class Deployed:
    """One contract on the chain. `code_hash` is the keccak of its runtime code, immutables included."""

    address: str
    arguments: list[Any]
    transaction: str
    block: int
    gas_used: int
    code_hash: str


@dataclass(frozen=True)
class Deployment:
    """All contracts of one deployment of the protocol, and where they came from.

    network: `<ecosystem>-<network>`, which names the file. commit: of the sources, None outside a checkout.
    """

    network: str
    chain_id: int
    deployer: str
    commit: str | None
    compiler: dict[str, Any]
    parameters: dict[str, Any]
    contracts: dict[str, Deployed]

    @property
    def first_block(self) -> int:
        """Block before which no event of the protocol can be."""
        return min(deployed.block for deployed in self.contracts.values())

    def to_json(self) -> str:
        """The record's text."""
        return json.dumps(asdict(self), indent=2)

    def save(self, path: Path, force: bool = False) -> None:
        """Write the record, whole or not at all; raises DeploymentError rather than replace another one, OSError where
        it cannot be written."""
        require_free(path, force)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, (self.to_json() + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> "Deployment":
        """Read a record; raises DeploymentError where it is missing or not a deployment record."""
        if not path.is_file():
            raise DeploymentError(
                f"no deployment is recorded in {path}; run `ape run deploy` or pass --deployment FILE"
            )
        try:
            data = json.loads(path.read_text())
            contracts = {name: Deployed(**entry) for name, entry in data.pop("contracts").items()}
            deployment = cls(contracts=contracts, **data)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DeploymentError(
                f"{path} is not a deployment record ({error}); pass --deployment one that `ape run deploy` wrote"
            ) from error
        lacking = [name for name in CONTRACTS if name not in contracts]
        if lacking:
            raise DeploymentError(f"{path} lacks {', '.join(lacking)}; deploy anew with --force")
        return deployment

    def verify(self, w3: Web3, build: Build) -> None:
        """Check the chain id and the code at every address; raises DeploymentError where anything differs.

        The code must be the build's (immutables and metadata aside) and, immutables included, the code that
        was there when it was deployed.
        """
        chain_id = w3.eth.chain_id
        if chain_id != self.chain_id:
            raise DeploymentError(
                f"the deployment {self.network} is on chain {self.chain_id}, the node on chain {chain_id}; "
                "give the --rpc and the --deployment of one chain"
            )
        for name, deployed in self.contracts.items():
            code = bytes(w3.eth.get_code(Web3.to_checksum_address(deployed.address)))
            if not code:
                raise missing(name, deployed.address, chain_id)
            if Web3.to_hex(keccak(code)) != deployed.code_hash:
                raise DeploymentError(
                    f"the code of {name} at {deployed.address} is not the code that was recorded"
                )
            if not matches(code, build[name].runtime):
                raise DeploymentError(
                    f"the code of {name} at {deployed.address} is not what these sources build; check out "
                    f"{self.commit or 'the sources it was deployed from'} or deploy anew with --force"
                )


def missing(name: str, address: str, chain_id: int) -> DeploymentError:
    """What to say of a contract that was deployed and is not there."""
    return DeploymentError(f"{name} is not at {address} on chain {chain_id}; was it reset? deploy anew")


def require_free(path: Path, force: bool) -> None:
    """Raise DeploymentError where writing to `path` would replace a record without `force`."""
    if path.exists() and not force:
        raise DeploymentError(f"{path} records a deployment already; give --force to replace it")


def source_commit() -> str | None:
    """The checked-out commit, with `-dirty` behind it where files differ; None outside a checkout."""
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or None if described.returncode == 0 else None
