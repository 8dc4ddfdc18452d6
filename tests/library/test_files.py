"""Files are there whole, on the disk, and to be read by whom they are meant for, or as they were."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tao import files
from tao.files import write_whole


@pytest.mark.parametrize("mode", (0o644, 0o600))
def test_a_file_is_replaced_and_has_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(b"before")
    write_whole(path, b"after", mode)
    assert path.read_bytes() == b"after" and path.stat().st_mode & 0o777 == mode
    assert list(tmp_path.iterdir()) == [path]


def test_the_bytes_are_on_the_disk_before_the_file_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "record.json", []

    def synced(descriptor: int) -> None:
        seen.append((os.fstat(descriptor).st_size, path.exists()))

    monkeypatch.setattr(files.os, "fsync", synced)
    write_whole(path, b"whole")
    assert seen == [(5, False)]


def test_what_cannot_be_written_leaves_what_was_there_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(b"before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]
