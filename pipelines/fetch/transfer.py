"""One file from elsewhere to here: it goes on where it broke off, is checked, and is whole or absent."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pipelines.common.files import write_text
from pipelines.common.limits import MB
from pipelines.fetch.pace import LONGEST_WAIT_S, Pace, backoff
from pipelines.fetch.remote import Changed, Opened, Part, Passing, Refused, Remote

TRIES = 6
BLOCK = 1 << 20
T = TypeVar("T")


@dataclass(frozen=True)
class Transfer:
    """How files come from a place.

    Parameters
    ----------
    pace : Pace
        That of `remote`.
    folder : Path
        For parts of files, on the disk where the files go.
    max_mb : int
        A larger file is refused.
    """

    remote: Remote
    pace: Pace
    folder: Path
    max_mb: int

    def fetch(self, url: str, hashes: Mapping[str, str]) -> tuple[Path, str, str]:
        """Bring a file into `folder`.

        Parameters
        ----------
        hashes : mapping of str to str
            Hex digests that somebody else tells of the file, by algorithm.

        Returns
        -------
        path : Path
            To be moved away by the caller.
        sha256 : str
        version : str
            What the place said of its state.

        Raises
        ------
        Absent, Refused, Passing
            The last after `TRIES` tries that came no further; one that broke off later than before doesn't count.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / hashlib.sha256(url.encode()).hexdigest()[:32]
        about = path.with_suffix(".json")

        def bring() -> tuple[Path, str, str]:
            with self.remote.open(url, _part(path, about)) as opened:
                self._write(opened, path, about)
            return path, _check(path, {**opened.hashes, **hashes}), opened.version

        def forget() -> None:
            about.unlink(missing_ok=True)

        brought = self._persist(bring, lambda: _size(path), forget)
        forget()
        return brought

    def list(self, folder: str) -> dict[str, str]:
        """Return the files in a folder by name, each with its URL; raises as :meth:`fetch`."""
        return self._persist(lambda: self.remote.list(folder), lambda: 0, lambda: None)

    def _persist(self, action: Callable[[], T], reached: Callable[[], int], forget: Callable[[], None]) -> T:
        """Try again, and wait as long as the provider says, while it comes further or fewer than `TRIES` times."""
        tries, furthest = 0, reached()
        while True:
            try:
                return action()
            except Passing as error:
                if isinstance(error, Changed):  # all that came was for nothing
                    forget()
                    tries += 2
                else:
                    tries = 1 if reached() > furthest else tries + 1
                furthest = max(furthest, reached())
                wait = backoff(tries, error.retry_after)
                if tries >= TRIES or wait > LONGEST_WAIT_S or self.pace.stop.is_set():
                    later = "" if error.retry_after is None else f"; again in {error.retry_after:.0f} s, it says"
                    raise Passing(f"{error}{later}") from None
                if error.retry_after is not None:
                    self.pace.rest(wait)  # all of us were too many
                else:
                    self.pace.stop.wait(wait)

    def _write(self, opened: Opened, path: Path, about: Path) -> None:
        if opened.size is not None and opened.size > self.max_mb * MB:
            raise Refused(f"{opened.size / MB:.0f} MB, more than max_file_mb")
        if not opened.offset:
            about.unlink(missing_ok=True)
        with path.open("r+b" if opened.offset else "wb") as file:
            # Before the first byte: a part without it is of nobody knows what.
            if opened.version and opened.size:
                write_text(about, json.dumps({"size": opened.size, "version": opened.version}))
            file.seek(opened.offset)
            file.truncate()
            length = opened.offset
            for chunk in opened.chunks:
                if self.pace.stop.is_set():
                    raise Passing("stopped")
                length += len(chunk)
                if length > self.max_mb * MB:
                    raise Refused(f"more than max_file_mb, {self.max_mb} MB")
                file.write(chunk)
        if opened.size is not None and length != opened.size:
            raise Passing(f"{length} bytes of {opened.size}")


def _part(path: Path, about: Path) -> Part | None:
    """Return what is here of a file; None if nothing of use."""
    try:
        known = json.loads(about.read_text(encoding="utf-8"))
        part = Part(path.stat().st_size, int(known["size"]), str(known["version"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return part if 0 < part.bytes < part.size else None


def _check(path: Path, hashes: Mapping[str, str]) -> str:
    """Return the SHA-256 of a file; raises `Changed` where it is another than `hashes` say."""
    found = {name: hashlib.new(name, usedforsecurity=False) for name in {"sha256", *hashes}}
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            for digest in found.values():
                digest.update(block)
    for name, wanted in hashes.items():
        if found[name].hexdigest() != wanted.lower():
            raise Changed(f"its {name} is {found[name].hexdigest()[:12]}…, not {wanted[:12]}… as was said")
    return found["sha256"].hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def place(path: Path, target: Path, folder: Path) -> None:
    """Move a whole file to its name below ``folder``; a ValueError where a link leads out or the name is taken."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError("a file has the name of its folder") from None
    if not target.parent.resolve().is_relative_to(folder.resolve()) or target.is_dir():
        raise ValueError("leads out of the folder" if not target.is_dir() else "a folder has its name")
    shutil.move(path, target)
