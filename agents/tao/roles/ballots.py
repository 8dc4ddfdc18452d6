"""What a member decided, kept on its machine until it is revealed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tao.errors import StoreError
from tao.files import write_whole
from tao.protocol.views import Vote

_OTHERS = 0o077
"""The permissions of everybody but the owner."""


@dataclass(frozen=True)
class Ballot:
    """about: hash of what was judged. statistics: as published with the vote."""

    about: bytes
    vote: Vote
    statistics: bytes


class Ballots:
    """One file for each case in a folder, or, without one, in this process alone.

    Who commits to a vote must reveal the same one, although values may be shown or withdrawn in between and the
    process may have ended. Nobody else may read it before: the folder belongs to this machine, not into a store, and
    to this user alone. Raises StoreError where it cannot be closed to others.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: dict[bytes, Ballot] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            _close(folder)

    def get(self, case_id: bytes) -> Ballot | None:
        """The ballot last kept for a case; a file that is no ballot counts as none."""
        if case_id not in self._held and self._folder is not None:
            try:
                record = json.loads(self._path(case_id).read_text())
                about, statistics = bytes.fromhex(record["about"]), bytes.fromhex(record["statistics"])
                self._held[case_id] = Ballot(about, Vote(record["vote"]), statistics)
            except (FileNotFoundError, ValueError, KeyError, TypeError):
                return None
        return self._held.get(case_id)

    def keep(self, case_id: bytes, ballot: Ballot) -> None:
        """Keep a ballot; it is on the disk when this returns."""
        self._held[case_id] = ballot
        record = {
            "about": ballot.about.hex(),
            "vote": int(ballot.vote),
            "statistics": ballot.statistics.hex(),
        }
        if self._folder is not None:
            write_whole(self._path(case_id), json.dumps(record).encode(), mode=0o600)

    def _path(self, case_id: bytes) -> Path:
        return self._folder / f"{case_id.hex()}.json"


def _close(folder: Path) -> None:
    """Take the permissions of others away, from a folder that was there before, too."""
    try:
        folder.chmod(0o700)
        why = "the file system keeps no permissions" if folder.stat().st_mode & _OTHERS else None
    except OSError as error:
        why = error.strerror
    if why is not None:
        raise StoreError(f"other users can read the votes kept in {folder} ({why}); give another --state")
