"""Stage ``ingest_radar``: a folder of radar files into one store of frames.

A store has one grid and one kind of product: those of most files. Files of another, files that can't be read, and
files that contradict another of the same time (the first by name is taken) go into a quarantine table with the
reason. A file that repeats another's time and content is skipped.
"""

import csv
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from rich.progress import track

from pipelines.atomic import whole
from pipelines.errors import UnreadableFile, UserError
from pipelines.frame import Frame
from pipelines.frames import CLOCK, frames_dataset, missing_times, shard_frames
from pipelines.lineage import main_checkout
from pipelines.params import IngestRadar, read_params
from pipelines.readers import radar_files, read_frame, read_header
from pipelines.readers.measured import Header
from pipelines.stage import run

Rejected = dict[Path, str]  # reason by file


def ingest_radar(source: Path, store: Path, quarantine: Path, params: IngestRadar) -> None:
    """Write the frames of the radar files below ``source``, in time order, to ``store``.

    Parameters
    ----------
    source : Path
        Folder, searched with its subfolders.
    store : Path
        Zarr store, written whole or not at all; the same bytes for the same files.
    quarantine : Path
        CSV with columns ``file`` (below ``source``) and ``reason``.
    params : IngestRadar

    Raises
    ------
    UserError
        If there is no file that can become a frame.
    """
    files = radar_files(source)
    rejected: Rejected = {}
    headers = read_headers(files, rejected)
    keep_one_kind(headers, rejected)
    with whole(store) as temporary:
        frames = read_frames(headers, (params.z_r.a, params.z_r.b), rejected)
        time = write_frames(frames, temporary, params.license)
        write_quarantine(rejected, source, quarantine)
        if time.size == 0:
            path, reason = min(rejected.items())
            raise UserError(f"{source}: none of its {len(files)} files is of use; {path.name}: {reason}")
    repeated = len(files) - time.size - len(rejected)
    print(
        f"{time.size} frames from {time[0]} to {time[-1]} UTC"
        + (f", {repeated} repeated files skipped" if repeated else "")
        + f", {len(rejected)} files in quarantine"
        + (f": {quarantine}" if rejected else "")
    )


def read_headers(files: list[Path], rejected: Rejected) -> dict[Path, Header]:
    """Read the header of each file; those without one go into ``rejected``."""
    headers = {}
    for path in track(files, "read headers", transient=True):
        try:
            headers[path] = read_header(path)
        except UnreadableFile as error:
            rejected[path] = error.reason
    return headers


def keep_one_kind(headers: dict[Path, Header], rejected: Rejected) -> None:
    """Move all but those of the most common grid and kind of product, the first in time where equally common."""
    kinds: list[Header] = []
    kind_of: dict[Path, int] = {}
    for path in sorted(headers, key=lambda path: (headers[path].time, path)):
        of = (i for i, kind in enumerate(kinds) if difference(kind, headers[path]) is None)
        kind_of[path] = next(of, len(kinds))
        if kind_of[path] == len(kinds):
            kinds.append(headers[path])
    if not kinds:
        return
    most = Counter(kind_of.values()).most_common(1)[0][0]
    for path, kind in kind_of.items():
        if kind != most:
            rejected[path] = f"not as most files here: {difference(kinds[most], headers.pop(path))}"


def difference(header: Header, other: Header) -> str | None:
    """Say how ``other`` can't be in one store with ``header``; None if it can."""
    if header.grid is not other.grid and (words := header.grid.difference(other.grid)):
        return words
    return None if header.kind == other.kind else f"{other.kind}, not {header.kind}"


def read_frames(headers: dict[Path, Header], z_r: tuple[float, float], rejected: Rejected) -> Iterator[Frame]:
    """Read frames in time order, one a time; what can't be read or conflicts goes into ``rejected``."""
    paths = track(sorted(headers, key=lambda path: (headers[path].time, path)), "read frames", transient=True)
    for time, same_time in groupby(paths, key=lambda path: headers[path].time):
        taken: Frame | None = None
        for path in same_time:
            try:
                frame = read_frame(path, z_r)
            except UnreadableFile as error:
                rejected[path] = error.reason
                continue
            if frame.time != time or headers[path].grid.difference(frame.grid):
                rejected[path] = "it changed while it was read"
            elif taken is None:
                taken = frame
            elif not np.array_equal(frame.rain_rate, taken.rain_rate, equal_nan=True):
                rejected[path] = f"conflict: other content for {time} UTC than {taken.source}, which is taken"
        if taken is not None:
            yield taken


def write_frames(frames: Iterable[Frame], store: Path, license: str) -> NDArray[np.datetime64]:
    """Write frames to a new Zarr store, a shard at a time, and give their times."""
    frames = iter(frames)
    times: list[np.datetime64] = []
    batch = list(islice(frames, 1))
    if batch:
        batch += islice(frames, shard_frames(batch[0].grid.shape) - 1)
    while batch:
        dataset = frames_dataset(batch, license)
        if not times:
            dataset.to_zarr(store, mode="w-", zarr_format=3, consolidated=False)
        else:
            fixed = [name for name, variable in dataset.variables.items() if "time" not in variable.dims]
            dataset.drop_vars(fixed).to_zarr(store, append_dim="time", consolidated=False)
        times += [frame.time for frame in batch]
        batch = list(islice(frames, shard_frames(batch[0].grid.shape)))
    time = np.array(times, dtype="datetime64[s]")
    missing = missing_times(time)
    if missing is not None and missing.size:
        # What mlcast asks for where frames are missing; without a time zone, or its validator fails.
        named = xr.Variable(
            "missing_times", missing, {"standard_name": "time", "long_name": "times of missing frames"}, CLOCK
        )
        attributes = dict(zarr.open_group(store, mode="r").attrs) | {"consistent_timestep_start": str(time[0])}
        gaps = xr.Dataset(coords={"missing_times": named}, attrs=attributes)
        gaps.to_zarr(store, mode="a", consolidated=False)
    return time


def write_quarantine(rejected: Rejected, source: Path, quarantine: Path) -> None:
    """Write the table of rejected files, in order of their names."""
    with whole(quarantine) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["file", "reason"])
        for path, reason in sorted(rejected.items()):
            name = os.fsencode(path.relative_to(source)).decode("utf-8", "backslashreplace")
            table.writerow([name, reason])


def find_source(source: str) -> Path:
    """Folder named in params.yaml; where it isn't below the working directory, below the main checkout."""
    return Path(source) if Path(source).exists() else main_checkout() / source


def main(store: Path, quarantine: Path) -> None:
    """Ingest the radar files of params.yaml's ingest_radar.source into STORE; what can't be read is in QUARANTINE."""
    params = read_params().ingest_radar
    ingest_radar(find_source(params.source), store, quarantine, params)


if __name__ == "__main__":
    run(main)
