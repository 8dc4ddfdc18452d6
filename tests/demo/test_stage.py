"""The processes of a demonstration."""

import subprocess
import sys
import time

import pytest

from demo.stage import Party, Stage, Stuck

BUSY = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"


@pytest.fixture
def stage(tmp_path):
    """One party, busy with something that it would rather finish."""
    process = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE)
    with process:
        process.stdout.readline()
        parties = {"prover": Party("prover", None, process, tmp_path / "prover.jsonl")}
        yield Stage("", None, None, None, tmp_path, print, parties)
        process.kill()


def test_a_party_that_is_stopped_ends_at_once_and_nobody_misses_it(stage):
    began = time.monotonic()
    stage.stop("prover")
    stage.listen()
    assert time.monotonic() - began < 2 and stage.parties["prover"].process.returncode
    stage.stop("prover")  # as all are once more at the end


def test_a_party_that_ends_unasked_is_missed(stage, tmp_path, monkeypatch):
    monkeypatch.setattr("demo.stage.FOLDER", tmp_path)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "prover.txt").write_text("no space left\n")
    stage.parties["prover"].process.kill()
    with pytest.raises(Stuck, match="^prover ended with: no space left$"):
        stage.wait_for("nothing", lambda: None, patience=10)
