"""`ape run`: the roles on a network and with an account that Ape keeps."""

import json
import os
import runpy
import subprocess

import pytest
from click.testing import CliRunner
from eth_account import Account

from benchmarks.small import inputs
from chain.world import FEE, OWNER, World
from tao.chain.build import ROOT
from tao.chain.deployment import Deployment
from tao.chain.local import account, free_port, local_chain
from tao.chain.rpc import connect
from tao.roles import client

SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
HOLESKY = 17000


@pytest.fixture
def run(tmp_path):
    """Run a script on a node of one's own as `mine`, an account of Ape's, whose data lie in a folder of the test."""
    keystore = tmp_path / "ape" / "accounts" / "mine.json"
    keystore.parent.mkdir(parents=True)
    key = Account.encrypt(account(OWNER).key, "open sesame", iterations=2)  # opened quickly
    keystore.write_text(json.dumps(key))

    def run(url, *words, network="ethereum:holesky:node", passphrase="open sesame", status=0):
        variables = {
            "HOLESKY_RPC_URL": url,
            "APE_DATA_FOLDER": str(tmp_path / "ape"),
            "APE_ACCOUNTS_mine_PASSPHRASE": passphrase,
        }
        done = subprocess.run(
            ["ape", "run", *words, "--network", network, "--account", "mine"],
            cwd=ROOT,
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_what_ape_run_deployed_serves_and_pays_an_account_of_apes(run, build, bundle, tmp_path):
    record = tmp_path / "record.json"
    with local_chain("--chain-id", str(HOLESKY)) as url:
        assert f"recorded in {record}" in run(url, "deploy", "--out", str(record))
        deployment = Deployment.load(record)
        assert (deployment.network, deployment.chain_id) == ("ethereum-holesky", HOLESKY)
        assert deployment.deployer == account(OWNER).address

        context = World(url, connect(url), deployment, build, bundle, tmp_path).context(OWNER)
        client.register(context, bundle)
        request = client.request(context, bundle, inputs(), FEE).details["request"]
        client.cancel(context, bytes.fromhex(request[2:]))
        credit = context.contracts.vault.functions.creditOf(context.address)
        assert credit.call() == FEE
        said = run(url, "client", "withdraw", "--deployment", str(record), "--store", str(tmp_path / "store"))
        assert "withdrew 0.01 ETH" in said
        assert credit.call() == 0


def test_a_node_that_is_away_and_a_wrong_passphrase_are_told_in_one_sentence(run, chain_url):
    local, away = f"ethereum:local:{chain_url}", f"http://127.0.0.1:{free_port()}"
    said = [
        run(away, "deploy", status=1),
        run("", "client", "withdraw", network=f"ethereum:local:{away}", status=1),
        run("", "client", "withdraw", network=local, passphrase="wrong", status=1),
    ]
    assert all("Traceback" not in each for each in said)
    assert f"Error: No (supported) node found on '{away}'" in said[0]
    assert "Error: no node answers; check --network and that the node is running" in said[1]
    assert "Error: the account 'mine' does not open with this passphrase" in said[2]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_shows_an_example_of_itself(script):
    result = CliRunner().invoke(runpy.run_path(str(script))["cli"], ["--help"])
    assert result.exit_code == 0 and f"Example: ape run {script.stem} " in result.output
