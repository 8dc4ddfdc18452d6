"""Roles as processes of their own, which can be ended by SIGKILL."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from tao.chain.local import account
from tao.commands.main import main

PATIENCE = 120

# A process is forked from one that has imported the roles: importing them anew takes longer than most of the tests.
_fork = multiprocessing.get_context("forkserver")
_fork.set_forkserver_preload([f"tao.roles.{role}" for role in ("auditor", "member", "trainer")])


@contextmanager
def running(world, role, index, **options):
    """`tao ROLE` on the world's chain and store, in the name of an account; killed at the end, and not sooner."""
    record = world.folder / "ethereum-local.json"
    if not record.exists():
        world.deployment.save(record)
    options |= {
        "deployment": record,
        "rpc": world.url,
        "store": world.store,
        "log": log_of(world, role),
        "poll": 0.1,
    }
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    said = world.folder / f"{role}.txt"
    said.touch()
    environment = {"TAO_PRIVATE_KEY": account(index).key.hex(), "TAO_STATE": str(world.folder / "state")}
    process = _fork.Process(target=_run, args=([role, *words], environment, said))
    process.start()
    try:
        yield
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "it was to be killed, and had ended"
    except AssertionError as error:
        error.add_note(f"{role} has ended with {process.exitcode} and said last: {said.read_text()[-2000:]}")
        error.add_note(f"chain: {world.w3.eth.get_block('latest')}; moves: {moves(world, role)}")
        raise
    finally:
        process.kill()
        process.join()


def _run(words: list[str], environment: dict[str, str], said: Path) -> None:
    os.environ |= environment
    with said.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    main(words, prog_name="tao")


def log_of(world, role):
    """The file that the processes of a role write down what they do in."""
    return world.folder / f"{role}.jsonl"


def moves(world, role):
    """The transactions that the processes of a role wrote down, by what they did."""
    log = log_of(world, role)
    lines = log.read_text().splitlines() if log.exists() else []
    return [line["action"] for line in map(json.loads, lines) if line.get("transaction")]


def wait_until(happened: Callable[[], bool], meanwhile: Callable[[], object] = lambda: None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "nothing happened for too long"
        meanwhile()
        time.sleep(0.05)
