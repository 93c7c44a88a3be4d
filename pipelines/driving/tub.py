"""donkeycar's tubs: ``manifest.json`` names catalogs, each a record a line, and the pictures are in ``images/``.

The angle is a share of full lock, positive to the right. Where a tub was moved, paths in it are another machine's: a
file is looked for by its name in the tub, and nowhere else.

References
----------
https://docs.donkeycar.com, the Tub v2 format.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.common.limits import check_size
from pipelines.driving.rows import Read, Session, usable

MANIFEST, IMAGES = "manifest.json", "images"
ANGLE, PICTURE, MODE, SESSION, TIME, INDEX = (
    "user/angle", "cam/image_array", "user/mode", "_session_id", "_timestamp_ms", "_index",
)  # fmt: skip


def read_tub(folder: Path, name: str) -> Read:
    """Read what there is to know of a tub's frames: a session for each time that somebody drove."""
    read = Read()
    catalogs, deleted = _manifest(folder)
    sessions: dict[str, list[tuple[int, float, float, str]]] = {}
    bad: dict[str, list[int]] = {}
    for catalog in catalogs:
        if not (folder / catalog).is_file():
            read.rejected[f"{name}/{catalog}"] = "the manifest names it, and it isn't there"
            continue
        check_size((folder / catalog).stat().st_size)
        for number, line in enumerate((folder / catalog).read_bytes().splitlines()):
            try:
                record = json.loads(line)
                index = int(record[INDEX])
            except (ValueError, KeyError, TypeError, RecursionError):
                read.rejected[f"{name}/{catalog}#{number}"] = "no record that can be read"
                continue
            if index in deleted:
                continue
            if reason := _wrong(record, folder):
                bad.setdefault(reason, []).append(index)
                continue
            row = index, float(record.get(TIME) or np.nan) / 1000, float(record[ANGLE]), Path(record[PICTURE]).name
            sessions.setdefault(str(record.get(SESSION, "")), []).append(row)
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


def _manifest(folder: Path) -> tuple[list[str], set[int]]:
    """Return the names of a tub's catalogs and the indexes of deleted records."""
    file = folder / MANIFEST
    check_size(file.stat().st_size)
    try:
        about = json.loads(file.read_bytes().splitlines()[4])
        return [Path(path).name for path in about["paths"]], {int(index) for index in about.get("deleted_indexes", [])}
    except (ValueError, LookupError, TypeError, RecursionError):
        raise ValueError(f"{MANIFEST} is none of a tub: its fifth line should name the catalogs") from None


def _wrong(record: dict[str, Any], folder: Path) -> str | None:
    """Return in words what is wrong with a record."""
    if not isinstance(record.get(ANGLE), int | float) or isinstance(record.get(ANGLE), bool):
        return f"no number for {ANGLE}"
    if record.get(MODE, "user") != "user":
        return "not driven by hand"
    if not isinstance(record.get(PICTURE), str):
        return f"no name for {PICTURE}"
    if not (folder / IMAGES / Path(record[PICTURE]).name).is_file():
        return f"its picture isn't in {IMAGES}/"
    if not isinstance(record.get(TIME), int | float):
        return f"no number for {TIME}"
    return None
