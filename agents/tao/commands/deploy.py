"""Deploying the protocol and recording where it is."""

from pathlib import Path

from rich.console import Console

from tao.chain.build import ROOT, load_build
from tao.chain.deploy import deploy
from tao.chain.deployment import Deployment, require_free
from tao.chain.parameters import PARAMETERS, load_parameters
from tao.chain.rpc import connect
from tao.chain.sender import Signer
from tao.display import Display
from tao.errors import DeploymentError
from tao.files import require_writable


def record_path(network: str) -> Path:
    """Where the deployment on `<ecosystem>-<network>` is recorded."""
    return ROOT / "deployments" / f"{network}.json"


def run_deploy(
    rpc: str,
    signer: Signer,
    network: str,
    profile: str,
    out: Path | None = None,
    force: bool = False,
    parameters: Path = PARAMETERS,
) -> Deployment:
    """Check everything that can be checked, deploy, and write the record.

    network: `<ecosystem>-<network>`. profile: of the parameters file. Raises DeploymentError or
    ChainError; a record is written of a complete deployment only, and never over another one without `force`. Where it
    cannot be written after all, it is printed.
    """
    path = out or record_path(network)
    require_free(path, force)
    try:
        require_writable(path)
    except OSError as error:
        raise DeploymentError(f"the deployment cannot be recorded: {error}") from error
    checked = load_parameters(profile, parameters)
    console = Console(highlight=False, soft_wrap=True)
    waiting = Display(console).waiting
    w3 = connect(rpc, tell=console.print)
    deployment = deploy(w3, signer, checked, load_build(), network, console.print, waiting)
    try:
        deployment.save(path, force)
    except (OSError, DeploymentError) as error:
        print(deployment.to_json())
        raise DeploymentError(
            f"the contracts are deployed, but not recorded ({error}); save the record printed above, which "
            "--deployment takes"
        ) from error
    console.print(f"recorded in {path}")
    return deployment
