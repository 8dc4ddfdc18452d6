"""One local chain for the folder; every test starts from the same snapshot of it."""

import copy

import pytest
from click.testing import CliRunner

from benchmarks.small import tiny_bundle
from chain.training import STEPS, TrainingWorld
from chain.world import CLIENT, FEE, OWNER, World
from demo.training.job import build as build_job
from tao.chain.build import load_build
from tao.chain.deploy import deploy
from tao.chain.local import account, local_chain
from tao.chain.parameters import load_parameters
from tao.chain.rpc import connect
from tao.commands.main import main
from tao.roles import client
from tao.roles.context import Context


@pytest.fixture(scope="session")
def build():
    return load_build()


@pytest.fixture(scope="session")
def parameters():
    """The local profile with a small fan-out, so that a dispute of a tiny network has rounds."""
    chosen = copy.deepcopy(load_parameters("local"))
    chosen["game"]["fanOut"] = 2
    return chosen


@pytest.fixture(scope="session")
def bundle():
    return tiny_bundle()


@pytest.fixture(scope="session")
def chain_url():
    with local_chain() as url:
        yield url


@pytest.fixture(scope="session")
def deployed(chain_url, build, parameters):
    return deploy(connect(chain_url), account(OWNER), parameters, build, "ethereum-local")


@pytest.fixture(scope="session")
def connected(chain_url, deployed, build, tmp_path_factory):
    store = str(tmp_path_factory.mktemp("connected"))
    return Context.connect(connect(chain_url), deployed, None, store, build=build)


@pytest.fixture
def w3(chain_url, deployed):
    """A connection; whatever the test does to the chain is undone."""
    w3 = connect(chain_url)
    snapshot = w3.provider.make_request("evm_snapshot", [])["result"]
    yield w3
    w3.provider.make_request("evm_revert", [snapshot])


@pytest.fixture
def world(w3, chain_url, deployed, build, bundle, connected, tmp_path):
    """The deployment with the tiny network registered and in the store."""
    world = World(chain_url, w3, deployed, build, bundle, tmp_path, connected)
    client.register(world.actor(OWNER), bundle)
    return world


@pytest.fixture
def requested(world, given):
    """The world with a request of `given`, inputs of the module's own model."""
    client.request(world.actor(CLIENT), world.bundle, given, FEE)
    return world


@pytest.fixture(scope="session")
def job():
    return build_job(steps=STEPS)


@pytest.fixture
def training(world, job):
    return TrainingWorld(world, job)


@pytest.fixture
def run(world, monkeypatch):
    """Run a command on the test's chain as one of its accounts."""
    record = world.folder / "ethereum-local.json"
    world.deployment.save(record)

    def run(command, index=None, **options):
        monkeypatch.delenv("TAO_PRIVATE_KEY", raising=False)
        if index is not None:
            monkeypatch.setenv("TAO_PRIVATE_KEY", account(index).key.hex())
        given = {"rpc": world.url, "deployment": str(record)} | options
        if command != "status":
            given = {"store": str(world.folder / "store")} | given
        words = [word for name, value in given.items() for word in (f"--{name}", value)]
        return CliRunner().invoke(main, [*command.split(), *words])

    return run
