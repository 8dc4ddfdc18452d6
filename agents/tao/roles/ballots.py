"""What a member decided, kept on its machine until it is revealed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tao.protocol.views import Vote

MOST_ATTEMPTS = 3
"""Examinations of one case that may end with the process before it is left alone."""


@dataclass(frozen=True)
class Ballot:
    """about: hash of what was judged. statistics: as published with the vote."""

    about: bytes
    vote: Vote
    statistics: bytes


class Ballots:
    """One file for each case in a folder, or, without one, in this process alone.

    Who commits to a vote must reveal the same one, although values may be shown or withdrawn in between and the
    process may have ended. Nobody else may read it before: the folder belongs to this machine, not into a store.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: dict[bytes, Ballot] = {}
        self._attempts: dict[bytes, int] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

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
        self._write(self._path(case_id), json.dumps(record))

    @contextmanager
    def attempt(self, case_id: bytes) -> Iterator[None]:
        """Around an examination that might end the process; counted until it ends in any other way."""
        attempts = self.attempts(case_id) + 1
        self._write(self._path(case_id, "attempts"), str(attempts))
        self._attempts[case_id] = attempts
        try:
            yield
        finally:
            self._attempts[case_id] = 0
            if self._folder is not None:
                self._path(case_id, "attempts").unlink(missing_ok=True)

    def attempts(self, case_id: bytes) -> int:
        """Examinations of a case that ended with the process."""
        if case_id not in self._attempts and self._folder is not None:
            try:
                self._attempts[case_id] = int(self._path(case_id, "attempts").read_text())
            except (FileNotFoundError, ValueError):
                self._attempts[case_id] = 0
        return self._attempts.get(case_id, 0)

    def _path(self, case_id: bytes, kind: str = "json") -> Path | None:
        return None if self._folder is None else self._folder / f"{case_id.hex()}.{kind}"

    def _write(self, path: Path | None, text: str) -> None:
        if path is not None:
            part = path.with_suffix(path.suffix + ".part")
            part.write_text(text)
            part.replace(path)
