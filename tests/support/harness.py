"""Contracts of the tests, compiled as the real ones are and put on the test chain."""

from __future__ import annotations

import json
import re
from functools import cache
from hashlib import sha256
from pathlib import Path
from posixpath import dirname, join, normpath
from types import SimpleNamespace
from typing import Any

from support.wire import Contract, Wire
from tao.files import write_whole

ROOT = Path(__file__).parents[2]
SOLC = "0.8.30"
IMPORT = re.compile(r'^import\s[^"]*"([^"]+)";', re.MULTILINE)
KEPT = ROOT / ".build" / "harnesses"
"""Outputs of the compiler by what it was given: it takes seconds for each, in every process of the tests."""
PACKAGES = {"@openzeppelin/": "node_modules/@openzeppelin/"}


def _sources(path: str) -> dict[str, str]:
    """The file and all that it imports, by the names under which the compiler asks for them."""
    found: dict[str, str] = {}
    wanted = [path]
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        file = next(
            (ROOT / (to + name[len(at) :]) for at, to in PACKAGES.items() if name.startswith(at)), ROOT / name
        )
        found[name] = file.read_text()
        for target in IMPORT.findall(found[name]):
            relative = target.startswith(".")
            wanted.append(normpath(join(dirname(name), target)) if relative else target)
    return found


@cache
def compiled(path: str) -> tuple[bytes, list[Any]]:
    """Bytecode and ABI of the contract after which the file at `path` in the repository is named."""
    from ethpm_types import ContractType  # here, as tests without a chain have no compiler

    description = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in _sources(path).items()},
        "settings": {
            "evmVersion": "prague",
            "viaIR": True,
            "optimizer": {"enabled": True, "runs": 1000},
            "outputSelection": {path: {"*": ["abi", "evm.bytecode.object"]}},
        },
    }
    output = _output(description)["contracts"][path][Path(path).stem]
    return bytes.fromhex(output["evm"]["bytecode"]["object"]), ContractType(abi=output["abi"]).abi


def _output(description: dict[str, Any]) -> dict[str, Any]:
    """The compiler's output, kept from an earlier run where nothing it depends on has changed."""
    from solcx import compile_standard

    kept = KEPT / f"{sha256(json.dumps([SOLC, description]).encode()).hexdigest()}.json"
    if not kept.exists():
        output = compile_standard(description, solc_version=SOLC)
        KEPT.mkdir(parents=True, exist_ok=True)
        write_whole(kept, json.dumps(output).encode())  # other processes look for it too
    return json.loads(kept.read_text())


def deployed(wire: Wire, sender: str, path: str, value: int = 0) -> Contract:
    """The contract of that file at a new address; `value` is what it starts with, in wei."""
    bytecode, abi = compiled(path)
    return wire.contract(Path(path).stem, wire.deploy(sender, bytecode, value), abi)


def harness(wire: Wire, people: list[str], name: str) -> SimpleNamespace:
    """`wire` and `contract` of a harness over libraries, tests/support/solidity/`name`.sol."""
    return SimpleNamespace(
        wire=wire, contract=deployed(wire, people[0], f"tests/support/solidity/{name}.sol")
    )
