"""Cases about models that nobody can run, which hostile accounts may register: members lose nothing by them."""

import json
from dataclasses import replace

import pytest

from benchmarks.small import inputs
from protocol.factories import case, claim, dispute, view
from tao.errors import ModelError
from tao.model import ModelBundle
from tao.protocol.views import Phase, Stage, Vote

JUNK = b"j" * 32


@pytest.fixture
def member(world):
    return world.members(1)[0]


def voting(member, model_id: bytes, number: int, commit_end: int):
    """A case before `member` about the whole of a run of the small model."""
    found = case(Stage.COMMIT, case_id=bytes([number]) * 32, panel=(member.address,), commit_end=commit_end)
    found = replace(found, votes={member.address: (bytes(32), Vote.NONE)})
    return dispute(
        Phase.VOTE,
        dispute_id=bytes([number]) * 32,
        claim=claim(model_id=model_id),
        case=found,
        states={0: (JUNK,), 10: (JUNK,)},
    )


def honest(world, member, number: int, commit_end: int):
    """The same about a run as it should be."""
    bundle, store = world.bundle, member.context.store
    bundle.save(store)
    receipt = bundle.run(inputs())
    for tensor in (*inputs(), *receipt.values):
        store.put_tensor(tensor)
    count = len(bundle.graph)
    return replace(
        voting(member, bundle.model_id, number, commit_end),
        node_count=count,
        hi=count,
        states={0: receipt.inputs, count: receipt.outputs},
    )


def votes(member, *cases, second: int):
    return [(move.dispute.dispute_id[0], move.vote) for move in member.decide(view(*cases, now=second))]


@pytest.mark.parametrize(
    "manifest", [b"{", b"[]", json.dumps({"format": "tao.model.v1", "steps": 1}).encode()]
)
def test_a_model_that_cannot_be_read_is_waited_for_and_then_rejected(world, member, manifest):
    """As one that is missing: an honest prover published what it ran. Other cases go on meanwhile."""
    second = world.w3.eth.get_block("latest")["timestamp"]
    member.context.store.put_named(f"models/{JUNK.hex()}.json", manifest)
    end = second + member._commit_period
    first, other = voting(member, JUNK, 1, end), honest(world, member, 2, end + 1)
    assert votes(member, first, other, second=second) == [(2, Vote.ACCEPT)]
    assert votes(member, first, other, second=end) == [(1, Vote.REJECT), (2, Vote.ACCEPT)]


def test_a_model_without_a_profile_is_rejected(world, member):
    second = world.w3.eth.get_block("latest")["timestamp"]
    uncalibrated = replace(world.bundle, profile=None)
    uncalibrated.save(member.context.store)
    assert votes(member, voting(member, uncalibrated.model_id, 1, second + 9), second=second) == [
        (1, Vote.REJECT)
    ]


def test_a_case_that_a_member_cannot_compute_holds_up_no_other(world, member, monkeypatch):
    second = world.w3.eth.get_block("latest")["timestamp"]
    cases = [honest(world, member, number, second + number) for number in (1, 2, 3)]
    examine = member._examine

    def fail(found):
        if found.dispute_id[0] == 1:
            raise ModelError("node 3 (aten.mm.default) cannot be computed: can't allocate memory")
        if found.dispute_id[0] == 2:
            raise MemoryError
        return examine(found)

    monkeypatch.setattr(member, "_examine", fail)
    assert votes(member, *cases, second=second) == [(3, Vote.ACCEPT)]
    assert "can't allocate memory" in world.log() and "MemoryError" in world.log()


def test_a_prover_does_not_serve_a_model_without_a_profile(world):
    bare: ModelBundle = replace(world.bundle, profile=None)
    with pytest.raises(ModelError, match="has no tolerance profile"):
        replace(world, bundle=bare).prover()
