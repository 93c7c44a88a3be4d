"""Stage ``ingest_video``: a folder of videos in any known layout into one store of clips.

Videos are decoded in worker processes, side by side; what can't become a clip goes into a quarantine table with the
reason. What was decoded is kept in a hidden folder beside the store (outcomes, finished shards): a run that was killed
goes on from there, a later one decodes new videos alone, and the store is the same bytes however many runs made it.
"""

from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from pipelines.common.errors import UserError
from pipelines.common.executor import LOCAL, Executor, open_executor
from pipelines.common.files import as_text, atomic_path, exclusive
from pipelines.common.ingest_cache import IngestCache
from pipelines.common.limits import Limits
from pipelines.common.outcomes import Task, find_outcomes
from pipelines.common.provenance import code_sha256, find_source
from pipelines.common.quarantine import print_rejected, write_quarantine
from pipelines.common.shard_file import is_whole
from pipelines.common.splits import draw_splits, parted_groups
from pipelines.common.stage import run
from pipelines.common.text import printable
from pipelines.params.read import read_params
from pipelines.params.video import IngestVideo
from pipelines.video.clips import CHUNK, SHARD, assemble, shards_of
from pipelines.video.decode import Decoded, decode_clip, shard_path
from pipelines.video.frames import Decoding
from pipelines.video.layouts import Listing, Video, list_videos

# What is kept from one run to the next was made by these.
LIBRARIES = ("av", "numcodecs", "numpy", "opencv-python-headless")
DECODING = ("pipelines.video.decode", "pipelines.common.ingest_cache")


def ingest_video(source: Path, store: Path, quarantine: Path, params: IngestVideo, executor: Executor = LOCAL) -> int:
    """Write the videos below ``source`` to ``store``; return the rows of the quarantine table.

    Parameters
    ----------
    source : Path
        Folder; see `pipelines.video.layouts`.
    store : Path
        Zarr store, written whole or not at all; the same bytes for the same files. See `pipelines.video.clips`.
    quarantine : Path
        CSV with columns ``file`` (below ``source``) and ``reason``.
    executor : Executor
        Decodes.

    Raises
    ------
    UserError
        If there is no video that can become a clip, or another run is at work on the store.
    """
    listing = list_videos(source, split=params.official_split, group=params.group)
    decoding = Decoding(
        params.short_side, params.rate, params.min_frames, params.frame_folder_rate, params.flow == "store"
    )
    work = store.with_name(f".{store.name}.ingest")
    made_by = code_sha256(*DECODING, libraries=LIBRARIES) + repr(decoding)
    clip_cache = IngestCache(work, made_by, asdict, lambda plain: Decoded(**plain))
    with exclusive(work / ".lock", wait_s=1.0), closing(clip_cache) as cache:
        shards = work / "shards"
        shards.mkdir(exist_ok=True)
        rejected = {as_text(name): reason for name, reason in listing.rejected.items()}
        clips: list[tuple[Video, Decoded]] = []
        outcomes = find_outcomes(
            [_task(video, decoding, shards) for video in listing.videos],
            decode_clip,
            cache,
            lambda decoded: _is_whole(decoded, decoding, shards),
            Limits(params.max_memory_mb),
            "videos: frames",
            lambda decoded: decoded.frames,
            executor,
        )
        for video, outcome in zip(listing.videos, outcomes, strict=True):
            if isinstance(outcome, str):
                rejected[_named(video, source)] = outcome
            else:
                clips.append((video, outcome))
        clips, repeated = _without_repeats(clips, source, rejected)
        write_quarantine(rejected, quarantine)
        if not clips:
            name, reason = min(rejected.items())
            raise UserError(f"{source}: none of its {len(listing.videos)} videos is of use; {name}: {reason}")
        table = _table(listing, clips, source)
        table["split"] = draw_splits(
            table, validation_share=params.validation_share, test_share=params.test_share, seed=params.seed
        )
        files = {kind: [_shards_of(decoded, kind, shards) for _, decoded in clips] for kind in decoding.kinds}
        about = {
            "layout": listing.layout,
            "short_side": params.short_side,
            "rate": params.rate,
            "license": params.license,
        }
        with atomic_path(store) as temporary:
            assemble(table, files, listing.classes, about, temporary)
        cache.forget_others()
        wanted = {path for of_kind in files.values() for of_clip in of_kind for path in of_clip}
        for path in shards.iterdir():
            if path not in wanted:
                path.unlink()
    _tell(table, listing, rejected, repeated, quarantine)
    return len(rejected)


def _task(video: Video, decoding: Decoding, shards: Path) -> Task:
    arguments = (video.path.absolute(), video.start_s, video.end_s, decoding, shards.absolute())
    return Task(video.path, f"{video.start_s} {video.end_s}", arguments)


def _shards_of(decoded: Decoded, kind: str, shards: Path) -> list[Path]:
    return [shard_path(shards, decoded.key, kind, k) for k in range(shards_of(decoded.frames))]


def _is_whole(decoded: Decoded, decoding: Decoding, shards: Path) -> bool:
    paths = [path for kind in decoding.kinds for path in _shards_of(decoded, kind, shards)]
    return all(is_whole(path, SHARD // CHUNK) for path in paths)


def _without_repeats(
    clips: list[tuple[Video, Decoded]], source: Path, rejected: dict[str, str]
) -> tuple[list[tuple[Video, Decoded]], int]:
    """Take the first of videos of the same content: copies on both sides of a split would make it worthless.

    One that repeats another's label too is skipped and counted; one with another label contradicts it: rejected.
    """
    first: dict[str, Video] = {}
    taken, repeated = [], 0
    for video, decoded in clips:
        other = first.setdefault(decoded.key, video)
        if other is video:
            taken.append((video, decoded))
        elif other.label == video.label:
            repeated += 1
        else:
            rejected[_named(video, source)] = f"conflict: the content of {_named(other, source)}, a {other.label}"
    return taken, repeated


def _table(listing: Listing, clips: list[tuple[Video, Decoded]], source: Path) -> pd.DataFrame:
    number = {name: i for i, name in enumerate(listing.classes)}
    return pd.DataFrame(
        {
            "clip": as_text(video.path.relative_to(source).with_suffix("").as_posix()),
            "label": number[video.label],
            "label_name": video.label,
            "group": video.group,
            "split": video.split,
            "frames": decoded.frames,
            "height": decoded.height,
            "width": decoded.width,
            "fps": decoded.fps,
            "source": _named(video, source),
            "sha256": decoded.sha256,
        }
        for video, decoded in clips
    )


def _tell(table: pd.DataFrame, listing: Listing, rejected: dict[str, str], repeated: int, quarantine: Path) -> None:
    """Print a line for each video in quarantine, the first of many, and the summary."""
    print_rejected(rejected, quarantine)
    counts = table["split"].value_counts()
    parted = parted_groups(table)
    unseen = sorted(set(table["label_name"]) - set(table["label_name"][table["split"] == "train"]))
    line = (
        f"{len(table)} clips ({table['frames'].sum()} frames) of {table['label'].nunique()} classes"
        f" in {table['group'].nunique()} groups, layout {listing.layout}: "
        + ", ".join(f"{counts[name]} {name}" for name in ("train", "validation", "test", "unused") if name in counts)
        + (f", {repeated} repeated files skipped" if repeated else "")
        + (f"; the official lists part {len(parted)} groups ({', '.join(parted[:3])}, …)" if parted else "")
        + (f"; nothing to train on of {', '.join(unseen)}" if unseen else "")
        + f"; {len(rejected)} in quarantine"
        + (f": {quarantine}" if rejected else "")
    )
    print(printable(line))


def _named(video: Video, source: Path) -> str:
    part = "" if video.start_s is None else f"#{video.start_s:g}-{video.end_s:g}"
    return as_text(video.path.relative_to(source).as_posix()) + part


def main(store: Path, quarantine: Path) -> None:
    """Ingest the videos of params.yaml's ingest_video.source into STORE; what can't be read is in QUARANTINE."""
    params = read_params()
    source = find_source(params.ingest_video.source)
    with open_executor(**params.executor.model_dump()) as executor:
        ingest_video(source, store, quarantine, params.ingest_video, executor)


if __name__ == "__main__":
    run(main)
