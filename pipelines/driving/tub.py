"""donkeycar's tubs: ``manifest.json`` names catalogs, each a record a line, and the pictures are in ``images/``.

The angle is a share of full lock, positive to the right. Where a tub was moved, paths in it are another machine's: a
file is looked for by its name in the tub, and nowhere else.

References
----------
https://docs.donkeycar.com, the Tub v2 format.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.common.errors import as_unreadable
from pipelines.common.files import no_file_inside
from pipelines.common.limits import check_size
from pipelines.common.text import printable
from pipelines.driving.rows import Read, Session, usable

MANIFEST, IMAGES = "manifest.json", "images"
ANGLE, PICTURE, MODE, SESSION, TIME, INDEX = (
    "user/angle", "cam/image_array", "user/mode", "_session_id", "_timestamp_ms", "_index",
)  # fmt: skip


def read_tub(folder: Path, name: str) -> Read:
    """Read what there is to know of a tub's frames: a session for each time that somebody drove."""
    read = Read()
    catalogs, deleted = read_manifest(folder)
    sessions: dict[str, list[tuple[int, float, float, str]]] = {}
    bad: dict[str, list[int]] = {}
    for catalog in catalogs:
        if not _is_file(folder / catalog):
            read.rejected[f"{name}/{catalog}"] = "the manifest names it, and it isn't there"
            continue
        if words := no_file_inside(folder / catalog, folder):
            read.rejected[f"{name}/{catalog}"] = words
            continue
        for number, record in enumerate(_records(folder / catalog)):
            if record is None:
                read.rejected[f"{name}/{catalog}#{number}"] = "no record that can be read"
                continue
            index = int(record[INDEX])
            if index in deleted:
                continue
            if reason := _wrong(record, folder):
                bad.setdefault(reason, []).append(index)
                continue
            row = index, _seconds(record), _number(record[ANGLE]), file_name(record[PICTURE])
            sessions.setdefault(printable(record.get(SESSION, "")), []).append(row)
    for reason, indexes in bad.items():
        read.reject(name, indexes, reason)
    for key, rows in sessions.items():
        numbers, time, angle, pictures = (list(column) for column in zip(*rows, strict=True))
        none = np.full(len(rows), np.nan)
        session = Session(
            *(f"{name}/{key}" if key else name, "share of full lock", np.array(time), np.array(angle), none),
            pictures=[f"{IMAGES}/{picture}" for picture in pictures],
            hidden=np.zeros(len(rows), bool),
            numbers=numbers,
        )
        usable(session, read)
    if not sessions and not read.rejected:
        read.rejected[name] = "no record in it"
    return read


def file_name(path: str) -> str:
    """Return the last part of a path of any system."""
    return re.split(r"[\\/]", path)[-1]


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - false for a name that no file can have; Path raises


def read_manifest(folder: Path) -> tuple[list[str], set[int]]:
    """Return the names of a tub's catalogs and the indexes of deleted records."""
    file = folder / MANIFEST
    check_size(file.stat().st_size)
    try:
        about = json.loads(file.read_bytes().splitlines()[4])
        return [file_name(path) for path in about["paths"]], {int(index) for index in about.get("deleted_indexes", [])}
    except (ValueError, LookupError, TypeError, RecursionError, OverflowError):
        raise ValueError(f"{MANIFEST} is none of a tub: its fifth line should name the catalogs") from None


def manifest_of(folder: Path) -> tuple[list[str], set[int]]:
    """Return the catalogs that are there, and the indexes of deleted records; raises UnreadableFile if it is no tub."""
    with as_unreadable(folder):
        catalogs, deleted = read_manifest(folder)
        return [catalog for catalog in catalogs if _is_file(folder / catalog)], deleted


def read_pictures(folder: Path, catalog: str, deleted: set[int]) -> list[tuple[float, str]]:
    """Return time and picture of a catalog's records, whatever else there is in them: what steering needs."""
    with as_unreadable(folder / catalog):
        records = [record for record in _records(folder / catalog) if record and int(record[INDEX]) not in deleted]
    named = [record for record in records if isinstance(record.get(PICTURE), str)]
    return [(_seconds(record), f"{IMAGES}/{file_name(record[PICTURE])}") for record in named]


def _records(catalog: Path) -> Iterator[dict[str, Any] | None]:
    """Yield a catalog's records; None for one that can't be read."""
    check_size(catalog.stat().st_size)
    for line in catalog.read_bytes().splitlines():
        try:
            record = json.loads(line)
            int(record[INDEX])
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
            record = None
        yield record


def _seconds(record: dict[str, Any]) -> float:
    return _number(record.get(TIME)) / 1000


def _number(value: Any) -> float:
    """Return a number of JSON, which may be larger than any float; NaN for what is none."""
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else np.nan
    except OverflowError:
        return np.nan


def _wrong(record: dict[str, Any], folder: Path) -> str | None:
    """Return in words what is wrong with a record."""
    if np.isnan(_number(record.get(ANGLE))):
        return f"no number for {ANGLE}"
    if record.get(MODE, "user") != "user":
        return "not driven by hand"
    if not isinstance(record.get(PICTURE), str):
        return f"no name for {PICTURE}"
    if not _is_file(folder / IMAGES / file_name(record[PICTURE])):
        return f"its picture isn't in {IMAGES}/"
    if np.isnan(_number(record.get(TIME))):
        return f"no number for {TIME}"
    return None
