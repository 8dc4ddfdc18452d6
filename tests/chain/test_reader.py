"""The reader: bounded ranges of blocks, reorganisations, and views that mirror the contracts' own."""

from dataclasses import replace

import pytest
from eth_utils import event_abi_to_log_topic
from web3.exceptions import Web3RPCError

from benchmarks.small import Cheat, inputs, node
from chain.world import CLIENT
from tao.chain import logs
from tao.chain.local import let_pass, local_chain, mine
from tao.chain.reader import NEAR, Reader, _Snapshot
from tao.chain.rpc import connect
from tao.errors import ChainError, DeploymentError
from tao.protocol.views import Phase, Stage, Status
from tao.roles import client


def test_ranges_of_any_size_give_the_same_logs(world, monkeypatch):
    for _ in range(3):
        world.request()
        mine(world.w3, 40)
    whole = world.context(CLIENT).reader.view()
    assert len(whole.requests) == 3
    for size in (1, 2, 7):
        monkeypatch.setattr(logs, "RANGE", size)
        assert world.context(CLIENT).reader.view() == whole


def test_a_node_that_refuses_long_ranges_is_asked_for_shorter_ones(world, monkeypatch):
    for _ in range(2):
        world.request()
        mine(world.w3, 10)
    context = world.context(CLIENT)
    whole = world.context(CLIENT).reader.view()
    get_logs, asked = context.w3.eth.get_logs, []

    def limited(wanted):
        asked.append(wanted["toBlock"] - wanted["fromBlock"] + 1)
        if asked[-1] > 4:
            raise Web3RPCError("query returned more than 10000 results")
        return get_logs(wanted)

    monkeypatch.setattr(context.w3.eth, "get_logs", limited)
    assert context.reader.view() == whole
    assert max(asked) > 4 and min(asked) <= 4


def test_a_block_that_is_replaced_while_it_is_read_gives_no_view(world, monkeypatch):
    world.request()
    reader = world.context(CLIENT).reader
    w3 = reader.w3
    snapshot = w3.provider.make_request("evm_snapshot", [])["result"]
    mine(w3)
    get_logs = w3.eth.get_logs

    def replaced(wanted):
        found = get_logs(wanted)
        w3.provider.make_request("evm_revert", [snapshot])
        let_pass(w3, 100)
        monkeypatch.setattr(w3.eth, "get_logs", get_logs)
        return found

    monkeypatch.setattr(w3.eth, "get_logs", replaced)
    with pytest.raises(ChainError, match="different blocks"):
        reader.view()
    assert len(reader.view().requests) == 1


def test_a_model_whose_uri_is_not_text_hides_nothing(world):
    """Registering is open to anyone, and the contract does not look at the URI."""
    functions = world.context(CLIENT).contracts.models.functions
    data = functions.register({**world.bundle.commitment, "nodeCount": 99}, "x").build_transaction(
        {"gas": 0, "maxFeePerGas": 0, "maxPriorityFeePerGas": 0, "nonce": 0, "chainId": 0, "value": 0}
    )["data"]
    assert data.endswith("78" + "00" * 31)
    hostile = data[: -2 * 32] + "ff" + "00" * 31
    context = world.context(CLIENT)
    context.sender.transact("register", hostile, to=functions.address)
    request = world.request()
    reader = world.context(CLIENT).reader
    assert [view.request_id for view in reader.view().requests] == [request]
    assert len(reader.models()) == 1


def test_logs_of_a_range_that_failed_are_not_read_twice(world, monkeypatch):
    for _ in range(3):
        world.request()
        mine(world.w3, 40)
    whole = world.context(CLIENT).reader.view()
    context = world.context(CLIENT)
    get_logs, asked = context.w3.eth.get_logs, []

    def failing(wanted):
        asked.append(wanted)
        if len(asked) in (4, 8):
            raise ConnectionError("the node is away")
        return get_logs(wanted)

    monkeypatch.setattr(logs, "RANGE", 20)
    monkeypatch.setattr(context.w3.eth, "get_logs", failing)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            context.reader.view()
    assert context.reader.view() == whole


def test_a_claim_that_a_reorganisation_removed_is_gone(world):
    reader = world.context(CLIENT).reader
    snapshot = world.w3.provider.make_request("evm_snapshot", [])["result"]
    world.prover().claim(inputs())
    assert len(reader.view().claims) == 1
    world.w3.provider.make_request("evm_revert", [snapshot])
    mine(world.w3, 3)
    assert reader.view().claims == ()
    world.prover().claim(inputs(1))
    assert len(reader.view().claims) == 1


def finalise(world) -> None:
    """Have the one claim become final."""
    let_pass(world.w3, world.reader.window + 1)
    mine(world.w3)
    world.prover().tick()


def statuses(reader: Reader) -> list[Status]:
    return [claim.status for claim in reader.view().claims]


def test_what_has_ended_is_read_again_ever_more_rarely(world, monkeypatch):
    world.prover().claim(inputs())
    finalise(world)
    reader, claim, read = world.context(CLIENT).reader, _Snapshot.claim, []

    def counted(snapshot, claimed):
        read.append(snapshot.block)
        return claim(snapshot, claimed)

    monkeypatch.setattr(_Snapshot, "claim", counted)
    start = reader.view().block
    for _ in range(logs.DEPTH + 20):
        mine(world.w3)
        assert statuses(reader) == [Status.FINALISED]
    assert [block - start for block in read] == [0, 1, 3, 7, 15, 31, 63]


@pytest.mark.parametrize("blocks", [1, 5, NEAR + 20])
def test_an_end_that_a_reorganisation_undid_is_none_at_the_next_look(world, blocks):
    world.prover().claim(inputs())
    reader = world.context(CLIENT).reader
    assert statuses(reader) == [Status.PENDING]
    snapshot = world.w3.provider.make_request("evm_snapshot", [])["result"]
    finalise(world)
    for _ in range(3):
        mine(world.w3, 2)
        assert statuses(reader) == [Status.FINALISED]
    world.w3.provider.make_request("evm_revert", [snapshot])
    mine(world.w3, blocks)
    assert statuses(reader) == [Status.PENDING]


def test_old_logs_are_not_read_again(world, monkeypatch):
    context = world.context(CLIENT)
    world.request()
    mine(world.w3, 200)
    context.reader.view()
    get_logs, asked = context.w3.eth.get_logs, []
    monkeypatch.setattr(
        context.w3.eth, "get_logs", lambda wanted: asked.append(wanted["fromBlock"]) or get_logs(wanted)
    )
    mine(world.w3)
    view = context.reader.view()
    assert len(view.requests) == 1 and min(asked) == view.block - logs.DEPTH


@pytest.mark.parametrize("missing", ["Claimed", "DisputeOpened"])
def test_logs_that_a_node_behind_others_did_not_have_are_read_again(world, monkeypatch, missing):
    """However deep they lie by then."""
    context = world.context(CLIENT)
    world.request()
    world.prover(Cheat(world.bundle, node(world.bundle, "mish"))).tick()
    world.challenger().tick()
    mine(world.w3, 300)
    whole = world.context(CLIENT).reader.view()
    assert len(whole.disputes) == len(whole.claims) == 1
    get_logs, event = context.w3.eth.get_logs, event_named(context, missing)
    topic = event_abi_to_log_topic(event.abi)

    def behind(wanted):
        return [log for log in get_logs(wanted) if bytes(log["topics"][0]) != topic]

    with monkeypatch.context() as patch:
        patch.setattr(context.w3.eth, "get_logs", behind)
        with pytest.raises(ChainError, match="of different blocks .*no event of"):
            context.reader.view()
    asked = []
    monkeypatch.setattr(
        context.w3.eth, "get_logs", lambda wanted: asked.append(wanted["fromBlock"]) or get_logs(wanted)
    )
    for _ in range(4):
        try:
            found = context.reader.view()
            break
        except ChainError:
            continue
    assert found == whole and len(set(asked)) > 1
    mine(world.w3)
    asked.clear()
    context.reader.view()
    assert min(asked) > whole.block - 2 * logs.DEPTH


def event_named(context, name):
    events = context.contracts.claims.events, context.contracts.game.events
    return next(getattr(each, name) for each in events if name in {event.event_name for event in each})


def test_a_request_that_is_served_takes_no_place_of_those_that_are_open(world, monkeypatch):
    served = world.request()
    world.prover().tick()
    context = world.context(CLIENT)
    client.request(context, world.bundle, inputs(), 0)
    monkeypatch.setattr(Reader.view, "__defaults__", (None, 1))
    found = world.context(CLIENT).reader.view().requests
    assert [request.is_open for request in found] == [False, True] and found[0].request_id == served


def test_of_many_open_requests_only_the_best_paid_are_looked_at(world, monkeypatch):
    """Each costs a call at every block, and posting them next to nothing."""
    context = world.context(CLIENT)
    paid = [
        client.request(context, world.bundle, inputs(), fee).details["request"] for fee in (5, 0, 7, 0, 6)
    ]
    monkeypatch.setattr(Reader.view, "__defaults__", (None, 2))
    found = world.context(CLIENT).reader.view().requests
    assert ["0x" + request.request_id.hex() for request in found] == [paid[2], paid[4]]
    for request in paid:
        assert client.read(context, bytes.fromhex(request[2:])).request.is_open


def test_a_block_is_read_once_whichever_models_are_asked_for(world, monkeypatch):
    context = world.context(CLIENT)
    world.request()
    view = context.reader.view()
    assert len(view.requests) == 1
    provider, asked = context.w3.provider, []
    request = provider._make_request
    monkeypatch.setattr(
        provider, "_make_request", lambda name, data: asked.append(name) or request(name, data)
    )
    assert context.reader.view() is view
    assert context.reader.view([bytes(32)]).requests == ()
    assert context.reader.view([world.bundle.model_id]) == view
    assert context.reader.view() is view
    assert asked == ["eth_getBlockByNumber"] * 6  # one more for each that was not asked for before
    mine(world.w3)
    assert context.reader.view() == replace(view, now=context.reader.view().now, block=view.block + 1)


def test_the_status_of_a_claim_is_the_contracts_at_both_sides_of_its_window(world):
    context = world.context(CLIENT)
    claim_id = bytes.fromhex(world.prover().claim(inputs()).details["claim"][2:])
    (claim,) = context.reader.view().claims
    for second, expected in ((claim.window_end, Status.PENDING), (claim.window_end + 1, Status.FINALISABLE)):
        world.w3.provider.make_request("evm_setNextBlockTimestamp", [second])
        mine(world.w3)
        (seen,) = context.reader.view().claims
        assert seen.status is expected
        assert context.contracts.claims.functions.statusOf(claim_id).call() == expected


def test_stages_of_a_case_are_the_contracts(world):
    world.request()
    prover = world.prover(Cheat(world.bundle, node(world.bundle, "mish")))
    challenger, members = world.challenger(), world.members()
    reader, seen = prover.context.reader, set()
    stage_of = prover.context.contracts.committee.functions.stageOf

    def compare():
        for dispute in reader.view().disputes:
            if dispute.case is not None:
                assert stage_of(dispute.dispute_id).call() == dispute.case.stage
                seen.add(dispute.case.stage)

    for role in members:
        role.tick = lambda tick=role.tick: (compare(), tick())[1]
    world.play(prover, challenger, *members, each_round=compare)
    assert seen == {Stage.ANNOUNCED, Stage.COMMIT, Stage.REVEAL, Stage.TALLYING}


def test_a_view_knows_every_state_that_was_revealed(world):
    world.request()
    prover = world.prover(Cheat(world.bundle, node(world.bundle, "mish")))
    challenger = world.challenger()
    for role in (prover, challenger, prover):
        role.tick()
    (dispute,) = challenger.context.reader.view().disputes
    assert dispute.phase is Phase.SELECT and len(dispute.hashes) == 3
    assert set(dispute.states) == {0, (len(world.bundle.graph) + 1) // 2, len(world.bundle.graph)}
    let_pass(world.w3, 1)


def test_a_chain_that_began_anew_is_told_as_at_a_start(world):
    context = world.context(CLIENT)
    context.reader.view()
    with local_chain() as other:
        context.w3.provider.endpoint_uri = other
        for _ in range(2):
            with pytest.raises(DeploymentError, match="ClaimRegistry is not at .* was it reset. deploy anew"):
                context.reader.view()


def test_contracts_that_are_gone_are_told_whatever_the_height_of_the_chain(world):
    world.request()
    context = world.context(CLIENT)
    world.w3.provider.make_request("anvil_setCode", [context.contracts.claims.address, "0x"])
    with pytest.raises(DeploymentError, match="ClaimRegistry is not at .* was it reset. deploy anew"):
        context.reader.view()


def test_a_node_that_goes_away_is_told_in_one_sentence(world):
    context = world.context(CLIENT)
    gone = replace(context, w3=connect(world.url))
    gone.reader.w3 = gone.w3
    gone.w3.provider.patience = 0.2
    gone.w3.provider.endpoint_uri = "http://127.0.0.1:9"
    with pytest.raises(ChainError, match="cannot reach the node at http://127.0.0.1:9"):
        gone.reader.view()
