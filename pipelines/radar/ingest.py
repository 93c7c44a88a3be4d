"""Stage ``ingest_radar``: a folder of radar files into one store of frames.

A store has one grid and one kind of product: those of most frames. Frames of another, files that can't be read, and
frames that contradict another of the same time (the first by name is taken) go into a quarantine table with the
reason. A frame that repeats another's time and content is skipped.

What was decoded is kept in a hidden folder beside the store (facts of each file, finished shards): a run that was
killed goes on from there, a later one reads new files alone, and the store is the same bytes however many runs made it.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import Progress

from pipelines.common.errors import UnreadableFile, UserError
from pipelines.common.files import as_text, atomic_path, exclusive
from pipelines.common.provenance import code_sha256, main_checkout
from pipelines.common.quarantine import write_quarantine
from pipelines.common.stage import run
from pipelines.common.text import csv_cell
from pipelines.common.workers import Failure, decoders
from pipelines.params.radar import Archive, FileHints, IngestRadar
from pipelines.params.read import read_params
from pipelines.radar.decoding import decode, survey
from pipelines.radar.frame import Frame, FrameHeader
from pipelines.radar.grid import Grid
from pipelines.radar.ingest_cache import FrameCache, FrameRecord
from pipelines.radar.quality import Quality
from pipelines.radar.readers.archive_file import Members, source_name
from pipelines.radar.readers.header import Header
from pipelines.radar.readers.read import radar_files
from pipelines.radar.regridding import target_grid
from pipelines.radar.shards import Shards, assemble
from pipelines.radar.store import shard_frames

# What is kept from one run to the next was made by these.
LIBRARIES = ("h5py", "numpy", "pillow", "pyproj", "rasterio", "xarray", "zarr")
DECODING = ("pipelines.radar.decoding", "pipelines.radar.ingest_cache", "pipelines.radar.shards")

QUARANTINE_STATUS = 10  # exit status of `scs ingest`, and one more for each file in quarantine

FrameRef = tuple[Path, int]  # a frame in a file


def ingest_radar(
    source: Path, store: Path, quarantine: Path, quality: Path, params: IngestRadar, *, strict: bool = False
) -> int:
    """Write the frames of the radar files below ``source``, in time order, to ``store``.

    Parameters
    ----------
    source : Path
        Folder, searched with its subfolders.
    store : Path
        Zarr store, written whole or not at all; the same bytes for the same files.
    quarantine : Path
        CSV with columns ``file`` (below ``source``) and ``reason``.
    quality : Path
        CSV with a row a frame of the store: its time, file, and what `Quality` says.
    params : IngestRadar
        What its ``archives`` say under the store's name, without its ending, is of these files.
    strict : bool
        Stop at the first bad file.

    Returns
    -------
    int
        Rows of the quarantine table.

    Raises
    ------
    UserError
        If there is no file that can become a frame, another run is at work on the store, or the run is strict.
    """
    files = radar_files(source, stores=True)
    work = store.with_name(f".{store.name}.ingest")
    # What the user says of this archive counts as if it stood in the section.
    archive = params.archives.get(store.stem, Archive())
    params = params.model_copy(
        update={
            "z_r": archive.z_r or params.z_r,
            "regrid": archive.regrid or params.regrid,
            "license": archive.licence or params.license,
        }
    )
    made_by = (
        code_sha256(*DECODING, libraries=LIBRARIES)
        + params.model_dump_json(exclude={"sources", "archives", "license"})
        + archive.model_dump_json(exclude={"licence"})
    )
    with (
        exclusive(work / ".lock", wait_s=1.0),
        closing(FrameCache(work, made_by)) as known,
        Progress(transient=True) as progress,
    ):
        ingestion = _Ingestion(source, known, Shards(work / "shards"), params, archive, strict, progress)
        ingestion.read_headers(files)
        ingestion.keep_one_kind()
        finished = list(ingestion.finished_shards())
        write_quarantine(ingestion.rejected, quarantine)
        if not finished:
            name, reason = min(ingestion.rejected.items())
            raise UserError(f"{source}: none of its {len(ingestion.files)} files is of use; {name}: {reason}")
        parts = [part for parts, _ in finished for part in parts]
        frames = [ingestion.header(part) for part in parts]
        qualities = [found for part in parts if (found := ingestion[part].quality)]
        with atomic_path(store) as temporary:
            assemble(frames, [shard for _, shard in finished], temporary, params.license)
        _write_quality(frames, qualities, radars_out([ingestion[part].header for part in parts]), quality)
        known.forget_all_but(ingestion.files)
        ingestion.shards.remove_all_but({shard for _, shard in finished})
    clipped = sum(one.clipped for one in qualities)
    print(
        f"{len(frames)} frames from {frames[0].time} to {frames[-1].time} UTC"
        + (f", {ingestion.repeated} repeated files skipped" if ingestion.repeated else "")
        + (f", {clipped} pixels above {params.max_rate:g} mm/h" if clipped else "")
        + f", {len(ingestion.rejected)} files in quarantine"
        + (f": {quarantine}" if ingestion.rejected else "")
    )
    return len(ingestion.rejected)


def tables_of(store: Path) -> tuple[Path, Path]:
    """Return a store's tables of quarantine and quality: beside it, or where the stage puts them."""
    beside = store.with_suffix(".quarantine.csv"), store.with_suffix(".quality.csv")
    folder = store.absolute().parent.with_name("quality")
    of_stage = folder / beside[0].name, folder / beside[1].name
    return of_stage if of_stage[1].exists() and not beside[1].exists() else beside


@dataclass
class _Ingestion:
    """What a run knows: facts by file, the frames that are still in play, and reasons by the names of the others."""

    source: Path
    known: FrameCache
    shards: Shards
    params: IngestRadar
    hints: FileHints
    strict: bool
    progress: Progress
    files: list[Path] = field(default_factory=list)
    facts: dict[Path, list[FrameRecord]] = field(default_factory=dict)
    good: set[FrameRef] = field(default_factory=set)
    rejected: dict[str, str] = field(default_factory=dict)
    repeated: int = 0

    def read_headers(self, files: list[Path]) -> None:
        """Find the frames of each file, and of each member of an archive: by what is known of it, or else in it."""
        self.files += files
        new, members = list[Path](), list[Path]()
        for path in files:
            found = self.known.get(path)
            if found is None:
                new.append(path)
            else:
                members += self._found(path, found)
        answers = decoders().map(survey, [(path, self.hints) for path in new])
        for path, answer in zip(self.progress.track(new, description="read headers"), answers, strict=True):
            if isinstance(answer, Failure):
                found = answer.reason
            elif isinstance(answer, dict):
                found = answer
            else:
                headers, sha256 = answer
                found = [
                    FrameRecord(self.known.same_grid(header), sha256, reason=self._refusal(header))
                    for header in headers
                ]
            if not (isinstance(answer, Failure) and answer.passing):
                self.known.put(path, found)
            members += self._found(path, found)
        if members:
            self.read_headers(members)

    def keep_one_kind(self) -> None:
        """Reject all but the most common grid and kind of product, the first in time where equally common."""
        kinds: list[Header] = []
        kind_of: dict[FrameRef, int] = {}
        for part in sorted(self.good, key=self._order):
            header = self[part].header
            of = (i for i, kind in enumerate(kinds) if _difference(kind, header) is None)
            kind_of[part] = next(of, len(kinds))
            if kind_of[part] == len(kinds):
                kinds.append(header)
        most = Counter(kind_of.values()).most_common(1)[0][0] if kinds else 0
        for part, kind in kind_of.items():
            if kind != most:
                self._reject(part, f"not as most files here: {_difference(kinds[most], self[part].header)}")

    def finished_shards(self) -> Iterator[tuple[list[FrameRef], Path]]:
        """Return the frames of each shard, in time order, and the shard; one that isn't finished is made.

        Reads frames that were never read, and those of shards that must be made: a shard's worth in memory.
        """
        parts = sorted(self.good, key=self._order)
        bar = self.progress.add_task("read frames", total=len(parts))
        waiting = iter([list(group) for _, group in groupby(parts, key=lambda part: self[part].header.time)])
        size = shard_frames(self.grid(parts[0]).shape) if parts else 0
        while True:
            batch: list[list[FrameRef]] = []  # the parts of each time; the first is taken
            frames: dict[FrameRef, Frame] = {}
            while True:
                batch = [left for group in batch if (left := [part for part in group if part in self.good])]
                batch += islice(waiting, size - len(batch))
                taken = [group[0] for group in batch]
                need = [part for group in batch for part in group if self[part].pixels is None]
                if not need:
                    made_of = [f"{self[path, number].sha256}#{number}" for path, number in taken]
                    shard = self.shards.path(made_of)
                    need = [] if shard.exists() else [part for part in taken if part not in frames]
                if not need:
                    break
                for part in self._decoded(need, frames):
                    self.progress.advance(bar, part not in self.good)
            if not batch:
                return
            for group in batch:
                self._settle(group)
            if not shard.exists():
                self.shards.make([frames[part] for part in taken], made_of)
            self.progress.advance(bar, sum(map(len, batch)))
            yield taken, shard

    def header(self, part: FrameRef) -> FrameHeader:
        """Return the header of a frame in the store."""
        in_file = replace(self[part].header, grid=self.grid(part))
        source = as_text(source_name(part[0])) + self._suffix(part)
        return in_file.of_frame((self.params.z_r.a, self.params.z_r.b), source, self[part].sha256)

    def grid(self, part: FrameRef) -> Grid:
        """Return the grid of a frame in the store."""
        grid = self[part].header.grid
        return grid if self.params.regrid is None else target_grid(grid, self.params.regrid)

    def __getitem__(self, part: FrameRef) -> FrameRecord:
        return self.facts[part[0]][part[1]]

    def _found(self, path: Path, found: list[FrameRecord] | Members | str) -> list[Path]:
        """Take what is in a file, or reject it; return the members of an archive, which aren't looked into yet."""
        if isinstance(found, str):
            self._reject((path, 0), found)
        elif isinstance(found, dict):
            for name, reason in found.items():
                if reason is not None:
                    self._reject((path / name, 0), reason)
            return sorted(path / name for name, reason in found.items() if reason is None)
        else:
            self.facts[path] = found
            for number, record in enumerate(found):
                if record.reason is None:
                    self.good.add((path, number))
                else:
                    self._reject((path, number), record.reason)
        return []

    def _refusal(self, header: Header) -> str | None:
        """Return why a frame can't be in any store, if its header tells."""
        if header.refusal is None and self.params.regrid is not None:
            try:
                target_grid(header.grid, self.params.regrid)
            except UserError as error:
                return str(error)
        return header.refusal

    def _decoded(self, parts: list[FrameRef], frames: dict[FrameRef, Frame]) -> Iterator[FrameRef]:
        """Decode each part into ``frames`` and its facts, or reject it."""
        answers = decoders().map(decode, [(*part, self.params, self.hints, self[part].sha256) for part in parts])
        for part, answer in zip(parts, answers, strict=True):
            if isinstance(answer, Failure):
                self._reject(part, answer.reason)
                if not answer.passing:
                    self._remember(part, replace(self[part], reason=answer.reason))
                yield part
                continue
            frame, quality = answer
            if self.known.has_changed(part[0]):
                self._reject(part, "it changed while it was read")
            else:
                frames[part] = frame
                pixels = hashlib.sha256(frame.rain_rate.tobytes()).hexdigest()
                self._remember(part, replace(self[part], pixels=pixels, quality=quality))
            yield part

    def _remember(self, part: FrameRef, facts: FrameRecord) -> None:
        path, number = part
        self.facts[path][number] = facts
        self.known.put(path, self.facts[path])

    def _settle(self, group: list[FrameRef]) -> None:
        """Take the first of the parts of one time; another repeats it, or contradicts it and is rejected."""
        taken, *others = group
        for part in others:
            if self[part].pixels == self[taken].pixels:
                self.repeated += 1
            else:
                what = f"{self[part].header.time} UTC than {as_text(taken[0].name)}{self._suffix(taken)}"
                self._reject(part, f"conflict: other content for {what}, which is taken")

    def _reject(self, part: FrameRef, reason: str) -> None:
        if self.strict:
            raise UnreadableFile(as_text(part[0]) + self._suffix(part), reason)
        self.good.discard(part)
        self.rejected[as_text(part[0].relative_to(self.source)) + self._suffix(part)] = reason

    def _suffix(self, part: FrameRef) -> str:
        return f"#{part[1]}" if len(self.facts.get(part[0], [])) > 1 else ""

    def _order(self, part: FrameRef) -> tuple[np.datetime64, FrameRef]:
        return self[part].header.time, part


def _difference(header: Header, other: Header) -> str | None:
    """Return in words how ``other`` can't be in one store with ``header``; None if it can."""
    if header.grid is not other.grid and (words := header.grid.difference(other.grid)):
        return words
    return None if header.kind == other.kind else f"{other.kind}, not {header.kind}"


def radars_out(headers: Sequence[Header]) -> list[str]:
    """Return the names of the radars that are out in each frame: those of any that didn't contribute to this one.

    Empty for a frame whose file names no radars.
    """
    known = {name for header in headers for name in header.radars}
    return [
        "; ".join(sorted(name for name in known if not header.radars.get(name, False))) if header.radars else ""
        for header in headers
    ]


def _write_quality(frames: list[FrameHeader], qualities: list[Quality], out: list[str], table: Path) -> None:
    rows = [
        {"time": frame.time, "file": csv_cell(frame.source)} | asdict(quality) | {"radars_out": csv_cell(names)}
        for frame, quality, names in zip(frames, qualities, out, strict=True)
    ]
    with atomic_path(table) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, float_format="%.6g", date_format="%Y-%m-%dT%H:%M:%S")


def find_source(source: str) -> Path:
    """Return the folder named in params.yaml; where it isn't below the working directory, below the main checkout."""
    return Path(source) if Path(source).exists() else main_checkout() / source


def main(name: str, store: Path, quarantine: Path, quality: Path) -> None:
    """Ingest the archive NAME of params.yaml's ingest_radar.sources into STORE; tables are QUARANTINE and QUALITY."""
    params = read_params().ingest_radar
    ingest_radar(find_source(params.sources[name]), store, quarantine, quality, params)


if __name__ == "__main__":
    run(main)
