"""A real prover process, ended by SIGKILL between its moves and started again."""

import json
import os
import subprocess
import sys
import time

from chain.test_every_fault import Liar
from chain.world import CHALLENGER, FIRST_MEMBER, PROVER
from tao.chain.local import account, mine
from tao.protocol.views import Outcome, Phase
from tao.roles.challenger import ChallengerRole

PATIENCE = 120


def start(world):
    record = world.folder / "ethereum-local.json"
    if not record.exists():
        world.deployment.save(record)
    options = {
        "--model": "0x" + world.bundle.model_id.hex(),
        "--deployment": record,
        "--rpc": world.url,
        "--store": world.folder / "store",
        "--log": world.folder / "prover.jsonl",
        "--poll": 0.1,
    }
    words = [str(word) for option in options.items() for word in option]
    return subprocess.Popen(
        [sys.executable, "-m", "tao", "prover", *words],
        env=os.environ | {"TAO_PRIVATE_KEY": account(PROVER).key.hex()},
        stderr=subprocess.DEVNULL,
    )


def moves(world):
    log = world.folder / "prover.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return [line["action"] for line in map(json.loads, lines) if line["action"] != "start"]


def test_a_prover_killed_after_each_of_its_moves_continues_and_wins(world):
    world.request()
    members = world.members()
    attacker = ChallengerRole(world.context(CHALLENGER), world.bundle)
    attacker.judge = Liar(world.bundle, attacker.context.store, 1.0, 0)
    attacker.judge.target = 5
    for expected in (["claim"], ["claim", "reveal"], ["claim", "reveal", "reveal"]):
        process = start(world)
        deadline = time.monotonic() + PATIENCE
        while moves(world) != expected and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
        process.wait()
        assert moves(world) == expected
        for _ in range(3):
            attacker.tick()
            mine(world.w3)
    reader = world.context(FIRST_MEMBER).reader
    (dispute,) = reader.view().disputes
    assert dispute.lo == 5 and dispute.phase in (Phase.LEAF, Phase.VOTE)
    world.play(attacker, *members)
    assert reader.view().disputes[0].outcome is Outcome.PROVER_WON
