"""The training benchmark on a tiny model: what it reports, and that what it has measured is kept."""

import json
from collections import Counter
from types import SimpleNamespace

import pytest

import benchmarks.__main__ as command
from benchmarks import environment, training
from benchmarks.training import timing, worker
from tao.tensors.store import TensorStore
from tao.training import log
from tao.training.policies import Recorder
from tao.training.record import Recording

FIELDS = {
    "steps",
    "replay_equal",
    "equal_without_log",
    "equal_plain_fp32",
    "equal_rounded_fp64",
    "devices",
    "log_bytes_per_step",
    "log_share",
    "published",
    "published_adapted",
    "published_log_bytes_per_step",
    "time_ratio",
    "time_ratio_fp64",
    "memory_ratio",
    "audit_ratio",
}


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Where results are written; every task runs here rather than in a process of another variant."""

    def work(task, name, variant, folder, progress):
        monkeypatch.setattr(worker, "say", progress)
        return worker.TASKS[task](name, training.Path(folder))

    monkeypatch.setattr(training, "work", work)
    monkeypatch.setattr(environment, "RESULTS", tmp_path / "results")
    return tmp_path / "results" / "training.json"


def test_a_model_measured_is_written_at_once_and_not_measured_again(results, monkeypatch):
    said = []
    with pytest.raises(KeyError, match="no model"):
        training.measure(said.append, names=("tiny", "no model"))
    held = json.loads(results.read_text())
    model = held["models"]["tiny"]
    assert model.keys() >= FIELDS and model["replay_equal"] and model["equal_without_log"]
    assert 0 < model["log_share"] < model["rounding_share"] + model["commitment_share"] < 1
    assert_compared(model["published"], model["published_adapted"])
    assert model["equal_plain_fp32"] and model["rounded_fp64_differs_at"] is None  # one process, one device
    assert held["false_mismatches"] == {"steps": 8, "count": 0}
    assert {"tiny on native: record", "tiny on baseline: audit", "step 3 in float32"} <= set(said)

    calls = []
    monkeypatch.setattr(training, "measure_model", lambda name, *_: calls.append(name) or model)
    assert training.measure(said.append, names=("tiny",))["models"] == held["models"] and not calls
    training.measure(said.append, True, ("tiny",))
    assert calls == ["tiny"]
    monkeypatch.setattr(training, "origin", lambda: {"source": "other"})
    training.measure(said.append, names=("small",))
    assert calls == ["tiny", "small"]
    written = json.loads(results.read_text())["models"]
    assert written["tiny"] == model and written["small"]["origin"] == {"source": "other"}
    training.measure(said.append, names=("tiny",))
    assert calls == ["tiny", "small", "tiny"]
    assert json.loads(results.read_text())["models"]["tiny"]["origin"] == {"source": "other"}


def assert_compared(fixed, adapted):
    """One device agrees with itself, so that thresholds found by it alone leave only ties to speak of."""
    assert fixed["replay_equal_here"] and adapted["replay_equal_here"]
    assert fixed["log_bytes"] == adapted["log_bytes"]  # a trit for every result, whatever it says
    assert adapted["entries"] < fixed["entries"] / 10
    assert adapted["compressed_bytes"] < fixed["compressed_bytes"] / 4
    assert min(adapted["record_over_ours"], adapted["replay_over_ours"]) > 0


def test_the_log_is_timed_without_sums_and_with_its_file(tmp_path, monkeypatch):
    """By a clock that only what is timed moves on."""
    clock = SimpleNamespace(now=0, monotonic=lambda: clock.now)
    monkeypatch.setattr(timing, "time", clock)
    pieces: Counter[str] = Counter()
    settle, encode = Recorder.settle, log.encode

    def settled(self, index, piece, out):
        kind = "logged" if piece.terms is None else "sums"
        pieces[kind] += 1
        clock.now += 1
        return settle(self, index, piece, out)

    def encoded(*args):
        clock.now += 1000
        return encode(*args)

    monkeypatch.setattr(Recorder, "settle", settled)
    monkeypatch.setattr(log, "encode", encoded)
    worker.save("tiny", tmp_path)
    recording = Recording(worker._job("tiny", tmp_path), TensorStore(tmp_path / "runs"))
    with timing.rounding_timed() as rounding, timing.log_timed() as logged:
        recording.advance()
        assert logged.take() == 1000 + pieces["logged"] and rounding.take() == pieces.total()
        assert pieces["logged"] and pieces["sums"] and logged.take() == 0
    assert Recorder.settle is settled and log.encode is encoded


def test_a_run_without_the_method_says_where_devices_part(tmp_path):
    worker.save("tiny", tmp_path)
    assert worker.without("tiny", tmp_path) == {"plain_fp32": None, "rounded_fp64": None}
    path = tmp_path / "tiny.plain_fp32.json"
    digests = json.loads(path.read_text())
    assert len(digests) == len(set(digests)) == 4
    path.write_text(json.dumps([*digests[:2], "another device's", digests[3]]))
    assert worker.without("tiny", tmp_path) == {"plain_fp32": 3, "rounded_fp64": None}
    assert training._without("x", [None, 3, 2]) == {"equal_x": False, "x_differs_at": 2}


def test_devices_of_the_benchmark_part_in_plain_training(tmp_path):
    worker.save("tiny", tmp_path)
    worker.without("tiny", tmp_path)
    assert training.work("without", "tiny", "baseline", str(tmp_path), print)["plain_fp32"] == 1


def test_a_process_that_fails_is_told_with_its_last_words(tmp_path):
    with pytest.raises(RuntimeError, match="record of tiny on native failed and said last: .*tiny.pt"):
        training.work("record", "tiny", "native", str(tmp_path), print)


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["--again"]])
def test_what_names_no_benchmark_is_answered_with_their_names(arguments, capsys):
    assert command.main(arguments) == 2
    assert "name one of" in capsys.readouterr().err
