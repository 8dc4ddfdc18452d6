"""What the compiler built, from Ape's build output, and on-chain code compared with it."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tao.errors import DeploymentError

ROOT = Path(os.environ.get("TAO_ROOT", Path(__file__).resolve().parents[3]))
BUILD = ROOT / ".build" / "__local__.json"

_PUSH32_ZERO = b"\x7f" + bytes(32)


@dataclass(frozen=True)
class ContractType:
    """One compiled contract: `creation` is deployed with the ABI-encoded constructor arguments behind it."""

    name: str
    abi: list[dict[str, Any]]
    creation: bytes
    runtime: bytes


@dataclass(frozen=True)
class Build:
    """All compiled contracts by name, and the compiler with its settings."""

    contracts: dict[str, ContractType]
    compiler: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> ContractType:
        if name not in self.contracts:
            raise DeploymentError(f"the contract {name} is not in the build; run `make setup`")
        return self.contracts[name]


@cache
def load_build(path: Path = BUILD, root: Path = ROOT) -> Build:
    """Read Ape's build output; raises DeploymentError where it is missing, or older than the sources under `root`."""
    if not path.is_file():
        raise DeploymentError(f"the contracts are not compiled: {path} is missing; run `make setup`")
    compiled = path.with_name("sources")
    if compiled.is_file() and (root / "contracts").is_dir() and compiled.read_text().strip() != sources(root):
        raise DeploymentError("the contracts have changed since they were compiled; run `make setup`")
    data = json.loads(path.read_text())
    contracts = {
        name: ContractType(
            name=name,
            abi=entry["abi"],
            creation=_bytecode(entry, "deploymentBytecode"),
            runtime=_bytecode(entry, "runtimeBytecode"),
        )
        for name, entry in data["contractTypes"].items()
    }
    used = next(
        (c for c in data.get("compilers") or [] if "DisputeGame" in (c.get("contractTypes") or [])), {}
    )
    settings = {key: value for key, value in (used.get("settings") or {}).items() if key != "outputSelection"}
    compiler = {"name": used["name"], "version": used["version"], "settings": settings} if used else {}
    return Build(contracts, compiler)


def sources(root: Path = ROOT) -> str:
    """What the contracts are compiled from, as one SHA-256 in hex."""
    found = sorted(path for path in (root / "contracts").rglob("*.sol") if ".cache" not in path.parts)
    text = b"".join(path.read_bytes() for path in (root / "ape-config.yaml", *found))
    return hashlib.sha256(text).hexdigest()


def matches(on_chain: bytes, built: bytes) -> bool:
    """True iff the code is the built one, immutables and the metadata trailer left out.

    The compiler leaves `PUSH32 0` where a constructor writes an immutable (a literal zero is `PUSH0`), so
    those 32 bytes may differ. The trailer hashes paths and comments; its length is in the last two bytes.
    """
    if len(on_chain) != len(built):
        return False
    on_chain, built = _without_metadata(on_chain), _without_metadata(built)
    masked, position = bytearray(on_chain), built.find(_PUSH32_ZERO)
    while position >= 0:
        masked[position + 1 : position + 33] = bytes(32)
        position = built.find(_PUSH32_ZERO, position + 33)
    return bytes(masked) == built


def _without_metadata(code: bytes) -> bytes:
    trailer = int.from_bytes(code[-2:], "big") + 2
    return code[:-trailer] if trailer <= len(code) else code


def _bytecode(entry: dict[str, Any], kind: str) -> bytes:
    text = (entry.get(kind) or {}).get("bytecode") or ""
    return bytes.fromhex(text.removeprefix("0x"))
