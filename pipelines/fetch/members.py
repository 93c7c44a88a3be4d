"""Members of an archive file from elsewhere, out of it."""

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import count
from pathlib import Path, PurePosixPath
from typing import IO

from pipelines.common.limits import MB
from pipelines.fetch.patterns import fits, safe_path
from pipelines.fetch.remote import Refused

BLOCK = 1 << 20
Opener = Callable[[], AbstractContextManager[IO[bytes]]]


def extract(
    archive: Path, kind: str, patterns: tuple[str, ...], into: Path, max_mb: int
) -> tuple[dict[PurePosixPath, Path], dict[str, str]]:
    """Write the members that fit any of ``patterns`` into a folder, under numbers.

    Nothing is written under a member's own name, and no link, device or pipe is made.

    Returns
    -------
    members : dict
        By their paths in the archive, where they lie now.
    refused : dict of str to str
        By name as the archive has it, why not.

    Raises
    ------
    Refused
        If the archive is broken.
    """
    found: dict[PurePosixPath, Path] = {}
    refused: dict[str, str] = {}
    numbers = count()
    into.mkdir(parents=True, exist_ok=True)
    try:
        for name, is_file, open_ in (_of_tar if kind == "tar" else _of_zip)(archive):
            if not fits(str(PurePosixPath(name)), patterns):  # tar writes ./name, too
                continue
            try:
                path = safe_path(name)
                if not is_file:
                    raise ValueError("a link or a device, no file")
                target = into / str(next(numbers))  # a name may come twice: the later one counts
                with open_() as source, target.open("wb") as file:
                    while block := source.read(BLOCK):
                        if file.tell() + len(block) > max_mb * MB:
                            raise ValueError(f"more than max_file_mb, {max_mb} MB")
                        file.write(block)
            except (ValueError, RuntimeError, NotImplementedError) as error:  # of zip: encrypted, packed in a new way
                refused[name] = str(error)
                continue
            found[path] = target
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        if getattr(error, "errno", None):  # the system's own: no disk space, say
            raise
        raise Refused(f"broken {kind}: {error}") from None
    return found, refused


def _of_tar(archive: Path) -> Iterator[tuple[str, bool, Opener]]:
    # A stream: a packed tar is unpacked once, however many members are wanted.
    with tarfile.open(archive, "r|*") as opened:
        for member in opened:
            if not member.isdir():
                yield member.name, member.isreg(), partial(_of_member, opened, member)


@contextmanager
def _of_member(opened: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[IO[bytes]]:
    stream = opened.extractfile(member)
    if stream is None:
        raise ValueError("no file")
    with stream:
        yield stream


def _of_zip(archive: Path) -> Iterator[tuple[str, bool, Opener]]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            if not member.is_dir():
                kind = stat.S_IFMT(member.external_attr >> 16)
                yield member.filename, kind in (0, stat.S_IFREG), partial(opened.open, member)
