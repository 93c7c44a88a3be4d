"""The hidden table of what is in a fetched folder, by which it is known what needs no second fetch."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TextIO

from pipelines.common.errors import UserError
from pipelines.common.files import write_text

MANIFEST, MISSING = ".manifest.csv", ".missing.csv"


class Row(NamedTuple):
    """A file: its path below the folder, its bytes and SHA-256, where it is from and what state it had there."""

    file: str
    bytes: int
    sha256: str
    url: str
    version: str


class Manifest:
    """The rows of a folder; a file that has none wasn't fetched whole.

    Rows are appended as files come, so that a killed fetch loses none, and sorted at the end: the same files, the same
    table.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / MANIFEST
        self.rows: dict[str, Row] = {}
        self._members: dict[str, set[str]] = {}  # files, by the URL of their archive file
        if self.path.exists():
            try:
                text = self.path.read_text(encoding="utf-8")
                whole = text[: text.rfind("\n") + 1]  # the last line may be a killed fetch's
                rows = list(csv.reader(io.StringIO(whole)))[1:]
                read = [Row(row[0], int(row[1]), *row[2:]) for row in rows]
            except (ValueError, IndexError, TypeError, csv.Error):
                raise UserError(f"{self.path}: not a manifest of scs fetch: remove it to fetch all anew") from None
            self._keep(read)
        self.save()
        self._stream: TextIO = self.path.open("a", encoding="utf-8", newline="")
        self._writer = csv.writer(self._stream, lineterminator="\n")

    def has(self, file: str) -> bool:
        """Return whether a file is here, whole."""
        row = self.rows.get(file)
        if row is None:
            return False
        path = self.folder / file
        return path.is_file() and path.stat().st_size == row.bytes

    def of(self, archive: str) -> list[Row]:
        """Return the rows of an archive file's members, by the URL that ends theirs."""
        return [self.rows[file] for file in self._members.get(archive, ())]

    def add(self, rows: list[Row]) -> None:
        """Keep the rows of files that are in the folder now, in one write."""
        self._keep(rows)
        self._writer.writerows(rows)
        self._stream.flush()

    def _keep(self, rows: list[Row]) -> None:
        for row in rows:
            self.rows[row.file] = row
            _, chained, archive = row.url.partition("::")
            if chained:
                self._members.setdefault(archive, set()).add(row.file)

    def save(self) -> None:
        """Write all rows anew, in the order of their files."""
        write_text(self.path, _table(Row._fields, (self.rows[file] for file in sorted(self.rows))))

    def close(self) -> None:
        """Sort the table; nothing is added after it."""
        self._stream.close()
        self.save()


def write_missing(missing: Iterable[tuple[str, str]], folder: Path) -> None:
    """Write the times, UTC, of which there was no file, each with the URL that was asked; no table where none was."""
    rows = sorted(missing)
    if rows:
        write_text(folder / MISSING, _table(("time", "url"), rows))
    else:
        (folder / MISSING).unlink(missing_ok=True)


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()
