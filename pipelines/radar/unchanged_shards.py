"""The shards of an earlier run none of whose files has changed: a run passes them by and reads nothing of them."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.common.ingest_cache import signatures
from pipelines.radar.finished_shard import FinishedShard
from pipelines.radar.ingest_cache import FrameCache
from pipelines.radar.readers.archive_file import ZARR_MARKS
from pipelines.radar.shard_task import FrameRef


@dataclass
class UnchangedShards:
    """Shards by their first second; all are of the grid and kind of the ``first`` frame, which is looked into."""

    source: Path
    shards: dict[int, FinishedShard]
    first: FrameRef | None

    def __bool__(self) -> bool:
        return bool(self.shards)

    @property
    def times(self) -> list[int]:
        """Return the seconds of all their frames."""
        return [second for shard in self.shards.values() for second in shard.times]

    def others(self, found: list[os.DirEntry[str] | Path]) -> list[Path]:
        """Return those of the files ``found`` that aren't theirs."""
        theirs = {_folder(self.source) + name for shard in self.shards.values() for name in shard.files}
        return [Path(entry) for entry in found if os.fspath(entry) not in theirs]

    def mixed(self, rows_of: dict[int, NDArray[np.datetime64]], times: list[np.datetime64]) -> list[int]:
        """Return which of them are shards no more by ``rows_of``, or have one of ``times``, by their first seconds."""
        if not self:
            return []
        firsts = np.array(list(rows_of))
        touched = set(firsts[np.searchsorted(firsts, np.array(times).astype(int), "right") - 1].tolist())
        same = (first for first in rows_of.keys() & self.shards.keys() if first not in touched)
        stay = {first for first in same if rows_of[first].astype(int).tolist() == self.shards[first].seconds}
        return [first for first in self.shards if first not in stay]

    def give_up(self, firsts: list[int]) -> list[Path]:
        """Pass by the shards with these first seconds no longer; return their files."""
        shards = [self.shards.pop(first) for first in firsts]
        return sorted(self.source / name for shard in shards for name in shard.files)


def unchanged_shards(
    found: list[os.DirEntry[str] | Path], source: Path, cache: FrameCache, there: set[str]
) -> UnchangedShards:
    """Return the shards ``there`` that ``cache`` knows of and whose files are as they were, by what is ``found``."""
    # Files of a Zarr store are none by themselves, and there may be a new one around others.
    if not {entry.name for entry in found}.isdisjoint(ZARR_MARKS):
        return UnchangedShards(source, {}, None)
    now, folder = signatures(found), _folder(source)
    shards = {
        shard.seconds[0]: shard
        for shard in cache.shards(source)
        if shard.name in there and all(now.get(folder + name) == was for name, was in shard.files.items())
    }
    if not shards:
        return UnchangedShards(source, {}, None)
    # The first is looked into all the same: what it is of, the others are, to the last digit of the grid.
    first = shards.pop(min(shards))
    alike = {second: shard for second, shard in shards.items() if shard.grid == first.grid}
    return UnchangedShards(source, alike, (source / next(iter(first.files)), 0))


def _folder(source: Path) -> str:
    return os.path.join(source, "")  # noqa: PTH118 - as its files are found
