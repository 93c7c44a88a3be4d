"""Writes that are whole or absent, one writer at a time, and files' names as text."""

import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipelines.common.errors import Unavailable, UserError
from pipelines.common.full_disk import told_when_full
from pipelines.common.processes import is_running

SPECIAL = {
    stat.S_IFIFO: "a pipe, no file",
    stat.S_IFSOCK: "a socket, no file",
    stat.S_IFCHR: "a device, no file",
    stat.S_IFBLK: "a device, no file",
}


@contextmanager
def atomic_path(
    path: Path, *, durable: bool = True, names: re.Pattern[str] | None = None, replaced: Path | None = None
) -> Iterator[Path]:
    """Return a temporary path beside ``path``; it becomes ``path`` when the block ends, and is removed if it raises.

    What is written there may be a file or a folder; it replaces what was at ``path``. What killed processes left
    beside it is cleared away: of this name, and of ``names`` that come only once, since they say the time. Where it
    isn't ``durable``, for thousands of small files that can be made again, the disk isn't waited for: a power cut may
    leave them empty. A folder that is replaced is there as ``replaced`` from then on, on the same file system, instead
    of what was there before. Raises Unavailable, with the folder, where the disk is full.

    Examples
    --------
    >>> with atomic_path(Path("table.json")) as temporary:
    ...     temporary.write_text("{}")
    """
    # The file's own ending stays last: some writers choose a format by it.
    temporary = path.parent / f".{path.name}.{os.getpid()}.partial{path.suffix}"
    try:
        with told_when_full(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            _clear_killed(path.parent, "|".join([re.escape(path.name), *([names.pattern] if names else [])]))
            yield temporary
            if durable:
                force_to_disk(temporary.rglob("*") if temporary.is_dir() else [temporary])
            if path.is_dir() and not path.is_symlink():
                old = replaced or path.parent / f".{path.name}.{os.getpid()}.partial-old"
                _remove(old)
                path.rename(old)
                temporary.rename(path)
                if not replaced:
                    shutil.rmtree(old)
            else:
                temporary.replace(path)
    finally:
        _remove(temporary)


def _clear_killed(folder: Path, names: str) -> None:
    """Clear away what killed processes left in a folder of what has one of these names, a regular expression."""
    for left in folder.iterdir():
        ours = re.fullmatch(rf"\.(?:{names})\.(\d+)\.partial.*", left.name)
        # One of this process's own number is of a killed one that had it before, as in a container each time.
        if ours and (int(ours[1]) == os.getpid() or not is_running(int(ours[1]))):
            _remove(left)


def force_to_disk(paths: Iterable[Path]) -> None:
    """Wait until the content of those that are files would outlive a power cut."""
    for path in paths:
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Return a temporary folder that becomes ``folder`` as by `atomic_path`, which must not be there, or be empty.

    Raises
    ------
    UserError
        If something is in it, it is the working directory, or it can't be written.
    """
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise UserError(f"{folder}: is there already")
    if folder.resolve() == Path.cwd():
        raise UserError(f"{folder}: is the working directory: name a folder in it, or beside it")
    try:
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            yield temporary
    except OSError as error:
        raise UserError(f"{folder}: can't be written: {error.strerror or error}") from error


def write_text(path: Path, text: str) -> None:
    """Write text to ``path``, all of it or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def link(file: Path, target: Path) -> None:
    """Make ``target`` a hard link to a file; a copy, on the disk, on another file system or one without links."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)
        force_to_disk([target])


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
    # Where the file system has no such lock, an error: filelock's own stand-in would outlive a killed holder.
    lock = FileLock(path, timeout=wait_s, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise Unavailable(f"{path}: another writer has held it for {wait_s:g} s") from None
    try:
        yield
    finally:
        lock.release()


def entries(folder: Path) -> Iterator[os.DirEntry[str] | Path]:
    """Yield all that is below ``folder``, however deep, but folders that can be listed; no link is followed.

    A folder that can't be is a path.
    """
    waiting = [os.fspath(folder)]
    while waiting:
        top = waiting.pop()
        try:
            with os.scandir(top) as opened:
                found = list(opened)
        except OSError:  # a path of more than 4,096 bytes, say
            yield Path(top)
            continue
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            else:
                yield entry


def leaves(folder: Path) -> Iterator[Path]:
    """Yield the paths of :func:`entries`."""
    return map(Path, entries(folder))


def no_file_inside(path: Path, folder: Path) -> str | None:
    """Return in words why nothing is read at a path found in ``folder``: it leads out of it, or to what is no file.

    None of a file, a folder, a member of an archive, and of what is gone.
    """
    try:
        mode, target = path.lstat().st_mode, None
        if stat.S_ISLNK(mode):
            mode, target = path.stat().st_mode, path.resolve()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    if target and not target.is_relative_to(folder.resolve()):
        return f"a link to {as_text(target)}, out of its folder"
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else SPECIAL.get(stat.S_IFMT(mode), "no file")


def as_text(name: str | Path) -> str:
    """Return a name of a file system, any bytes, as text that can be stored and printed."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
