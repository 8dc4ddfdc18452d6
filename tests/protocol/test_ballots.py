"""Votes on a member's machine: kept from crash to crash, and from everybody else until they are revealed."""

import os
import stat

import pytest
from click.testing import CliRunner

from tao.commands.main import main
from tao.errors import StoreError
from tao.protocol.views import Vote
from tao.roles.ballots import Ballot, Ballots

CASE, BALLOT = b"\1" * 32, Ballot(b"\2" * 32, Vote.REJECT, b"{}")


@pytest.fixture(autouse=True)
def generous():
    """Files are open to everybody unless their maker says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def permissions(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_ballot_is_read_by_the_next_process(tmp_path):
    Ballots(tmp_path).keep(CASE, BALLOT)
    assert Ballots(tmp_path).get(CASE) == BALLOT


def test_nobody_else_may_read_a_ballot_at_any_time(tmp_path, monkeypatch):
    seen, replace, folder = [], os.replace, tmp_path / "state" / "member"

    def watched(source, target):
        seen.append(permissions(folder / source))
        replace(source, target)

    monkeypatch.setattr("os.replace", watched)
    Ballots(folder).keep(CASE, BALLOT)
    assert (permissions(folder), seen) == (0o700, [0o600])
    assert [permissions(path) for path in folder.iterdir()] == [0o600]


def test_a_folder_that_was_open_to_others_is_closed(tmp_path):
    tmp_path.chmod(0o755)
    Ballots(tmp_path)
    assert permissions(tmp_path) == 0o700


def refused(folder, mode):
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize(
    ("chmod", "why"),
    [
        (refused, "Operation not permitted"),
        (lambda folder, mode: None, "the file system keeps no permissions"),
    ],
)
def test_a_folder_that_stays_open_to_others_is_told(tmp_path, monkeypatch, chmod, why):
    tmp_path.chmod(0o755)
    monkeypatch.setattr("pathlib.Path.chmod", chmod)
    with pytest.raises(
        StoreError, match=f"other users can read the votes .* \\({why}\\); give another --state"
    ):
        Ballots(tmp_path)


def test_the_folder_that_state_names_is_made_for_its_user_alone(tmp_path):
    folder = tmp_path / "state"
    CliRunner().invoke(main, ["committee", "--state", str(folder), "--rpc", "nowhere"])
    assert permissions(folder) == 0o700
