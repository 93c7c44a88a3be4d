"""A run of ingestion: the frames of all files, those that can be in one store, and their finished shards.

Shards of an earlier run whose files haven't changed are passed by as a whole, unless what is new has to do with them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from pipelines.common.errors import UnreadableFile
from pipelines.common.executor import Executor
from pipelines.common.files import as_text, no_file_inside
from pipelines.common.workers import Failure
from pipelines.params.radar import FileHints, IngestRadar
from pipelines.radar.decoding import survey
from pipelines.radar.empty_rows import rows_of_shards
from pipelines.radar.finished_shard import FinishedShard
from pipelines.radar.frame import FrameHeader
from pipelines.radar.grid import Grid
from pipelines.radar.ingest_cache import FrameCache, FrameRecord
from pipelines.radar.quality_table import quality_line
from pipelines.radar.readers.archive_file import Members
from pipelines.radar.readers.header import Header
from pipelines.radar.regridding import target_grid
from pipelines.radar.shard_task import Candidate, Decoded, FrameRef, make_shard
from pipelines.radar.shards import Shards, Source
from pipelines.radar.store import shard_frames
from pipelines.radar.unchanged_shards import UnchangedShards

AT_ONCE = 2  # shards that are made here at once: one is written while the next one's frames are decoded
BATCH = 16  # headers that a worker reads at once: to send a file takes longer than to read its header
SAVES = 16  # of the records of one file, at most


@dataclass
class Ingestion:
    """What a run knows: records by file, the frames that are still in play, and reasons by the names of the others."""

    source: Path
    unchanged: UnchangedShards
    cache: FrameCache
    shards: Shards
    params: IngestRadar
    hints: FileHints
    strict: bool
    progress: Progress
    executor: Executor
    files: list[Path] = field(default_factory=list)
    records: dict[Path, list[FrameRecord]] = field(default_factory=dict)
    archives: set[Path] = field(default_factory=set)  # files that others are in
    good: set[FrameRef] = field(default_factory=set)
    rejected: dict[str, str] = field(default_factory=dict)
    repeated: int = 0
    unsaved: Counter[Path] = field(default_factory=Counter)  # frames by file whose records aren't in the cache yet

    def read_headers(self, files: list[Path]) -> None:
        """Find the frames of each file, and of each member of an archive: by what is known of it, or else in it."""
        self.files += files
        new, members = list[Path](), list[Path]()
        for path in files:
            found = no_file_inside(path, self.source) or self.cache.get(path)
            if found is None:
                new.append(path)
            else:
                members += self._take(path, found)
        tasks = [(path.absolute(), self.hints, self.params.regrid) for path in new]
        answers = self.executor.decode(survey, tasks, self.params.limits, batch=BATCH)
        for path, answer in zip(self.progress.track(new, description="read headers"), answers, strict=True):
            if isinstance(answer, Failure):
                found = answer.reason
            elif isinstance(answer, dict):
                found = answer
            else:
                headers, sha256 = answer
                found = [FrameRecord(self.cache.same_grid(header), sha256, reason=header.refusal) for header in headers]
            if not (isinstance(answer, Failure) and answer.passing):
                self.cache.put(path, found)
            members += self._take(path, found)
        if members:
            self.read_headers(members)

    def keep_one_kind(self) -> None:
        """Reject all but the most common grid and kind of product, the first in time where equally common."""
        kinds: list[Header] = []
        known: dict[tuple[int, str], int] = {}  # of the very same grids, which are most
        kind_of: dict[FrameRef, int] = {}
        for ref in self._in_order():
            header = self[ref].header
            same = id(header.grid), header.kind
            if same not in known:
                of = (i for i, kind in enumerate(kinds) if _difference(kind, header) is None)
                known[same] = next(of, len(kinds))
                if known[same] == len(kinds):
                    kinds.append(header)
            kind_of[ref] = known[same]
        counts = Counter(kind_of.values())
        if self.unchanged and self.unchanged.first in kind_of:
            counts[kind_of[self.unchanged.first]] += len(self.unchanged.times)
        most = counts.most_common(1)[0][0] if kinds else 0
        if self.unchanged and (self.unchanged.first not in kind_of or kind_of[self.unchanged.first] != most):
            self.read_headers(self.unchanged.give_up(list(self.unchanged.shards)))
            self.keep_one_kind()
            return
        for ref, kind in kind_of.items():
            if kind != most:
                self._reject(ref, f"not as most files here: {_difference(kinds[most], self[ref].header)}")

    def finished_shards(self) -> Iterator[FinishedShard]:
        """Return the shards of the store; one that isn't finished is made.

        One without any frame isn't returned. The last is finished when all is returned.
        """
        while True:
            refs = self._in_order()
            if not refs:
                return
            of_time: dict[np.datetime64, list[FrameRef]] = defaultdict(list)
            for ref in refs:
                of_time[self[ref].header.time].append(ref)
            size = shard_frames(self.grid(refs[0]).shape)
            every = np.union1d(np.array(list(of_time)), np.array(self.unchanged.times, "datetime64[s]"))
            rows_of = {int(times[0].astype(int)): times for times in rows_of_shards(every, size)}
            mixed = self.unchanged.mixed(rows_of, list(of_time))
            if not mixed:
                break
            self.read_headers(self.unchanged.give_up(mixed))
            self.keep_one_kind()
        bar = self.progress.add_task("read frames", total=len(refs))
        for ref in refs:
            if (reason := self[ref].reason) is not None:
                self._reject(ref, reason)
        rows = {
            first: [[ref for ref in of_time.get(time, []) if ref in self.good] for time in times]
            for first, times in rows_of.items()
            if first not in self.unchanged.shards
        }
        there = self.shards.names()
        known = {first: self._finished(of_shard, there) for first, of_shard in rows.items()}
        tasks = (
            (
                [[self._candidate(ref) for ref in row] for row in rows[first]],
                self.shards.folder.absolute(),
                size,
                self.params,
                self.hints,
            )
            for first, shard in known.items()
            if shard is None
        )
        made = self.executor.map(make_shard, tasks, at_once=AT_ONCE)
        for first, times in rows_of.items():
            if first in self.unchanged.shards:
                yield self.unchanged.shards[first]
                continue
            of_shard = rows[first]
            if known[first] is None:
                self._note(of_shard, next(made))
            left = [[ref for ref in row if ref in self.good] for row in of_shard]
            for row in left:
                if len(row) > 1:
                    self._settle(row)
            self.progress.advance(bar, sum(map(len, of_shard)))
            if any(left):
                yield self._shard(times, left)
        for path in self.unsaved:
            self.cache.put(path, self.records[path])

    def first_header(self) -> FrameHeader:
        """Return the header of the store's first frame; of one like it where none but those passed by is left."""
        ref = next(iter(self._in_order()), self.unchanged.first)
        assert ref is not None
        return self.header(ref)

    def header(self, ref: FrameRef) -> FrameHeader:
        """Return the header of a frame in the store."""
        path, record = ref[0], self[ref]
        archive = next((parent for parent in path.parents if parent in self.archives), None) if self.archives else None
        name = path.name if archive is None else path.relative_to(archive.parent)
        z_r = self.params.z_r.a, self.params.z_r.b
        frame = record.header.of_frame(z_r, as_text(name) + self._suffix(ref), record.sha256)
        return frame if self.params.regrid is None else replace(frame, grid=self.grid(ref))

    def grid(self, ref: FrameRef) -> Grid:
        """Return the grid of a frame in the store."""
        grid = self[ref].header.grid
        return grid if self.params.regrid is None else target_grid(grid, self.params.regrid)

    def __getitem__(self, ref: FrameRef) -> FrameRecord:
        return self.records[ref[0]][ref[1]]

    def _take(self, path: Path, found: list[FrameRecord] | Members | str) -> list[Path]:
        """Take what is in a file, or reject it; return the members of an archive, which aren't looked into yet."""
        if isinstance(found, str):
            self._reject((path, 0), found)
        elif isinstance(found, dict):
            self.archives.add(path)
            for name, reason in found.items():
                if reason is not None:
                    self._reject((path / name, 0), reason)
            return sorted(path / name for name, reason in found.items() if reason is None)
        else:
            self.records[path] = found
            for number, record in enumerate(found):
                # What can't be decoded has its place in time in later runs as well, or all else would move.
                if record.reason is None or record.pixels is not None:
                    self.good.add((path, number))
                else:
                    self._reject((path, number), record.reason)
        return []

    def _in_order(self) -> list[FrameRef]:
        """Return the frames that are in play in order of their times, and of their names where these are equal."""
        refs = sorted(self.good, key=lambda ref: (ref[0].parts, ref[1]))
        times = np.array([self[ref].header.time for ref in refs], "datetime64[s]")
        return [refs[i] for i in np.argsort(times, kind="stable")]

    def _shard(self, times: NDArray[np.datetime64], rows: list[list[FrameRef]]) -> FinishedShard:
        """Return what the store has of a shard; of each row the first frame is taken."""
        taken = [row[0] for row in rows if row]
        headers = iter([self.header(ref) for ref in taken])
        in_rows = [next(headers) if row else None for row in rows]
        qualities = [quality for ref in taken if (quality := self[ref].quality)]
        grids = {self.cache.number(self[ref].header.grid) for ref in taken}
        alone = all(len(self.records[path]) == 1 and self.archives.isdisjoint(path.parents) for path, _ in taken)
        to_pass = taken if alone and len(grids) == 1 else []
        return FinishedShard(
            self.shards.path(self._sources(rows)).name,
            times.astype(int).tolist(),
            [header.source if header else "" for header in in_rows],
            [header.sha256 if header else "" for header in in_rows],
            [
                quality_line(header.time, header.source, quality)
                for header, quality in zip(filter(None, in_rows), qualities, strict=True)
            ],
            [self[ref].header.radars for ref in taken],
            sum(quality.clipped for quality in qualities),
            min(grids),
            {str(path.relative_to(self.source)): self.cache.signature(path) for path, _ in to_pass},
        )

    def _sources(self, rows: list[list[FrameRef]]) -> list[Source | None]:
        return [(self[row[0]].sha256, row[0][1]) if row else None for row in rows]

    def _candidate(self, ref: FrameRef) -> Candidate:
        path, record = ref[0], self[ref]
        return Candidate(
            (path.absolute(), ref[1]), record.sha256, self.cache.signature(path), record.pixels is not None
        )

    def _finished(self, rows: list[list[FrameRef]], there: set[str]) -> Path | None:
        """Return the shard of some rows, if it is one of those ``there``; None if it has to be made."""
        if any(self[ref].pixels is None for row in rows for ref in row):
            return None
        shard = self.shards.path(self._sources(rows))
        return shard if shard.name in there else None

    def _note(self, rows: list[list[FrameRef]], outcomes: dict[FrameRef, Decoded | Failure]) -> None:
        """Note what became of the frames of a shard in their records, or reject them."""
        for ref in (ref for row in rows for ref in row):
            path, number = ref
            outcome = outcomes.get((path.absolute(), number))
            if isinstance(outcome, Failure):
                self._reject(ref, outcome.reason)
            if outcome is None or (isinstance(outcome, Failure) and outcome.passing):
                continue
            if isinstance(outcome, Failure):
                self.records[path][number] = replace(self[ref], pixels="", quality=None, reason=outcome.reason)
            else:
                self.records[path][number] = replace(self[ref], pixels=outcome[0], quality=outcome[1])
            self.unsaved[path] += 1
        # All of a file's records are written each time: of one with very many frames, not after each shard.
        for path in [path for path, new in self.unsaved.items() if SAVES * new >= len(self.records[path])]:
            self.cache.put(path, self.records[path])
            del self.unsaved[path]

    def _settle(self, group: list[FrameRef]) -> None:
        """Take the first frame of one time; another repeats it, or contradicts it and is rejected."""
        taken, *others = group
        for ref in others:
            if self[ref].pixels == self[taken].pixels:
                self.repeated += 1
            else:
                what = f"{self[ref].header.time} UTC than {as_text(taken[0].name)}{self._suffix(taken)}"
                self._reject(ref, f"conflict: other content for {what}, which is taken")

    def _reject(self, ref: FrameRef, reason: str) -> None:
        if self.strict:
            raise UnreadableFile(as_text(ref[0]) + self._suffix(ref), reason)
        self.good.discard(ref)
        self.rejected[as_text(ref[0].relative_to(self.source)) + self._suffix(ref)] = reason

    def _suffix(self, ref: FrameRef) -> str:
        return f"#{ref[1]}" if len(self.records.get(ref[0], [])) > 1 else ""


def _difference(header: Header, other: Header) -> str | None:
    """Return in words how ``other`` can't be in one store with ``header``; None if it can."""
    if words := header.grid.difference(other.grid):
        return words
    return None if header.kind == other.kind else f"{other.kind}, not {header.kind}"
