"""Temporary folders that don't outlive their process for long, even if it is killed."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "scs-scratch-"


class Scratch:
    """A temporary folder, locked as long as its process lives; making one removes those whose process doesn't.

    Attributes
    ----------
    folder : Path
    """

    def __init__(self) -> None:
        for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            with suppress(OSError):  # it is in use, or somebody else's
                _remove(left, _locked(left))
        made = Path(tempfile.mkdtemp(prefix=f"new-{PREFIX}"))
        self._lock = _locked(made)
        self.folder = made.rename(made.with_name(made.name.removeprefix("new-")))  # another looks for it from now on

    def remove(self) -> None:
        """Remove it with all that is in it."""
        _remove(self.folder, self._lock)


def _locked(folder: Path) -> int:
    """Return a folder's handle, locked until it is closed; raises OSError if another process has it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def _remove(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)
