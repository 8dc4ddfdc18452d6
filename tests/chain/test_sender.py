"""The sender: refusals in one sentence, nonces, fees, and transactions that wait or get stuck."""

import io
import re
import threading

import pytest
from eth_account import Account
from rich.console import Console
from web3.exceptions import Web3RPCError

from chain.world import CLIENT
from tao.chain import sender as sender_module
from tao.chain.reverts import Refused
from tao.chain.sender import Sender
from tao.display import Display
from tao.errors import ChainError, TooLarge


@pytest.fixture
def context(world):
    return world.context(CLIENT)


def request(world, context, salt=0, inputs=1):
    return context.contracts.claims.functions.request(world.bundle.model_id, [bytes(32)] * inputs, salt)


def test_a_refusal_is_one_sentence_with_the_arguments(world, context):
    with pytest.raises(Refused) as caught:
        context.send(request(world, context, inputs=2))
    assert str(caught.value) == "request was refused: wrong value count (given 2, required 1)"
    assert caught.value.error == "WrongValueCount"


def test_a_refusal_names_phases_and_statuses_by_word(world, context):
    finalise = context.contracts.claims.functions.finalise(b"\x01" * 32)
    with pytest.raises(Refused, match="not finalisable .*status unknown"):
        context.send(finalise)


def test_a_refusal_that_means_already_done_is_success(world, context):
    context.send(request(world, context))
    again = context.send(request(world, context), already=("DuplicateRequest",))
    assert again.already and again.gas_used == 0 and again.receipt is None
    with pytest.raises(Refused, match="duplicate request"):
        context.send(request(world, context))


def test_a_refused_call_is_not_sent(world, context):
    before = world.w3.eth.get_transaction_count(context.address)
    with pytest.raises(Refused, match="wrong value count"):
        context.send(request(world, context, inputs=3))
    assert world.w3.eth.get_transaction_count(context.address) == before


def test_two_processes_with_one_account_do_not_lose_transactions(world):
    """Each resyncs its nonce when the other was first."""
    first, second = world.context(CLIENT), world.context(CLIENT)
    for salt in range(0, 6, 2):
        first.send(request(world, first, salt))
        second.send(request(world, second, salt + 1))
    assert len(first.reader.view().requests) == 6


def test_a_stuck_transaction_is_replaced_at_a_higher_fee_and_included_once(world, context):
    call, node = world.w3.provider.make_request, world.w3
    sender = Sender(context.w3, context.signer, context.contracts.errors, patience=0.4, poll=0.05)
    first = node.eth.get_transaction_count(sender.address)
    call("evm_setAutomine", [False])
    seen: list[int] = []
    original = sender._submit

    def submit(transaction, hashes):
        original(transaction, hashes)
        ((_, queue),) = call("txpool_content", [])["result"]["pending"].items()
        ((_, transaction),) = queue.items()
        seen.append(int(transaction["maxFeePerGas"], 16))
        if len(seen) == 3:
            call("evm_setAutomine", [True])
            call("anvil_mine", ["0x1"])

    sender._submit = submit
    try:
        sent = sender.send(request(world, context))
    finally:
        call("evm_setAutomine", [True])
    assert seen[0] < seen[1] < seen[2]
    assert not sent.already and node.eth.get_transaction_count(sender.address) == first + 1


def waiting(world, address):
    """(nonce, fee) of each transaction of the account that waits."""
    pool = world.w3.provider.make_request("txpool_content", [])["result"]["pending"]
    held = {owner.lower(): queue for owner, queue in pool.items()}.get(address.lower(), {})
    return sorted((int(nonce), int(found["maxFeePerGas"], 16)) for nonce, found in held.items())


def test_what_a_process_that_ended_left_waiting_is_replaced(world, context):
    """The next process would wait behind it for ever, as its own fee does not move the first."""
    call = world.w3.provider.make_request
    dead = Sender(context.w3, context.signer, context.contracts.errors, patience=0.2, poll=0.05)
    call("evm_setAutomine", [False])
    try:
        with pytest.raises(ChainError, match="still waits as 0x"):
            dead.send(request(world, context))
        ((nonce, fee),) = waiting(world, dead.address)
        fresh = Sender(context.w3, context.signer, context.contracts.errors, patience=0.2, poll=0.05)
        original = fresh._await

        def include(what, hashes):
            assert [(nonce, True)] == [(n, f > fee) for n, f in waiting(world, fresh.address)]
            call("anvil_mine", ["0x1"])
            return original(what, hashes)

        fresh._await = include
        assert fresh.send(request(world, context, salt=1)).gas_used > 0
    finally:
        call("evm_setAutomine", [True])
    assert len(context.reader.view().requests) == 1


def test_fees_stay_within_a_multiple_of_what_is_usual(world, context):
    """On a chain that stands still, more would be paid for nothing."""
    call = world.w3.provider.make_request
    sender = Sender(context.w3, context.signer, context.contracts.errors, patience=0.05, poll=0.02)
    usual = sender._fees()["maxFeePerGas"]
    call("evm_setAutomine", [False])
    try:
        for _ in range(5):
            with pytest.raises(ChainError, match="still waits"):
                sender.send(request(world, context))
        ((_, fee),) = waiting(world, sender.address)
    finally:
        call("evm_setAutomine", [True])
        call("anvil_mine", ["0x1"])
    assert 2 * usual < fee <= sender_module.MOST_OVER_MARKET * usual


def test_a_node_that_suggests_an_absurd_tip_is_not_believed(world, context, monkeypatch):
    monkeypatch.setattr(type(context.w3.eth), "max_priority_fee", 10**18)
    assert context.sender._fees()["maxPriorityFeePerGas"] == sender_module.MOST_TIP


@pytest.mark.parametrize(
    ("said", "is_too_large"),
    [
        ("oversized data: transaction size 140213, limit 131072", True),
        ("Out of gas: gas required exceeds allowance: 30000000", True),
        ("transaction gas limit too high (cap: 16777216, tx: 17000000)", True),
        ("tx fee (1.20 ether) exceeds the configured cap (1.00 ether)", False),
        ("daily request count exceeded, request rate limited", False),
    ],
)
def test_what_is_too_large_is_told_from_what_passes(world, context, monkeypatch, said, is_too_large):
    def refuse(_):
        raise Web3RPCError(said)

    monkeypatch.setattr(context.w3.eth, "estimate_gas", refuse)
    with pytest.raises(ChainError, match=re.escape(said)) as caught:
        context.send(request(world, context))
    assert isinstance(caught.value, TooLarge) is is_too_large


def test_an_account_without_ether_is_told_what_it_holds(world, context):
    poor = Account.create()
    sender = Sender(context.w3, poor, context.contracts.errors)
    with pytest.raises(ChainError, match=f"account {poor.address} holds 0 ETH, too little for 1 ETH"):
        sender.send(request(world, context), value=10**18)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_transaction_that_waits_is_shown_by_name_until_it_is_included(world, context, is_terminal):
    call = world.w3.provider.make_request
    console = Console(file=io.StringIO(), width=200, force_terminal=is_terminal, color_system=None)
    waiting = Display(console).waiting
    options = {"poll": 0.05, "waiting": waiting, "tell_after": 0.3}
    sender = Sender(context.w3, context.signer, context.contracts.errors, **options)
    sender.send(request(world, context))
    assert console.file.getvalue() == ""  # included at once
    call("evm_setAutomine", [False])
    mines = threading.Timer(0.8, call, ("anvil_mine", ["0x1"]))
    mines.start()
    try:
        sent = sender.send(request(world, context, salt=1))
    finally:
        mines.join()
        call("evm_setAutomine", [True])
    line = f"waiting for transaction {sent.transaction} (request) to be included"
    said = console.file.getvalue()
    assert f"{line}   0 s" in said if is_terminal else said == f"{line}\n"


def test_what_a_role_sends_is_shown_in_its_journal(world, context):
    context.sender._tell_after, context.sender._patience = 0.0, 0.05
    world.w3.provider.make_request("evm_setAutomine", [False])
    try:
        with pytest.raises(ChainError, match="still waits"):
            context.send(request(world, context))
    finally:
        world.w3.provider.make_request("evm_setAutomine", [True])
    told = (world.folder / "console.txt").read_text()
    lines = re.findall(r"waiting for transaction (0x\w{64}) \(request\) to be included", told)
    assert len(set(lines)) == len(lines) == 1 + sender_module.REPLACEMENTS  # each of another name
