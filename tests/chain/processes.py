"""Roles as processes of their own, which can be ended by SIGKILL."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager

from tao.chain.local import account

PATIENCE = 120


@contextmanager
def running(world, role, model_id, index, **options):
    """`tao ROLE` for a model on the world's chain and store, in the name of an account; killed at the end."""
    record = world.folder / "ethereum-local.json"
    if not record.exists():
        world.deployment.save(record)
    options |= {
        "model": "0x" + model_id.hex(),
        "deployment": record,
        "rpc": world.url,
        "store": world.folder / "store",
        "log": world.folder / f"{role}.jsonl",
        "poll": 0.1,
    }
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    said = world.folder / f"{role}.txt"
    process = subprocess.Popen(
        [sys.executable, "-m", "tao", role, *words],
        env=os.environ
        | {"TAO_PRIVATE_KEY": account(index).key.hex(), "TAO_STATE": str(world.folder / "state")},
        stdout=said.open("w"),
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    except AssertionError as error:
        error.add_note(f"{role} has ended with {process.poll()} and said last: {said.read_text()[-2000:]}")
        error.add_note(f"chain: {world.w3.eth.get_block('latest')}; moves: {moves(world, role)}")
        raise
    finally:
        process.kill()
        process.wait()


def moves(world, role):
    """What the processes of a role wrote down that they did."""
    log = world.folder / f"{role}.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return [line["action"] for line in map(json.loads, lines) if line["action"] != "start"]


def wait_until(happened: Callable[[], bool], meanwhile: Callable[[], object] = lambda: None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "nothing happened for too long"
        meanwhile()
        time.sleep(0.05)
