"""What earlier runs of an ingestion found out about each source file, so that a file is decoded once."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from pipelines.common.provenance import FileSignature, fingerprint

Record = TypeVar("Record")

DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


class IngestCache(Generic[Record]):
    """A table that outlives the run: what a killed run has put in is there for the next.

    A file is the same while its path, size and time of change are. What was found out by other code or with other
    parameters is forgotten. One process at a time may have it.

    Parameters
    ----------
    folder : Path
        Its own: all in it but hidden files is removed where it was made by others.
    made_by : str
        Says which code and parameters found out what is in it.
    to_json, from_json : callable
        From a record to what ``json`` can write, but no str; and back.
    """

    def __init__(
        self, folder: Path, made_by: str, to_json: Callable[[Record], Any], from_json: Callable[[Any], Record]
    ) -> None:
        self._to_json, self._from_json = to_json, from_json
        mark = folder / "made_by"
        if not mark.exists() or mark.read_text(encoding="utf-8") != made_by:
            for path in folder.glob("[!.]*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        table = folder / "found.sqlite"
        try:
            self._database = _opened(table)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF not in DAMAGED:  # the lowest byte of an extended code
                raise
            for path in folder.glob(f"{table.name}*"):  # its log as well
                path.unlink()
            self._database = _opened(table)
        mark.write_text(made_by, encoding="utf-8")
        # The key and the signature of what get was asked for.
        self._asked: dict[tuple[Path, str], tuple[bytes, str]] = {}

    def get(self, path: Path, part: str = "") -> Record | str | None:
        """Return what was found out about a file, or part of one, or why it is of no use; None if it isn't known."""
        name, now = self._asked[path, part] = key(path), signature(path)
        row = self._database.execute(
            "SELECT record FROM found WHERE path = ? AND part = ? AND signature = ?", (name, part, now)
        ).fetchone()
        found = row and json.loads(row[0])
        return found if found is None or isinstance(found, str) else self._from_json(found)

    def put(self, path: Path, found: Record | str, part: str = "") -> None:
        """Keep what was found out about a file as it was when :meth:`get` was last asked for it."""
        name, then = self._asked[path, part]
        plain = json.dumps(found if isinstance(found, str) else self._to_json(found))
        self._database.execute("REPLACE INTO found VALUES (?, ?, ?, ?)", (name, part, then, plain))

    def signature(self, path: Path, part: str = "") -> str:
        """Return a file's :func:`signature` as it was when :meth:`get` was last asked for it."""
        return self._asked[path, part][1]

    def forget_others(self, but: Iterable[bytes] = ()) -> None:
        """Forget files that :meth:`get` wasn't asked for, ``but`` some, by their :func:`key`."""
        asked = {name for name, _ in self._asked.values()}.union(but)
        gone = {row[0] for row in self._database.execute("SELECT path FROM found")} - asked
        with self.transaction():
            self._database.executemany("DELETE FROM found WHERE path = ?", [(path,) for path in gone])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Have all that the block does with the table done, or nothing of it."""
        self._database.execute("BEGIN")
        with self._database:  # commits, or rolls back
            yield

    def close(self) -> None:
        """Let go of the table."""
        self._database.close()


def _opened(table: Path) -> sqlite3.Connection:
    database = sqlite3.connect(table, isolation_level=None)  # each statement by itself outlives this process
    try:
        # A write-ahead log is what makes that cheap; where one process alone has it, it works on any file system.
        for key, value in (("locking_mode", "EXCLUSIVE"), ("journal_mode", "WAL"), ("synchronous", "NORMAL")):
            database.execute(f"PRAGMA {key} = {value}")
        columns = "path BLOB, part TEXT, signature TEXT, record TEXT, PRIMARY KEY (path, part)"
        database.execute(f"CREATE TABLE IF NOT EXISTS found ({columns})")
        # Damage inside shows where it is read, in the middle of a run; here there is nothing to lose yet.
        (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            error = sqlite3.DatabaseError(found)
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
    except BaseException:
        database.close()
        raise
    return database


def key(path: Path) -> bytes:
    """Return a path as the table has it: absolute."""
    return os.path.abspath(os.fsencode(path))  # noqa: PTH100 - bytes, and it follows no link


def signature(path: Path) -> str:
    """Return what is the same while a file's path, size and time of change are; empty where there is none."""
    try:
        if path.is_dir():
            return fingerprint(Path(os.fsdecode(key(path))))
        size, changed_ns = FileSignature.of(path)
        return f"{size} {changed_ns}"
    except NotADirectoryError:  # a member of an archive file is the same while that is
        return signature(path.parent)
    except OSError:  # it is gone; what reads it will say so
        return ""


def signatures(entries: Iterable[os.DirEntry[str] | Path]) -> dict[str, str]:
    """Return what :func:`signature` does of each regular file of a listing, by its path, in a tenth of the time."""
    found = {}
    for entry in entries:
        try:
            if not isinstance(entry, Path) and entry.is_file(follow_symlinks=False):
                stat = entry.stat(follow_symlinks=False)
                found[entry.path] = f"{stat.st_size} {stat.st_mtime_ns}"
        except OSError:  # it is gone
            continue
    return found
