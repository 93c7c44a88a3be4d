"""Archive files with radar files in them, a day in one say: tar, in gzip or bzip2 too, and zip, read where they are.

A member has the path of its archive with its own behind it, as if the archive were a folder.
"""

import bz2
import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path, PurePosixPath

from pipelines.common.limits import check_size

GZIP, BZIP2, ZIP = b"\x1f\x8b", b"BZh", b"PK\x03\x04"
PARTIAL = (".partial", ".part", ".tmp", ".temp", ".crdownload", ".filepart", "~")
ZARR_MARKS = ("zarr.json", ".zgroup")
Members = dict[str, str | None]  # paths in an archive, each with why it can't be read, if so


def passed_over(path: PurePosixPath | Path) -> bool:
    """Whether a path, below the folder or archive that is looked through, is hidden, or a copy that isn't finished."""
    return any(part.startswith(".") for part in path.parts) or path.name.lower().endswith(PARTIAL)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file, or of a member of an archive.

    Raises
    ------
    OSError
        If it isn't there, or can't be read.
    ValueError
        If the archive is broken, or the file too large.
    """
    archive = _archive_of(path)
    if archive is None:
        check_size(path.stat().st_size)
        return path.read_bytes()
    members = _members(archive, archive.stat().st_mtime_ns)
    name = path.relative_to(archive).as_posix()
    read = members.get(name, "No such member")
    if isinstance(read, str):
        raise ValueError(read)
    try:
        return read()
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"broken archive: {error}") from error


def source_name(path: Path) -> str:
    """Return a file's name; a member's with that of its archive."""
    archive = _archive_of(path)
    return path.name if archive is None else path.relative_to(archive.parent).as_posix()


def list_members(path: Path) -> Members | None:
    """Return the members of an archive but those that are passed over; None if it is no archive.

    Raises
    ------
    OSError
        If the file can't be read.
    ValueError
        If the archive is broken, or a Zarr store.
    """
    if _archive_of(path) is not None or path.is_dir() or not is_archive(path):
        return None
    members = _members(path, path.stat().st_mtime_ns)
    if any(PurePosixPath(name).name in ZARR_MARKS for name in members):
        raise ValueError("a Zarr store in an archive: unpack it")
    return {
        name: what if isinstance(what, str) else None
        for name, what in members.items()
        if not passed_over(PurePosixPath(name.replace("../", "")))
    }


def is_archive(path: Path) -> bool:
    """Whether a file is an archive by its content; numpy's are none, though they are zip."""
    with path.open("rb") as stream:
        start = stream.read(512)
    if start.startswith(ZIP):
        try:
            with zipfile.ZipFile(path) as archive:
                return not any(name.endswith(".npy") for name in archive.namelist())
        except zipfile.BadZipFile as error:
            raise ValueError(f"broken zip: {error}") from error
    try:
        if start.startswith((GZIP, BZIP2)):
            with (gzip if start.startswith(GZIP) else bz2).open(path) as packed:
                start = packed.read(512)
    except (OSError, EOFError, zlib.error):
        return False  # whatever it is, it is broken, and the reader says so
    return start[257:262] == b"ustar"


@lru_cache(maxsize=1)  # the members of an archive are read one after the other
def _members(archive: Path, changed_ns: int) -> dict[str, str | Callable[[], bytes]]:
    """Return how to read each member, by its path, or why it can't be read."""
    try:
        with archive.open("rb") as stream:  # by its start: a tar whose last member is zip ends as zip does
            is_zip = stream.read(len(ZIP)) == ZIP
        return _of_zip(archive) if is_zip else _of_tar(archive)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"broken archive: {error}") from error


def _of_tar(archive: Path) -> dict[str, str | Callable[[], bytes]]:
    found: dict[str, str | Callable[[], bytes]] = {}
    opened = tarfile.open(archive)  # noqa: SIM115 - members are read as long as it is kept
    for member in opened:
        if member.isdir():
            continue

        def read(member: tarfile.TarInfo = member) -> bytes:
            check_size(member.size)
            stream = opened.extractfile(member)
            assert stream is not None  # of a file, which it is
            return stream.read()

        special = "a link" if member.issym() or member.islnk() else None if member.isfile() else "no file"
        name, reason = _named(member.name, special)
        found[name] = reason or read
    return found


def _of_zip(archive: Path) -> dict[str, str | Callable[[], bytes]]:
    found: dict[str, str | Callable[[], bytes]] = {}
    opened = zipfile.ZipFile(archive)  # likewise
    for member in opened.infolist():
        if member.is_dir():
            continue

        def read(member: zipfile.ZipInfo = member) -> bytes:
            check_size(member.file_size)  # no more of it is read
            return opened.read(member)

        name, reason = _named(member.filename, "a link" if stat.S_ISLNK(member.external_attr >> 16) else None)
        found[name] = reason or read
    return found


def _named(name: str, special: str | None) -> tuple[str, str | None]:
    """Return a member's path, and why it can't be read, if so."""
    path = PurePosixPath(name)
    reason = f"{special} in an archive" if special else None
    if path.is_absolute() or ".." in path.parts:
        reason = "a path that leaves its archive"
    elif not path.parts:  # "." is the archive itself, with all its members again
        reason = "a member without a name"
    return path.as_posix().lstrip("/"), reason


def _archive_of(path: Path) -> Path | None:
    """Return the archive file that a path leads into; None if it is a path like any other."""
    if path.exists() or path.is_symlink():
        return None
    return next((parent for parent in path.parents if parent.is_file()), None)
