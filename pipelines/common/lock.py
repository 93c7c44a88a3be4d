"""One writer at a time, among processes."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.common.errors import Unavailable

POLL_S = 0.05


@contextmanager
def exclusive(path: Path, wait_s: float = 60.0) -> Iterator[None]:
    """Hold a lock on the file ``path`` while the block runs; the file stays, empty.

    The kernel frees the lock when its holder ends, however it ends: a killed writer leaves nothing locked.

    Parameters
    ----------
    path : Path
        Made where it isn't there yet.
    wait_s : float
        Longest wait for another holder, seconds.

    Raises
    ------
    Unavailable
        If another still holds it then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unavailable(f"{path}: another writer has held it for {wait_s:g} s") from None
                time.sleep(POLL_S)
        yield
