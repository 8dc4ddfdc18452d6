"""What a role tells must not end it."""

import io

import pytest
from rich.console import Console

from tao.roles.journal import Done, Journal


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def test_a_log_that_cannot_be_written_is_told_once_and_ends_nothing(tmp_path, console):
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file" / "log.jsonl", console)
    for _ in range(2):
        journal.done(Done("prover", "0x1", "claim", "claimed", 0.0))
        journal.problem("prover", "tick", "no node")
    told = console.file.getvalue()
    assert told.count("log.jsonl cannot be written (File exists)") == 1
    assert told.count("claimed") == 2 and told.count("no node") == 1


def test_a_problem_that_comes_back_is_told_again(tmp_path, console):
    journal = Journal(tmp_path / "log.jsonl", console)
    for _ in range(2):
        for _ in range(3):
            journal.problem("prover", "tick", "no node")
        journal.solved("tick")
    assert console.file.getvalue().count("no node") == 2


def test_a_log_that_can_be_written_again_is_told_of_when_it_cannot_once_more(tmp_path, console):
    journal, done = (
        Journal(tmp_path / "log" / "log.jsonl", console),
        Done("prover", "0x1", "claim", "claimed", 0.0),
    )
    for _ in range(2):
        (tmp_path / "log").touch()
        journal.done(done)
        (tmp_path / "log").unlink()
        journal.done(done)
        (tmp_path / "log" / "log.jsonl").unlink()
        (tmp_path / "log").rmdir()
    assert console.file.getvalue().count("cannot be written") == 2


def test_a_console_on_a_full_disk_ends_nothing(tmp_path):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    journal = Journal(tmp_path / "log.jsonl", Console(file=Full()))
    journal.problem("prover", "tick", "no node")
    assert "no node" in (tmp_path / "log.jsonl").read_text()


def test_what_strangers_make_a_role_say_is_shown_and_not_obeyed(console):
    Journal(console=console).problem("member", "tick", "a[/x]b\x1b[8mc\rd")
    assert "a[/x]b [8mc d" in console.file.getvalue()
