"""Cases about models that nobody can run, which hostile accounts may register: members lose nothing by them."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.small import inputs
from protocol.factories import case, claim, dispute, view
from tao.errors import ModelError
from tao.model import ModelBundle
from tao.protocol.views import Phase, Stage, Vote

JUNK = b"j" * 32


def file_of(store, commitment: bytes) -> Path:
    (path,) = Path(store.url).rglob(f"*{commitment.hex()}*")
    return path


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
    end = second + member.context.reader.commit_period
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
    examination = member._docket.examiner.examination
    judge = examination.verdict
    failures = [MemoryError, ModelError("node 3 (aten.mm.default) cannot be computed: can't allocate memory")]

    def fail(question):
        if failures:
            raise failures.pop()
        return judge(question)

    end = second + member.context.reader.commit_period
    cases = [honest(world, member, number, end + number) for number in (1, 2, 3)]
    monkeypatch.setattr(examination, "verdict", fail)
    assert votes(member, *cases, second=second) == [(3, Vote.ACCEPT)]
    failures += [MemoryError, MemoryError]
    assert "can't allocate memory" in world.log() and "MemoryError" in world.log()
    in_doubt = [(number, Vote.ACCEPT) for number in (1, 2, 3)]
    assert votes(member, *cases, second=end) == in_doubt  # who does not vote pays more than who is outvoted
    assert "accepted, as it cannot be judged" in world.log()


def test_a_member_that_looks_once_waits_for_what_is_examined(world, member, monkeypatch):
    second = world.w3.eth.get_block("latest")["timestamp"]
    case = honest(world, member, 1, second + member.context.reader.commit_period)
    examiner, waits = member._docket.examiner, [None, None, None]
    answer = examiner.answer
    monkeypatch.setattr(examiner, "answer", lambda seconds: waits.pop() if waits else answer(seconds))
    monkeypatch.setattr("tao.roles.member.LOOK", 0.0)
    monkeypatch.setattr(member, "view", lambda: view(case, now=second))
    made = []
    monkeypatch.setattr(member, "perform", made.append)
    assert member.tick() == [] and made == []
    member.tick(math.inf)
    assert [move.vote for move in made] == [Vote.ACCEPT]


@pytest.mark.parametrize("committed", [Vote.ACCEPT, Vote.REJECT])
def test_what_was_committed_is_revealed_whatever_the_store_holds_by_then(world, member, committed):
    """Values may be withdrawn or shown between commit and reveal, and the process may have ended."""
    second = world.w3.eth.get_block("latest")["timestamp"]
    end = second + member.context.reader.commit_period
    found, store = honest(world, member, 1, end), member.context.store
    missing = found.states[0][0]
    blob = store.get_tensor(missing)
    if committed is Vote.REJECT:
        file_of(store, missing).unlink()
    (commit,) = member.decide(view(found, now=end))
    assert commit.vote is committed
    if committed is Vote.REJECT:
        store.put_tensor(blob)
    else:
        file_of(store, missing).unlink()
    other = replace(found.case, stage=Stage.REVEAL, votes={member.address: (b"c" * 32, Vote.NONE)})
    (reveal,) = world.members(1)[0].decide(view(replace(found, case=other), now=end))
    assert (reveal.vote, reveal.statistics) == (commit.vote, commit.statistics)


def test_a_prover_does_not_serve_a_model_without_a_profile(world):
    bare: ModelBundle = replace(world.bundle, profile=None)
    with pytest.raises(ModelError, match="has no tolerance profile"):
        replace(world, bundle=bare).prover()
