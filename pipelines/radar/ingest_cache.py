"""What earlier runs of ingestion found out about the frames of each radar file."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyproj

from pipelines.common.ingest_cache import IngestCache, key
from pipelines.common.provenance import code_sha256
from pipelines.radar.finished_shard import FinishedShard
from pipelines.radar.grid import Grid
from pipelines.radar.quality import Quality
from pipelines.radar.readers.archive_file import Members
from pipelines.radar.readers.header import Header


@dataclass(frozen=True)
class FrameRecord:
    """What is known of one frame in a file: its header; once it was decoded, what it is; if it is bad, why.

    Parameters
    ----------
    header : Header
    sha256 : str
        Hex digest of the file's bytes.
    pixels : str
        Hex digest of the rain rates, so that repetition and conflict are told without them; empty if they can't be had.
    quality : Quality
    reason : str
        Why it can't be in the store.
    """

    header: Header
    sha256: str
    pixels: str | None = None
    quality: Quality | None = None
    reason: str | None = None


class FrameCache(IngestCache[list[FrameRecord] | Members]):
    """Records of the frames of radar files, the members of archive files, and finished shards.

    A grid is a number of a table of them.
    """

    def __init__(self, folder: Path, made_by: str) -> None:
        super().__init__(folder, made_by, self._to_plain, self._from_plain)
        self._database.execute("CREATE TABLE IF NOT EXISTS grids (wkt TEXT, y BLOB, x BLOB, UNIQUE (wkt, y, x))")
        # More code makes the rows of a shard than decodes its frames.
        self._rows_by = code_sha256("pipelines.radar.ingestion").encode()
        columns = "folder BLOB, first INTEGER, shard TEXT, PRIMARY KEY (folder, first)"
        self._database.execute(f"CREATE TABLE IF NOT EXISTS shards ({columns})")
        self._numbers: dict[tuple[str, bytes, bytes], int] = {}
        self._grids: dict[int, Grid] = {}
        self._last: tuple[Grid, Grid] | tuple[None, None] = None, None
        for grid in self._database.execute("SELECT rowid, wkt, y, x FROM grids"):
            self._know(*grid)

    def shards(self, source: Path) -> list[FinishedShard]:
        """Return the finished shards of a folder of files, in order of time; none that other code has kept."""
        folder = self._rows_by + key(source)
        found = self._database.execute("SELECT shard FROM shards WHERE folder = ? ORDER BY first", (folder,))
        return [FinishedShard(**json.loads(shard)) for (shard,) in found]

    def keep_shards(self, source: Path, finished: Iterable[FinishedShard], but: Mapping[int, FinishedShard]) -> None:
        """Keep the finished shards of a folder of files, ``but`` those that are kept already; forget all others.

        Files of other folders are forgotten as well.
        """
        folder = self._rows_by + key(source)
        new = {shard.seconds[0]: shard for shard in finished if shard.files and shard.seconds[0] not in but}
        rows = [(folder, first, json.dumps(vars(shard))) for first, shard in new.items()]
        with self.transaction():
            there = self._database.execute("SELECT folder, first FROM shards").fetchall()
            gone = [row for row in there if row[0] != folder or (row[1] not in but and row[1] not in new)]
            self._database.executemany("DELETE FROM shards WHERE folder = ? AND first = ?", gone)
            self._database.executemany("REPLACE INTO shards VALUES (?, ?, ?)", rows)
        inside = os.path.join(key(source), b"")  # noqa: PTH118 - bytes
        names = os.fsencode("\0".join(name for shard in but.values() for name in shard.files)).split(b"\0")
        self.forget_others(inside + name for name in names)

    def same_grid(self, header: Header) -> Header:
        """Return the header with the one object that stands for its grid: it is compared with others often."""
        if header.grid is not self._last[0]:  # as it comes from the process that read it
            self._last = header.grid, self._grids[self.number(header.grid)]
        return replace(header, grid=self._last[1])

    def _to_plain(self, record: list[FrameRecord] | Members) -> list[dict[str, Any]] | Members:
        return record if isinstance(record, dict) else [self._plain(one) for one in record]

    def _from_plain(self, plain: list[dict[str, Any]] | Members) -> list[FrameRecord] | Members:
        return plain if isinstance(plain, dict) else [self._record(one) for one in plain]

    def _know(self, number: int, wkt: str, y: bytes, x: bytes) -> None:
        # Of a new one too through its text, as when it is read again: both must write the same metadata.
        self._grids[number] = Grid(pyproj.CRS.from_wkt(wkt), np.frombuffer(x), np.frombuffer(y))
        self._numbers[wkt, y, x] = number

    def number(self, grid: Grid) -> int:
        """Return the number of a grid in the table; it is put there if it is new."""
        for number, known in self._grids.items():
            if known is grid:
                return number
        y, x = (np.asarray(axis, np.float64).tobytes() for axis in (grid.y, grid.x))
        same = (grid.crs.to_wkt(), y, x)
        if same not in self._numbers:
            new = self._database.execute("INSERT INTO grids VALUES (?, ?, ?)", same).lastrowid
            assert new is not None
            self._know(new, *same)
        return self._numbers[same]

    def _plain(self, record: FrameRecord) -> dict[str, Any]:
        header = record.header
        return {
            "header": [str(header.time), header.time_is, header.interval_s, header.unit, self.number(header.grid)],
            "radars": header.radars,
            "sha256": record.sha256,
            "pixels": record.pixels,
            "quality": record.quality and asdict(record.quality),
            "reason": record.reason,
        }

    def _record(self, plain: dict[str, Any]) -> FrameRecord:
        time, time_is, interval_s, unit, number = plain.pop("header")
        quality = plain.pop("quality")
        return FrameRecord(
            Header(
                np.datetime64(time, "s"), time_is, interval_s, unit, self._grids[number], radars=plain.pop("radars")
            ),
            quality=quality and Quality(**quality),
            **plain,
        )
