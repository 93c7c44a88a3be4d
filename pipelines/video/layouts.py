"""How folders of videos say what is in them: UCF-101, HMDB-51, Kinetics, a folder a class.

The layout is told by the lists that a folder has. Below it a video is a file, or a folder of pictures.
"""

import csv
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipelines.common.errors import UserError
from pipelines.common.files import as_text
from pipelines.common.limits import MB
from pipelines.common.splits import SPLITS
from pipelines.video.walk import VIDEOS, walk

MOST_LIST_MB = 64  # Kinetics-700's 545,000 rows take half
MOST_HEADER = 1 << 16  # characters of a table's first line
GROUP = re.compile(r"_(g\d+)_")  # v_CLASS_gNN_cNN, as UCF-101 has it


@dataclass(frozen=True)
class Video:
    """A video that a folder names.

    Parameters
    ----------
    path : Path
        A file, or a folder of pictures.
    label : str
        Name of its class.
    group : str
        What it was cut from; clips of one group belong together.
    split : str or None
        train, validation, test or unused, where the lists say so.
    start_s, end_s : float or None
        The part of it that is meant, seconds.
    """

    path: Path
    label: str
    group: str
    split: str | None = None
    start_s: float | None = None
    end_s: float | None = None


@dataclass
class Listing:
    """What a folder of videos has.

    Parameters
    ----------
    layout : str
        Name of the layout.
    videos : list of Video
        In the order of their paths.
    classes : list of str
        In the order of their numbers.
    rejected : dict of str
        Reasons by name: what is listed and isn't there, or is there and isn't listed.
    """

    layout: str
    videos: list[Video]
    classes: list[str]
    rejected: dict[str, str] = field(default_factory=dict)


def list_videos(folder: Path, *, split: int, group: str | None) -> Listing:
    """List the videos below ``folder``.

    Parameters
    ----------
    split : int
        Which of the official lists, where there are several.
    group : str or None
        Regular expression, found in a video's path below ``folder``; its first group says what the video was cut
        from. None for the layout's own.

    Raises
    ------
    UserError
        If the folder isn't there, there is no video in it, or a list can't be understood.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    entries, lists, unread = walk(folder)
    if not entries and not unread:
        raise UserError(f"{folder}: no video in it")
    if "classInd.txt" in lists:
        found = _ucf101(folder, entries, lists, split)
    elif any(re.fullmatch(r".+_test_split\d\.txt", name) for name in lists):
        found = _hmdb51(folder, entries, lists, split)
    elif tables := [path for path in lists.values() if path.suffix == ".csv" and "youtube_id" in _columns(path)]:
        found = _kinetics(folder, entries, tables)
    else:
        found = _folders(folder, entries)
    if group is not None:
        found.videos = [_regrouped(video, folder, re.compile(group)) for video in found.videos]
    found.videos = [replace(v, label=as_text(v.label), group=as_text(v.group)) for v in found.videos]
    found.rejected |= {path.relative_to(folder).as_posix(): words for path, words in unread.items()}
    found.videos.sort(key=lambda video: os.fsencode(video.path))
    found.classes = [as_text(name) for name in found.classes]
    return found


def _name(path: Path) -> str:
    return path.stem if path.suffix.lower() in VIDEOS else path.name


def _group(path: Path) -> str:
    found = GROUP.search(path.name)
    return found[1] if found else _name(path)


def _regrouped(video: Video, folder: Path, pattern: re.Pattern[str]) -> Video:
    found = pattern.search(video.path.relative_to(folder).as_posix())
    if found is None:
        raise UserError(f"params.yaml: ingest_video.group: {pattern.pattern!r} isn't in {video.path}")
    return replace(video, group=found[1] or "")


@contextmanager
def _understood(path: Path) -> Iterator[None]:
    """Turn what is wrong with a list into `UserError`."""
    try:
        yield
    except UnicodeDecodeError:
        raise UserError(f"{path}: a list is UTF-8 text, and this isn't") from None
    except (OSError, csv.Error) as error:
        raise UserError(f"{path}: {error}") from None


def _check_length(path: Path) -> None:
    if path.stat().st_size > MOST_LIST_MB * MB:
        raise UserError(f"{path}: too large: a list has at most {MOST_LIST_MB} MB")


def _rows(path: Path, words: int) -> Iterator[list[str]]:
    with _understood(path):
        _check_length(path)
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    for line in lines:
        if row := line.split():
            if len(row) < words:
                raise UserError(f"{path}: {line.strip()!r}: {words} words are wanted")
            yield row


def _ucf101(folder: Path, entries: list[Path], lists: dict[str, Path], split: int) -> Listing:
    """classInd.txt, trainlist0N.txt, testlist0N.txt; a video is known by its name without the ending."""
    rows = list(_rows(lists["classInd.txt"], 2))
    if wrong := [row for row in rows if not re.fullmatch(r"\d{1,9}", row[0])]:
        raise UserError(f"{lists['classInd.txt']}: {' '.join(wrong[0])!r}: a number and a class are wanted")
    classes = [row[1] for row in sorted(rows, key=lambda row: int(row[0]))]
    split_of: dict[str, str] = {}
    label_of: dict[str, str] = {}
    for name, to in (("trainlist", "train"), ("testlist", "test")):
        path = lists.get(f"{name}{split:02d}.txt")
        if path is None:
            raise UserError(f"{folder}: no {name}{split:02d}.txt; ingest_video.official_split says that there is one")
        for row in _rows(path, 1):
            listed = Path(row[0])
            split_of[listed.stem], label_of[listed.stem] = to, (*listed.parts, "")[0]
    return _listed("ucf101", folder, entries, classes, split_of, label_of)


def _hmdb51(folder: Path, entries: list[Path], lists: dict[str, Path], split: int) -> Listing:
    """CLASS_test_splitN.txt, with 1 for train, 2 for test, 0 for neither; names are TITLE_CLASS_how_it_was_filmed."""
    split_of: dict[str, str] = {}
    label_of: dict[str, str] = {}
    classes = []
    for name, path in sorted(lists.items()):
        if found := re.fullmatch(rf"(.+)_test_split{split}\.txt", name):
            classes.append(found[1])
            for row in _rows(path, 2):
                stem = Path(row[0]).stem
                split_of[stem], label_of[stem] = {"1": "train", "2": "test"}.get(row[1], "unused"), found[1]
    if not classes:
        raise UserError(f"{folder}: no list CLASS_test_split{split}.txt; see ingest_video.official_split")
    found_all = _listed("hmdb51", folder, entries, classes, split_of, label_of)
    found_all.videos = [
        Video(video.path, video.label, _name(video.path).split(f"_{video.label}_")[0], video.split)
        for video in found_all.videos
    ]
    return found_all


def _listed(
    layout: str,
    folder: Path,
    entries: list[Path],
    classes: list[str],
    split_of: dict[str, str],
    label_of: dict[str, str],
) -> Listing:
    if unknown := sorted(set(label_of.values()) - set(classes)):
        raise UserError(f"{folder}: its lists have the class {unknown[0]}, which classInd.txt hasn't")
    listing = Listing(layout, [], classes)
    there: set[str] = set()
    for path in entries:
        name = _name(path)
        if name not in split_of or name in there:
            reason = "in none of the lists" if name not in split_of else "another of this name is taken"
            listing.rejected[path.relative_to(folder).as_posix()] = reason
        else:
            listing.videos.append(Video(path, label_of[name], _group(path), split_of[name]))
        there.add(name)
    for name in sorted(split_of.keys() - there):
        listing.rejected[name] = "missing: it is in a list, and there is no such file"
    return listing


def _columns(table: Path) -> list[str]:
    with _understood(table), table.open(encoding="utf-8-sig", errors="replace") as stream:
        return next(csv.reader([stream.readline(MOST_HEADER)]), [])


def _kinetics(folder: Path, entries: list[Path], tables: list[Path]) -> Listing:
    """CSV with label, youtube_id, time_start, time_end, split; files ID_START_END (trimmed), or ID (cut here)."""
    by_name = {_name(path): path for path in entries}
    listing = Listing("kinetics", [], [])
    used = set()
    for table in tables:
        with _understood(table), table.open(encoding="utf-8-sig", newline="") as stream:
            _check_length(table)
            for row in csv.DictReader(stream):
                youtube_id, label = row["youtube_id"], row.get("label") or ""
                try:
                    start, end = float(row["time_start"]), float(row["time_end"])
                except (KeyError, TypeError, ValueError):
                    raise UserError(f"{table}: {youtube_id}: time_start and time_end are no seconds") from None
                split = SPLITS.get((row.get("split") or table.stem).lower())
                if split is None:
                    raise UserError(f"{table}: {youtube_id}: {row.get('split')!r} is no split")
                name = f"{youtube_id}_{start:06.0f}_{end:06.0f}"
                if name in used:
                    continue
                used.add(name)
                if not 0 <= start < end < math.inf:
                    listing.rejected[name] = f"{start:g} to {end:g} s is no part of a video"
                elif not label:
                    listing.rejected[name] = f"no label in {table.name}"
                elif trimmed := by_name.get(name):
                    listing.videos.append(Video(trimmed, label, youtube_id, split))
                elif full := by_name.get(youtube_id):
                    listing.videos.append(Video(full, label, youtube_id, split, start, end))
                else:
                    listing.rejected[name] = f"missing: it is in {table.name}, and there is no such file"
    listed = {video.path for video in listing.videos}
    for path in entries:
        if path not in listed:
            listing.rejected[path.relative_to(folder).as_posix()] = "in none of the lists"
    listing.classes = sorted({video.label for video in listing.videos})
    return listing


def _folders(folder: Path, entries: list[Path]) -> Listing:
    """CLASS/VIDEO, or train/CLASS/VIDEO, val/CLASS/VIDEO, test/CLASS/VIDEO; a frame folder is a VIDEO."""
    listing = Listing("folders", [], [])
    tops = {part.lower() for path in entries for part in path.relative_to(folder).parts[:1]}
    official = tops <= SPLITS.keys()
    for path in entries:
        above = path.relative_to(folder).parts[:-1]
        if len(above) < 1 + official:
            listing.rejected[path.relative_to(folder).as_posix()] = "in no class's folder"
            continue
        split = SPLITS[above[0].lower()] if official else None
        listing.videos.append(Video(path, above[official], _group(path), split))
    listing.classes = sorted({video.label for video in listing.videos})
    return listing
