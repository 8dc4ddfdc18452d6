"""Files of this machine."""

import os
import tempfile
from pathlib import Path


def require_writable(path: Path, is_folder: bool = False, mode: int = 0o777) -> None:
    """Make the folder of a file, or the folder itself, with the permissions `mode`. Raises OSError, with a sentence,
    where it cannot be made or the path may not be written: before any work is done for it."""
    folder = path if is_folder else path.parent
    try:
        folder.mkdir(mode, parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"the folder {folder} cannot be made: {error.strerror}") from error
    found = path if path.exists() else folder
    if not os.access(found, os.W_OK):
        raise OSError(f"{found} may not be written by this user")


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file whole or not at all, whoever else looks at it meanwhile. It is on the disk when this returns.

    mode: who may read it. Raises OSError where it cannot be written; what was there before then stays.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:  # an interrupt leaves nothing, either
            os.unlink(file.name)
            raise
