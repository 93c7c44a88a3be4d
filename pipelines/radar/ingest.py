"""Stage ``ingest_radar``: a folder of radar files into one store of frames.

A store has one grid and one kind of product: those of most frames. Frames of another, files that can't be read, and
frames that contradict another of the same time (the first by name is taken) go into a quarantine table with the
reason. A frame that repeats another's time and content is skipped.

What was decoded is kept in a hidden folder beside the store (records of each file, finished shards, links of the store
that was replaced): a run that was killed goes on from there, a later one reads new files alone and looks into shards
that these are of, and the store is the same bytes however many runs made it.
"""

from contextlib import closing
from pathlib import Path

import numpy as np

from pipelines.common.errors import UserError
from pipelines.common.executor import LOCAL, Executor, open_executor
from pipelines.common.files import atomic_path, entries, exclusive
from pipelines.common.progress import progress_bars
from pipelines.common.provenance import code_sha256, find_source
from pipelines.common.quarantine import write_quarantine
from pipelines.common.rights import Rights
from pipelines.common.stage import run
from pipelines.params.radar import Archive, IngestRadar
from pipelines.params.read import read_params
from pipelines.radar.ingest_cache import FrameCache
from pipelines.radar.ingestion import Ingestion
from pipelines.radar.quality_table import radars_out, write_quality
from pipelines.radar.readers.read import radar_files
from pipelines.radar.shards import Shards, assemble, link_shards, pixels_inside
from pipelines.radar.store import Rows
from pipelines.radar.unchanged_shards import unchanged_shards

# What is kept from one run to the next was made by these.
LIBRARIES = ("h5py", "numpy", "pillow", "pyproj", "rasterio", "xarray", "zarr")
DECODING = ("pipelines.radar.shard_task", "pipelines.radar.ingest_cache")

LIMITS = ("max_file_mb", "max_unpacked_mb", "max_memory_mb")  # what is too large for these isn't kept

QUARANTINE_STATUS = 10  # exit status of `scs ingest`, and one more for each file in quarantine


def ingest_radar(
    source: Path,
    store: Path,
    quarantine: Path,
    quality: Path,
    params: IngestRadar,
    *,
    strict: bool = False,
    executor: Executor = LOCAL,
) -> int:
    """Write the radar files below ``source`` to ``store``, in time order; return the rows of the quarantine table.

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
    executor : Executor
        Reads headers and makes shards.

    Raises
    ------
    UserError
        If there is no file that can become a frame, another run is at work on the store, or the run is strict.
    """
    if not source.is_dir():
        raise UserError(f"{source}: no such folder")
    work = store.with_name(f".{store.name}.ingest")
    # What the user says of this archive counts as if it stood in the section.
    archive = params.archives.get(store.stem, Archive())
    params = params.model_copy(
        update={
            "z_r": archive.z_r or params.z_r,
            "regrid": archive.regrid or params.regrid,
            "license": archive.licence or params.license,
            "attribution": archive.attribution or (None if archive.licence else params.attribution),
        }
    )
    made_by = (
        code_sha256(*DECODING, libraries=LIBRARIES)
        + params.model_dump_json(exclude={"sources", "archives", "license", "attribution", *LIMITS})
        + archive.model_dump_json(exclude={"licence", "attribution"})
    )
    with (
        exclusive(work / ".lock", wait_s=1.0),
        closing(FrameCache(work, made_by)) as cache,
        progress_bars() as progress,
    ):
        shards, found = Shards(work / "shards"), list(entries(source))
        unchanged = unchanged_shards(found, source, cache, shards.names())
        ingestion = Ingestion(source, unchanged, cache, shards, params, archive, strict, progress, executor)
        ingestion.read_headers(radar_files(source, stores=True, among=unchanged.others(found)))
        ingestion.keep_one_kind()
        finished = list(ingestion.finished_shards())
        write_quarantine(ingestion.rejected, quarantine)
        if not finished:
            name, reason = min(ingestion.rejected.items())
            raise UserError(f"{source}: none of its {len(ingestion.files)} files is of use; {name}: {reason}")
        seconds, sources, sha256, lines, radars = (
            [one for shard in finished for one in getattr(shard, name)]
            for name in ("seconds", "sources", "sha256", "lines", "radars")
        )
        rows = Rows(ingestion.first_header(), np.array(seconds, "datetime64[s]"), sources, sha256)
        paths = [shards.folder / shard.name for shard in finished]
        replaced = work / "replaced"
        with atomic_path(store, durable=False, replaced=replaced) as temporary:  # assembling forces it to the disk
            assemble(rows, paths, temporary, Rights(params.license, params.attribution), replaced)
        write_quality(lines, radars_out(radars), quality)
        cache.keep_shards(source, finished, but=unchanged.shards)
        if replaced.exists() and pixels_inside(replaced):
            link_shards(paths, replaced)  # for the next run; and what is in no store any more is gone
        shards.remove_all_but(set(paths))
    times = np.array([second for shard in finished for second in shard.times], "datetime64[s]")
    clipped = sum(shard.clipped for shard in finished)
    print(
        f"{times.size} frames from {times[0]} to {times[-1]} UTC"
        + (f", {ingestion.repeated} repeated files skipped" if ingestion.repeated else "")
        + (f", {clipped} pixels above {params.max_rate:g} mm/h" if clipped else "")
        + f", {len(ingestion.rejected)} files in quarantine"
        + (f": {quarantine}" if ingestion.rejected else "")
    )
    return len(ingestion.rejected)


def main(name: str, store: Path, quarantine: Path, quality: Path) -> None:
    """Ingest the archive NAME of params.yaml's ingest_radar.sources into STORE; tables are QUARANTINE and QUALITY."""
    params = read_params()
    source = find_source(params.ingest_radar.sources[name])
    with open_executor(**params.executor.model_dump()) as executor:
        ingest_radar(source, store, quarantine, quality, params.ingest_radar, executor=executor)


if __name__ == "__main__":
    run(main)
