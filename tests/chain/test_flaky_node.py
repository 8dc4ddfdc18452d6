"""Dropped connections, lost answers, late transactions, and nodes that are not there."""

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import requests

from benchmarks.small import Cheat, node
from chain.proxy import Faults, flaky
from tao.chain.local import ACCOUNTS, account
from tao.chain.rpc import PATIENCE, PatientProvider, connect
from tao.errors import ChainError, TooLarge
from tao.protocol.views import Outcome


def test_a_dispute_survives_dropped_connections_and_lost_answers(world):
    """Every 11th request never arrives and the answer of every 17th is lost, transactions included."""
    world.request()
    faults = Faults(before=11, after=17, delay=0.001)
    with flaky(world.url, faults) as url:
        shaky = replace(world, url=url, connected=None)
        cheat = Cheat(world.bundle, node(world.bundle, "mish"))
        done = shaky.play(shaky.prover(cheat), shaky.challenger(), *shaky.members())
    assert faults.dropped > 40
    assert world.dispute().outcome is Outcome.CHALLENGER_WON
    sent = [each.sent.transaction for each in done if not each.sent.already]
    assert len(sent) == len(set(sent))


def test_a_dispute_survives_transactions_that_arrive_late(world):
    """The node gets most of them twice, and the second time behind a later request."""
    world.request()
    faults = Faults(late=2)
    with flaky(world.url, faults) as url:
        shaky = replace(world, url=url, connected=None)
        cheat = Cheat(world.bundle, node(world.bundle, "mish"))
        roles = [shaky.prover(cheat), shaky.challenger(), *shaky.members()]
        before, late = included(world), faults.overtaken
        done = shaky.play(*roles)
    assert faults.overtaken - late > 10
    assert world.dispute().outcome is Outcome.CHALLENGER_WON
    assert included(world) - before == sum(not each.sent.already for each in done)


@pytest.mark.parametrize("fault", [{"before": 5, "after": 3}, {"late": 2}], ids=["lost", "late"])
def test_every_transaction_of_a_shaky_connection_is_included_once(world, fault):
    faults = Faults(**fault)
    with flaky(world.url, faults) as url:
        context = replace(world, url=url, connected=None).context(10)
        first = world.w3.eth.get_transaction_count(context.address)
        for salt in range(5):
            request = context.contracts.claims.functions.request(world.bundle.model_id, [bytes(32)], salt)
            context.send(request)
        assert world.w3.eth.get_transaction_count(context.address) == first + 5
    assert faults.dropped >= 4 and faults.overtaken == (faults.dropped if faults.late else 0)


def included(world) -> int:
    """Transactions of all accounts that are on the chain."""
    return sum(world.w3.eth.get_transaction_count(account(index).address) for index in range(ACCOUNTS))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://127.0.0.1:9/v3/secret-key", "cannot reach the node at http://127.0.0.1:"),
        ("ws://127.0.0.1:8545", "is not an http"),
        ("nonsense", "is not an http"),
    ],
)
def test_a_node_that_is_not_there_is_named_without_its_key(url, sentence):
    with pytest.raises(ChainError, match=sentence) as caught:
        connect(url, patience=0.3)
    assert "secret-key" not in str(caught.value)


def test_a_request_that_is_too_long_for_a_node_is_told_as_such(monkeypatch):
    response = requests.Response()
    response.status_code = 413
    error = requests.HTTPError("too long", response=response)
    provider = PatientProvider("http://127.0.0.1:9/v3/secret-key")
    monkeypatch.setattr(
        provider, "_request_session_manager", SimpleNamespace(make_post_request=fail_with(error))
    )
    with pytest.raises(TooLarge, match="at http://127.0.0.1:9 takes no request of"):
        provider.make_request("eth_call", [])


def fail_with(error):
    def fail(*_, **__):
        raise error

    return fail


def test_a_node_that_never_answered_is_given_up_sooner_than_one_that_did(world):
    start = time.monotonic()
    with pytest.raises(ChainError, match="cannot reach the node"):
        connect("http://127.0.0.1:9", first=0.3)
    assert time.monotonic() - start < PATIENCE / 2
    assert connect(world.url).provider.patience == PATIENCE


def test_that_a_node_is_waited_for_is_told_once_until_it_answers(world, monkeypatch):
    monkeypatch.setattr("tao.chain.rpc.TELL_AFTER", 0.1)
    said = []
    w3 = connect(world.url, tell=said.append)
    w3.provider.patience = 0.5
    for times in (1, 2):
        w3.provider.endpoint_uri = "http://127.0.0.1:9/v3/secret-key"
        for _ in range(2):
            with pytest.raises(ChainError, match="cannot reach"):
                w3.eth.get_block("latest")
            assert said == ["waiting for the node at http://127.0.0.1:9"] * times
        w3.provider.endpoint_uri = world.url
        w3.eth.get_block("latest")


def test_a_node_behind_a_proxy_of_the_environment_is_reached_through_it(chain_url, monkeypatch):
    with pytest.raises(ChainError, match="cannot reach the node at http://node.invalid"):
        connect("http://node.invalid", first=0.3)
    monkeypatch.setenv("http_proxy", chain_url)
    assert connect("http://node.invalid").eth.chain_id == connect(chain_url).eth.chain_id
