"""Writes that are whole or absent."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Return a temporary path beside ``path``; it becomes ``path`` when the block ends, and is removed if it raises.

    What is written there may be a file or a folder; it replaces what was at ``path``. What killed processes left
    beside it is cleared away.

    Examples
    --------
    >>> with atomic_path(Path("table.json")) as temporary:
    ...     temporary.write_text("{}")
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.iterdir():
        ours = re.fullmatch(rf"\.{re.escape(path.name)}\.(\d+)\.partial.*", left.name)
        # One of this process's own number is of a killed one that had it before, as in a container each time.
        if ours and (int(ours[1]) == os.getpid() or not Path(f"/proc/{ours[1]}").exists()):
            _remove(left)
    # The file's own ending stays last: some writers choose a format by it.
    temporary = path.parent / f".{path.name}.{os.getpid()}.partial{path.suffix}"
    try:
        yield temporary
        for file in temporary.rglob("*") if temporary.is_dir() else [temporary]:
            if file.is_file():
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
        if path.is_dir() and not path.is_symlink():
            old = path.parent / f".{path.name}.{os.getpid()}.partial-old"
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.replace(path)
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
