"""The checkpoints of a run: the tree, and files that anybody may have written."""

import json

import pytest
import torch

from tao.errors import ModelError, OutOfReach, StoreError, TaoError
from tao.tensors import commit, merkle, state_hash
from tao.tensors.store import TensorStore
from tao.training import audit
from tao.training import log as logs
from tao.training.checkpoints import Checkpoint, Trail
from tao.training.record import Recording
from training.runs import STEPS, job, recorded, trail

AT = 2


@pytest.fixture
def store(tmp_path):
    """A store with a finished run, states kept at 0, 3, 6 and 7."""
    recorded(TensorStore(tmp_path))
    return TensorStore(tmp_path)


def test_the_root_is_that_of_the_state_hashes_at_all_boundaries(store):
    run = trail(store)
    leaves = [state_hash(run.read(step).values) for step in range(STEPS + 1)]
    assert run.leaves(STEPS) == leaves and len(set(leaves)) == STEPS + 1
    assert run.root(STEPS) == merkle.root(leaves) == recorded(store).claim().checkpoint_root
    path = merkle.path(leaves, 5)
    assert merkle.verify(run.root(STEPS), leaves[5], 5, STEPS + 1, path)


def test_a_claim_of_one_step_commits_to_no_checkpoints(store):
    assert trail(store).root(1) == bytes(32) != trail(store).root(2)


def test_a_checkpoint_is_read_as_it_was_written(store):
    for step in range(STEPS + 1):
        checkpoint = trail(store).read(step)
        assert Checkpoint.from_json(checkpoint.to_json(), step) == checkpoint
        assert checkpoint.is_held == (step in (0, 3, 6, 7)) and (checkpoint.log is None) == (step == 0)
        if checkpoint.is_held:
            assert all(commit(store.get_tensor(value)) == value for value in checkpoint.values)


def test_runs_are_told_apart_by_model_first_state_and_owner(store):
    model_id, first = job().bundle.model_id, job().first
    others = [
        Trail(store, bytes(32), first),
        Trail(store, model_id, job(1).first),
        Trail(store, model_id, first, "0x01"),
    ]
    assert len({trail(store).run_id, *(other.run_id for other in others)}) == 4
    assert trail(store).head == STEPS and all(other.head is None for other in others)


NOT_JSON = {
    "nothing": b"",
    "half": b'{"format":',
    "no text": b"\xff\xfe",
    "a list": b"[]",
    "a number": b"3",
    "null": b"null",
    "nested": b"[" * 5000 + b"]" * 5000,
    "many digits": b'{"format":"tao.checkpoint.v1","step":' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("case", NOT_JSON)
def test_what_is_no_checkpoint_is_refused_in_a_sentence(case, store):
    name = f"runs/{trail(store).run_id.hex()}/{AT}.json"
    store.put_named(name, NOT_JSON[case])
    with pytest.raises(ModelError, match=f"^the checkpoint of step {AT} is malformed: ") as caught:
        audit(job(), store)
    assert "\n" not in str(caught.value)


def values(change):
    return lambda record: record | {"values": change(record["values"])}


CHANGED = {
    "a value fewer": values(lambda v: v[1:]),
    "the log's value gone": values(lambda v: v[:-1]),
    "a value more": values(lambda v: [*v, v[0]]),
    "a value more in front": values(lambda v: [v[0], *v]),
    "no values": values(lambda v: []),
    "another value": values(lambda v: [v[1], *v[1:]]),
    "short values": values(lambda v: [x[2:] for x in v]),
    "values that are no hex": values(lambda v: ["zz" * 32, *v[1:]]),
    "numbers for values": values(lambda v: [3, *v[1:]]),
    "text for values": values(lambda v: "".join(v)),
    "nothing for values": values(lambda v: None),
    "no log": lambda record: record | {"log": None},
    "a log that is missing": lambda record: record | {"log": "11" * 32},
    "a number for a log": lambda record: record | {"log": 5},
    "a short log": lambda record: record | {"log": "11"},
    "another step": lambda record: record | {"step": AT + 1},
    "another format": lambda record: record | {"format": "tao.checkpoint.v2"},
    "a loss that is no number": lambda record: record | {"loss": "nan"},
    "NaN for a loss": lambda record: record | {"loss": float("nan")},
    "an infinite loss": lambda record: record | {"loss": "inf"},
    "a loss beyond all numbers": lambda record: record | {"loss": "0x1p99999"},
    "a field fewer": lambda record: {k: v for k, v in record.items() if k != "held"},
}


def rewrite(store, step, change):
    name = f"runs/{trail(store).run_id.hex()}/{step}.json"
    store.put_named(name, json.dumps(change(json.loads(store.get_named(name)))).encode())


@pytest.mark.parametrize("first", [0, AT])
@pytest.mark.parametrize("case", CHANGED)
def test_a_changed_checkpoint_is_a_difference_or_refused_in_a_sentence(case, first, store):
    claim = recorded(store).claim()
    rewrite(store, AT, CHANGED[case])
    try:
        difference = audit(job(), store, first=first).difference
        assert difference is not None and difference.step == AT - 1 and "\n" not in str(difference)
    except (ModelError, StoreError) as error:
        assert "\n" not in str(error)
    with pytest.raises((ModelError, StoreError)):
        audit(job(), store, claim, first=first)


@pytest.mark.parametrize("loss", [None, (5.0).hex()])
def test_the_loss_binds_nobody(loss, store):
    rewrite(store, AT, lambda record: record | {"loss": loss})
    assert audit(job(), store).is_equal


def test_states_said_to_be_held_that_are_not_are_told(store):
    rewrite(store, AT, lambda record: record | {"held": True})
    with pytest.raises(StoreError, match="is missing from the store"):
        audit(job(), store, first=AT)
    for step in range(STEPS + 1):
        rewrite(store, step, lambda record: record | {"held": False})
    with pytest.raises(StoreError, match=f"no state of run 0x.* up to step {AT} is stored whole"):
        audit(job(), store, first=AT)
    assert audit(job(), store).is_equal  # from the state agreed on, none is needed


@pytest.mark.parametrize("data", [b"", b"-1", b"3.0", b"x", b"\xc2\xb2", b"9" * 5000])
def test_a_head_that_is_no_step_is_refused_in_a_sentence(data, store):
    store.put_named(f"runs/{trail(store).run_id.hex()}/head", data)
    with pytest.raises(ModelError, match="which is no step$"):
        Recording(job(), store)


def forge(store, at, values):
    """Somebody else writes a checkpoint of the run and makes it the head."""
    forged, empty = Trail(store, job().bundle.model_id, job().first), job().initial[-1]
    log = store.put_blob(logs.encode(empty, at - 1, job().bundle.graph_root))
    forged.append(Checkpoint(at, (*values[:-1], store.put_tensor(empty)), log, None, True))


def test_a_trainer_goes_on_from_what_it_sealed_and_not_from_what_others_wrote(tmp_path):
    """Anyone can compute where a run's checkpoints lie, and a shared store takes what it is given."""
    store = TensorStore(tmp_path)
    planted = tuple(store.put_tensor(torch.full_like(t, 7)) for t in job().initial)
    forge(store, STEPS, planted)
    assert Recording(job(), store).position == STEPS  # as every run without a key would be
    recording = Recording(job(), store, 3, key=b"k" * 32)
    assert recording.position == 0
    done = list(recording)
    assert len(done) == STEPS and recording.claim() == recorded(TensorStore(tmp_path / "other")).claim()
    assert Recording(job(), store, 3, key=b"k" * 32).position == STEPS
    assert Recording(job(), store, 3, key=b"o" * 32).position == 0


@pytest.mark.parametrize("data", [b"", b"x", b"9999999"])
def test_a_head_that_others_spoilt_makes_a_trainer_start_anew(data, tmp_path):
    store = TensorStore(tmp_path)
    list(Recording(job(), store, 3, key=b"k" * 32))
    store.put_named(f"runs/{trail(store).run_id.hex()}/head", data)
    recording = Recording(job(), store, 3, key=b"k" * 32)
    assert recording.position == 0 and recording.capture(2, [0])


def test_a_sealed_checkpoint_that_was_overwritten_or_moved_is_told(tmp_path):
    store, key = TensorStore(tmp_path), b"k" * 32
    list(Recording(job(), store, 3, key=key))
    sealed = Trail(store, job().bundle.model_id, job().first, key=key)
    folder = f"runs/{sealed.run_id.hex()}"
    genuine = sealed.read(2)
    for kind in ("json", "seal"):
        store.put_named(f"{folder}/2.{kind}", store.get_named(f"{folder}/1.{kind}"))
    with pytest.raises(ModelError, match="step 2 of run 0x.* is not the one that was written here"):
        sealed.read(2)
    store.put_named(f"{folder}/2.json", genuine.to_json())
    with pytest.raises(ModelError, match="somebody else writes to the store"):
        sealed.read(2)


@pytest.mark.parametrize("key", [None, b"k" * 32])
@pytest.mark.parametrize(
    ("damaged", "left"), [(["7.json"], 6), (["log of 7"], 6), (["6.json", "7.json"], 5), (["5.json"], 4)]
)
def test_a_recording_goes_on_before_what_a_power_cut_left_empty(damaged, left, key, tmp_path):
    """Held are the states after 0, 3, 6 and 7 steps."""
    store = TensorStore(tmp_path)
    recording = Recording(job(), store, 3, key=key)
    list(recording)
    claim, folder = recording.claim(), tmp_path / "named" / "runs" / recording.trail.run_id.hex()
    files = {f"{step}.json": folder / f"{step}.json" for step in range(STEPS + 1)}
    files["log of 7"] = tmp_path / "blobs" / recording.trail.read(STEPS).log.hex()
    if "5.json" in damaged:
        recording.trail.append(recording.trail.read(5))  # the head, as if no more was recorded
    for name in damaged:
        files[name].write_bytes(b"")
    again = Recording(job(), store, 3, key=key)
    assert again.position == left
    assert [step.index for step in again] == list(range(left, STEPS)) and again.claim() == claim


def test_a_store_out_of_reach_is_told_rather_than_recorded_to_anew(store, monkeypatch):
    def fails(self, name):
        raise OutOfReach("out of reach")

    monkeypatch.setattr(TensorStore, "get_blob", fails)
    with pytest.raises(OutOfReach):
        Recording(job(), store)


def test_a_head_beyond_what_is_stored_is_told(store):
    store.put_named(f"runs/{trail(store).run_id.hex()}/head", b"9999999")
    with pytest.raises(TaoError, match="missing"):
        Recording(job(), store)
