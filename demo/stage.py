"""The stage: a local chain, the deployed contracts, and every party as a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eth_account.signers.local import LocalAccount
from web3 import Web3

from tao.chain.build import ROOT, load_build
from tao.chain.deploy import deploy
from tao.chain.deployment import Deployment
from tao.chain.local import account, end, start
from tao.chain.parameters import load_parameters
from tao.chain.rpc import connect
from tao.errors import TaoError
from tao.roles.context import Context

FOLDER = ROOT / ".runs" / "demo"
PATIENCE = 120.0
"""Seconds after which a party that should have done something counts as stuck."""


class Stuck(TaoError):
    """A party did not do in time what the scene waits for."""


@dataclass
class Party:
    """A process with an account and a log of its actions. `mark` is how far its log was read."""

    name: str
    account: LocalAccount
    process: subprocess.Popen
    log: Path
    mark: int = 0

    def new_lines(self) -> list[dict[str, Any]]:
        """The actions logged since the last call; a line still being written waits for the next."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as file:
            file.seek(self.mark)
            whole = file.read().rpartition(b"\n")[0]
        self.mark += len(whole) + 1 if whole else 0
        return [json.loads(line) | {"party": self.name} for line in whole.splitlines()]


@dataclass
class Stage:
    """Everything that runs. `lines` are all actions logged so far, in the order they were read."""

    url: str
    chain: subprocess.Popen
    w3: Web3
    deployment: Deployment
    record: Path
    on_line: Callable[[dict[str, Any]], None]
    parties: dict[str, Party] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def store(self) -> str:
        """Where tensors and models are."""
        return str(FOLDER / "store")

    def context(self, index: int) -> Context:
        """The chain as seen by one of the funded accounts."""
        return Context.connect(self.w3, self.deployment, account(index), self.store)

    def start(
        self, name: str, index: int, arguments: list[str], variant: str, module: str, poll: float
    ) -> Party:
        """Start `python -m module arguments` as a party with account `index` and a kernel variant, which looks at the
        chain every `poll` seconds."""
        log = FOLDER / "logs" / f"{name}.jsonl"
        common = ["--deployment", self.record, "--rpc", self.url, "--store", self.store, "--log", log]
        command = [sys.executable, "-m", module, *arguments, *common, "--poll", poll, "--variant", variant]
        output = (FOLDER / "logs" / f"{name}.txt").open("w")
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            # Several parties compute at once on few cores: a thread that waits must leave its core to others.
            env=os.environ
            | {
                "OMP_WAIT_POLICY": "PASSIVE",
                "TAO_PRIVATE_KEY": account(index).key.hex(),
                "TAO_STATE": str(FOLDER / "state"),
            },
            stdout=output,
            stderr=output,
        )
        self.parties[name] = Party(name, account(index), process, log)
        return self.parties[name]

    def stop(self, name: str) -> None:
        """End one party at once: it loses nothing by that, and would take a second to end by itself."""
        process = self.parties[name].process
        process.kill()
        process.wait()

    def listen(self) -> None:
        """Take in what the parties logged; raises Stuck where one has ended that was not stopped."""
        for party in self.parties.values():
            for line in party.new_lines():
                self.lines.append(line)
                self.on_line(line)
            if party.process.returncode is None and party.process.poll() not in (None, 0):
                text = (FOLDER / "logs" / f"{party.name}.txt").read_text().strip().splitlines()
                raise Stuck(f"{party.name} ended with: {text[-1] if text else 'no word'}")

    def wait_for(self, what: str, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """Listen until `condition()` holds and return its value; raises Stuck naming `what` otherwise."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            self.listen()
            if value := condition():
                return value
            time.sleep(0.1)
        raise Stuck(f"waited {patience:.0f} s for {what}; logs are in {FOLDER / 'logs'}")

    def has(self, action: str, **fields: Any) -> list[dict[str, Any]]:
        """Logged lines of an action with the given fields."""
        return [
            line
            for line in self.lines
            if line["action"] == action and all(line.get(key) == value for key, value in fields.items())
        ]

    def wealth(self, address: str, context: Context) -> int:
        """Wei an account has: in its wallet and as credit in the vault."""
        return self.w3.eth.get_balance(address) + context.contracts.vault.functions.creditOf(address).call()

    def close(self) -> None:
        """End every process that was started."""
        for name in self.parties:
            self.stop(name)
        end(self.chain)


def raise_stage(on_line: Callable[[dict[str, Any]], None], progress: Callable[[str], None]) -> Stage:
    """Start a local chain that mines each transaction at once and a block every second, and deploy on it."""
    chain, url = start("--block-time", "1", "--mixed-mining")
    try:
        w3 = connect(url)
        deployment = deploy(w3, account(0), load_parameters("demo"), load_build(), "ethereum-demo", progress)
        record = FOLDER / "deployment.json"
        deployment.save(record, force=True)
        return Stage(url, chain, w3, deployment, record, on_line)
    except BaseException:
        end(chain)
        raise
