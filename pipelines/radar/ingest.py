"""Stage ``ingest_radar``: a folder of radar files into one store of frames.

A store has one grid and one kind of product: those of most frames. Frames of another, files that can't be read, and
frames that contradict another of the same time (the first by name is taken) go into a quarantine table with the
reason. A frame that repeats another's time and content is skipped.

What was decoded is kept in a hidden folder beside the store (records of each file, finished shards): a run that was
killed goes on from there, a later one reads new files alone, and the store is the same bytes however many runs made it.
"""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from pipelines.common.errors import UserError
from pipelines.common.executor import LOCAL, Executor, open_executor
from pipelines.common.files import atomic_path, exclusive
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
from pipelines.radar.shards import Shards, assemble

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
    files = radar_files(source, stores=True)
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
        ingestion = Ingestion(source, cache, Shards(work / "shards"), params, archive, strict, progress, executor)
        ingestion.read_headers(files)
        ingestion.keep_one_kind()
        finished = list(ingestion.finished_shards())
        write_quarantine(ingestion.rejected, quarantine)
        if not finished:
            name, reason = min(ingestion.rejected.items())
            raise UserError(f"{source}: none of its {len(ingestion.files)} files is of use; {name}: {reason}")
        rows = [row for rows, _ in finished for row in rows]
        refs = [row for row in rows if isinstance(row, tuple)]
        frames = [ingestion.header(ref) for ref in refs]
        headers, nothing = iter(frames), replace(frames[0], source="", sha256="")
        in_rows = [next(headers) if isinstance(row, tuple) else replace(nothing, time=row) for row in rows]
        qualities = [found for ref in refs if (found := ingestion[ref].quality)]
        with atomic_path(store, durable=False) as temporary:  # which assembling sees to
            assemble(in_rows, [shard for _, shard in finished], temporary, Rights(params.license, params.attribution))
        write_quality(frames, qualities, radars_out([ingestion[ref].header for ref in refs]), quality)
        cache.forget_others()
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


def main(name: str, store: Path, quarantine: Path, quality: Path) -> None:
    """Ingest the archive NAME of params.yaml's ingest_radar.sources into STORE; tables are QUARANTINE and QUALITY."""
    params = read_params()
    source = find_source(params.ingest_radar.sources[name])
    with open_executor(**params.executor.model_dump()) as executor:
        ingest_radar(source, store, quarantine, quality, params.ingest_radar, executor=executor)


if __name__ == "__main__":
    run(main)
