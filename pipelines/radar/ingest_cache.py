"""What earlier runs of ingestion found out about each source file, so that a file is decoded once.

A file is the same file while its path, size and time of change are; what was found out by other code or with other
parameters is forgotten.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyproj

from pipelines.radar.grid import Grid
from pipelines.radar.quality import Quality
from pipelines.radar.readers.header import Header

COMMIT_EVERY = 500  # files


@dataclass(frozen=True)
class FrameRecord:
    """What is known of one frame in a file: its header; once it was decoded, what it is; if it is bad, why.

    Parameters
    ----------
    header : Header
    sha256 : str
        Hex digest of the file's bytes.
    pixels : str
        Hex digest of the rain rates, so that repetition and conflict are told without them.
    quality : Quality
    reason : str
        Why it can't be in the store.
    """

    header: Header
    sha256: str
    pixels: str | None = None
    quality: Quality | None = None
    reason: str | None = None


class IngestCache:
    """A table that outlives the run, killed or not.

    Parameters
    ----------
    folder : Path
        Its own: all in it but hidden files is removed where it was made by others.
    made_by : str
        Says which code and parameters found out what is in it.
    """

    def __init__(self, folder: Path, made_by: str) -> None:
        mark = folder / "made_by"
        if not mark.exists() or mark.read_text(encoding="utf-8") != made_by:
            for path in folder.glob("[!.]*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(folder / "files.sqlite")
        self._database.execute("CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, signature TEXT, facts TEXT)")
        self._database.execute("CREATE TABLE IF NOT EXISTS grids (wkt TEXT, y BLOB, x BLOB, UNIQUE (wkt, y, x))")
        self._grids = {
            (wkt, y, x): (number, Grid(pyproj.CRS.from_wkt(wkt), np.frombuffer(x), np.frombuffer(y)))
            for number, wkt, y, x in self._database.execute("SELECT rowid, wkt, y, x FROM grids")
        }
        self._uncommitted = 0
        mark.write_text(made_by, encoding="utf-8")

    def get(self, path: Path, signature: str) -> list[FrameRecord] | str | None:
        """Return what is known of the frames in a file, or why it has none; None if the file is new or another."""
        row = self._database.execute(
            "SELECT facts FROM files WHERE path = ? AND signature = ?", (_key(path), signature)
        ).fetchone()
        if row is None:
            return None
        found = json.loads(row[0])
        return found if isinstance(found, str) else [self._facts(one) for one in found]

    def put(self, path: Path, signature: str, found: list[FrameRecord] | str) -> None:
        """Keep what was found out about a file."""
        plain = found if isinstance(found, str) else [self._plain(facts) for facts in found]
        self._database.execute("REPLACE INTO files VALUES (?, ?, ?)", (_key(path), signature, json.dumps(plain)))
        self._uncommitted += 1
        if self._uncommitted >= COMMIT_EVERY:
            self.commit()

    def same_grid(self, header: Header) -> Header:
        """Return the header with the one object that stands for its grid: it is compared with others often."""
        return replace(header, grid=self._grid(header.grid)[1])

    def forget_all_but(self, files: Iterable[Path]) -> None:
        """Forget files that are gone."""
        gone = {row[0] for row in self._database.execute("SELECT path FROM files")} - {_key(path) for path in files}
        self._database.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in gone])
        self.commit()

    def commit(self) -> None:
        """Make what was put in so far outlive this run."""
        self._database.commit()
        self._uncommitted = 0

    def close(self) -> None:
        """Commit and let go of the table."""
        self.commit()
        self._database.close()

    def _grid(self, grid: Grid) -> tuple[int, Grid]:
        y, x = (np.asarray(axis, np.float64).tobytes() for axis in (grid.y, grid.x))
        key = (grid.crs.to_wkt(), y, x)
        if key not in self._grids:
            number = self._database.execute("INSERT INTO grids VALUES (?, ?, ?)", key).lastrowid
            assert number is not None
            # Through its text, as when it is read again: both must write the same metadata.
            self._grids[key] = number, Grid(pyproj.CRS.from_wkt(key[0]), np.frombuffer(x), np.frombuffer(y))
        return self._grids[key]

    def _plain(self, facts: FrameRecord) -> dict[str, Any]:
        header = facts.header
        return {
            "header": [str(header.time), header.time_is, header.interval_s, header.unit, self._grid(header.grid)[0]],
            "sha256": facts.sha256,
            "pixels": facts.pixels,
            "quality": facts.quality and asdict(facts.quality),
            "reason": facts.reason,
        }

    def _facts(self, plain: dict[str, Any]) -> FrameRecord:
        time, time_is, interval_s, unit, number = plain.pop("header")
        grid = next(grid for known, grid in self._grids.values() if known == number)
        quality = plain.pop("quality")
        return FrameRecord(
            Header(np.datetime64(time, "s"), time_is, interval_s, unit, grid),
            quality=quality and Quality(**quality),
            **plain,
        )


def _key(path: Path) -> bytes:
    return os.fsencode(path.resolve())
