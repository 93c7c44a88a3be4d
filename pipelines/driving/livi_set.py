"""LiVi-Set (DBNet): ``dvr_66x200/k.jpg``, and ``behavior.csv`` without a header, whose k-th row is of k.jpg.

The two columns are the wheel's angle in degrees and the speed in km/h, in an order that the file doesn't say. It is
told by ranges over all drives: the angle's has numbers below zero, to the one side, and a speed's has none.

References
----------
Chen et al. 2018, LiDAR-Video driving dataset, CVPR; https://github.com/driving-behavior/DBNet.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.common.errors import as_unreadable
from pipelines.common.limits import check_size
from pipelines.driving.rows import Read, Session, usable

LABELS, PICTURES, HIDDEN = "behavior.csv", "dvr_66x200", "hidden.csv"
BELOW_ZERO = 0.01  # share of a column's numbers from which on it isn't a speed
KM_H = 3.6


def read_columns(folder: Path) -> NDArray[np.float64]:
    """Read the two columns (N, 2) of a drive, but for a header if somebody wrote one.

    What is no number is NaN, and so is a row of more columns, as a decimal comma makes it.
    """
    file = folder / LABELS
    check_size(file.stat().st_size)
    rows = [line.split(",") for line in file.read_text(encoding="utf-8-sig").splitlines()]
    while rows and rows[-1] == [""]:
        rows.pop()
    if rows and all(field.strip() and np.isnan(_number(field)) and field.strip().lower() != "nan" for field in rows[0]):
        del rows[0]  # of two words; were it a row, all after it would be of the next picture
    return np.array([[_number(field) for field in row] if len(row) == 2 else [np.nan] * 2 for row in rows]).reshape(
        -1, 2
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def picture_numbers(folder: Path) -> list[int]:
    """Return the numbers of a drive's pictures, ascending; raises UnreadableFile if they can't be listed."""
    with as_unreadable(folder / PICTURES):
        stems = [path.stem for path in (folder / PICTURES).iterdir() if path.suffix == ".jpg"]
    return sorted(int(stem) for stem in stems if stem.isdecimal() and stem == str(int(stem)))


def below_zero(folder: Path) -> tuple[int, int, int]:
    """Return how many numbers of each column are below zero, and how many rows there are.

    Raises
    ------
    UnreadableFile
        If there is no such table.
    """
    with as_unreadable(folder / LABELS):
        columns = read_columns(folder)
    first, second = (int((column < 0).sum()) for column in columns.T)
    return first, second, len(columns)


def angle_column(counts: Sequence[tuple[int, int, int]]) -> int | None:
    """Return which column is the angle, from :func:`below_zero` of all drives; None where their ranges don't tell."""
    first, second, rows = (sum(of_all) for of_all in zip(*counts, strict=True)) if counts else (0, 0, 0)
    angles = [k for k, below in enumerate((first, second)) if below > BELOW_ZERO * rows]
    return angles[0] if len(angles) == 1 else None


def read_drive(folder: Path, name: str, angle_at: int, rate: float, split: str | None) -> Read:
    """Read what there is to know of a drive's frames, ``rate`` of them a second."""
    read = Read()
    columns = read_columns(folder)
    there = set(picture_numbers(folder))
    labelled = set(range(len(columns)))
    if there and (min(there), max(there)) == (1, len(columns)):
        raise ValueError(f"{PICTURES} has 1.jpg to {len(columns)}.jpg: row k is of k.jpg from 0 on")
    read.reject(name, labelled - there, f"{PICTURES} has no such picture")
    read.reject(name, there - labelled, f"no row of {LABELS} is of it")
    rows = sorted(labelled & there)
    hidden = _hidden(folder, len(columns))
    session = Session(
        *(name, "degrees", np.array(rows) / rate, columns[rows, angle_at], columns[rows, 1 - angle_at] / KM_H),
        pictures=[f"{PICTURES}/{k}.jpg" for k in rows],
        hidden=hidden[rows],
        numbers=rows,
        split=split,
    )
    usable(session, read)
    return read


def _hidden(folder: Path, rows: int) -> NDArray[np.bool_]:
    """Return in which rows the road is hidden: none where nobody says."""
    file = folder / HIDDEN
    if not file.is_file():
        return np.zeros(rows, bool)
    check_size(file.stat().st_size)
    marks = file.read_text(encoding="utf-8").split()
    if len(marks) != rows:
        raise ValueError(f"{HIDDEN} has {len(marks)} rows and {LABELS} {rows}")
    if unknown := set(marks) - {"0", "1"}:
        raise ValueError(f"{HIDDEN} has {min(unknown)!r}, which is neither 0 nor 1")
    return np.array([mark == "1" for mark in marks], bool)
