"""A run of ingestion: the frames of all files, those that can be in one store, and their finished shards."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from pathlib import Path

import numpy as np
from rich.progress import Progress

from pipelines.common.errors import UnreadableFile
from pipelines.common.files import as_text, no_file_inside
from pipelines.common.workers import Failure, decoders
from pipelines.params.radar import FileHints, IngestRadar
from pipelines.radar.decoding import decode_packed, survey
from pipelines.radar.frame import FrameHeader, PackedRain
from pipelines.radar.grid import Grid
from pipelines.radar.ingest_cache import FrameCache, FrameRecord
from pipelines.radar.readers.archive_file import Members, source_name
from pipelines.radar.readers.header import Header
from pipelines.radar.regridding import target_grid
from pipelines.radar.shards import Shards
from pipelines.radar.store import shard_frames

FrameRef = tuple[Path, int]  # a frame in a file


@dataclass
class Ingestion:
    """What a run knows: records by file, the frames that are still in play, and reasons by the names of the others."""

    source: Path
    cache: FrameCache
    shards: Shards
    params: IngestRadar
    hints: FileHints
    strict: bool
    progress: Progress
    files: list[Path] = field(default_factory=list)
    records: dict[Path, list[FrameRecord]] = field(default_factory=dict)
    good: set[FrameRef] = field(default_factory=set)
    rejected: dict[str, str] = field(default_factory=dict)
    repeated: int = 0

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
        tasks = [(path, self.hints, self.params.regrid) for path in new]
        answers = decoders(self.params.limits).map(survey, tasks)
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
        kind_of: dict[FrameRef, int] = {}
        for ref in sorted(self.good, key=self._order):
            header = self[ref].header
            of = (i for i, kind in enumerate(kinds) if _difference(kind, header) is None)
            kind_of[ref] = next(of, len(kinds))
            if kind_of[ref] == len(kinds):
                kinds.append(header)
        most = Counter(kind_of.values()).most_common(1)[0][0] if kinds else 0
        for ref, kind in kind_of.items():
            if kind != most:
                self._reject(ref, f"not as most files here: {_difference(kinds[most], self[ref].header)}")

    def finished_shards(self) -> Iterator[tuple[list[FrameRef], Path]]:
        """Return the frames of each shard, in time order, and the shard; one that isn't finished is made.

        Reads frames that were never read, and those of shards that must be made: two shards' worth in memory, as one
        is made while the next one's frames are read. The last is finished when all is returned.
        """
        refs = sorted(self.good, key=self._order)
        bar = self.progress.add_task("read frames", total=len(refs))
        waiting = iter([list(group) for _, group in groupby(refs, key=lambda ref: self[ref].header.time)])
        size = shard_frames(self.grid(refs[0]).shape) if refs else 0
        making: Future[None] = Future()
        making.set_result(None)
        with ThreadPoolExecutor(1) as beside:
            while True:
                batch: list[list[FrameRef]] = []  # the refs of each time; the first is taken
                frames: dict[FrameRef, PackedRain] = {}
                while True:
                    batch = [left for group in batch if (left := [ref for ref in group if ref in self.good])]
                    batch += islice(waiting, size - len(batch))
                    taken = [group[0] for group in batch]
                    frames = {ref: frames[ref] for ref in taken if ref in frames}  # of others the digest is enough
                    need = [ref for group in batch for ref in group if self[ref].pixels is None]
                    if not need:
                        made_of = [f"{self[path, number].sha256}#{number}" for path, number in taken]
                        shard = self.shards.path(made_of)
                        need = [] if shard.exists() else [ref for ref in taken if ref not in frames]
                    if not need:
                        break
                    for ref in self._decoded(need[:size], frames):  # however many files are of one time
                        self.progress.advance(bar, ref not in self.good)
                making.result()
                if not batch:
                    return
                for group in batch:
                    self._settle(group)
                if not shard.exists():
                    making = beside.submit(self.shards.make, [frames[ref] for ref in taken], made_of)
                self.progress.advance(bar, sum(map(len, batch)))
                yield taken, shard

    def header(self, ref: FrameRef) -> FrameHeader:
        """Return the header of a frame in the store."""
        in_file = replace(self[ref].header, grid=self.grid(ref))
        source = as_text(source_name(ref[0])) + self._suffix(ref)
        return in_file.of_frame((self.params.z_r.a, self.params.z_r.b), source, self[ref].sha256)

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
            for name, reason in found.items():
                if reason is not None:
                    self._reject((path / name, 0), reason)
            return sorted(path / name for name, reason in found.items() if reason is None)
        else:
            self.records[path] = found
            for number, record in enumerate(found):
                if record.reason is None:
                    self.good.add((path, number))
                else:
                    self._reject((path, number), record.reason)
        return []

    def _decoded(self, refs: list[FrameRef], frames: dict[FrameRef, PackedRain]) -> Iterator[FrameRef]:
        """Decode each frame into ``frames`` and its record, or reject it."""
        tasks = [(*ref, self.params, self.hints, self[ref].sha256) for ref in refs]
        answers = list(decoders(self.params.limits).map(decode_packed, tasks))
        paths = {path for path, _ in refs}  # a file of many frames is looked at once
        changed = {path for path in paths if self.cache.has_changed(path)}
        for ref, answer in zip(refs, answers, strict=True):
            path, number = ref
            if isinstance(answer, Failure):
                self._reject(ref, answer.reason)
                if not answer.passing:
                    self.records[path][number] = replace(self[ref], reason=answer.reason)
            elif path in changed:
                self._reject(ref, "it changed while it was read")
            else:
                frames[ref], pixels, quality = answer
                self.records[path][number] = replace(self[ref], pixels=pixels, quality=quality)
            yield ref
        for path in paths:
            self.cache.put(path, self.records[path])

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

    def _order(self, ref: FrameRef) -> tuple[np.datetime64, FrameRef]:
        return self[ref].header.time, ref


def _difference(header: Header, other: Header) -> str | None:
    """Return in words how ``other`` can't be in one store with ``header``; None if it can."""
    if header.grid is not other.grid and (words := header.grid.difference(other.grid)):
        return words
    return None if header.kind == other.kind else f"{other.kind}, not {header.kind}"
