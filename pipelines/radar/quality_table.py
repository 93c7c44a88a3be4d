"""The tables beside a store: where they are, and the one of each frame's quality."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from io import StringIO
from pathlib import Path

import numpy as np

from pipelines.common.files import atomic_path
from pipelines.common.text import csv_cell
from pipelines.radar.quality import Quality


def tables_of(store: Path) -> tuple[Path, Path]:
    """Return a store's tables of quarantine and quality: beside it, or where the stage puts them."""
    beside = store.with_suffix(".quarantine.csv"), store.with_suffix(".quality.csv")
    folder = store.absolute().parent.with_name("quality")
    of_stage = folder / beside[0].name, folder / beside[1].name
    return of_stage if of_stage[1].exists() and not beside[1].exists() else beside


def radars_out(radars: Sequence[Mapping[str, bool]]) -> list[str]:
    """Return the names of the radars that are out in each frame: those of any that didn't contribute to this one.

    Empty for a frame whose file names no radars.
    """
    known = {name for of_frame in radars for name in of_frame}
    return [
        "; ".join(sorted(name for name in known if not of_frame.get(name, False))) if of_frame else ""
        for of_frame in radars
    ]


def quality_line(time: np.datetime64, source: str, quality: Quality) -> str:
    """Return a frame's line of the table, but for the radars that are out."""
    numbers = (getattr(quality, one.name) for one in fields(Quality))
    return _line(str(time), csv_cell(source), *map(_cell, numbers))


def write_quality(lines: Iterable[str], out: Iterable[str], table: Path) -> None:
    """Write a row a frame: its time and file, what `Quality` says, and the radars that were out, parted by ``; ``."""
    last = cache(lambda names: _line("", csv_cell(names)))  # few differ
    with atomic_path(table) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        stream.write(_line("time", "file", *(one.name for one in fields(Quality)), "radars_out") + "\n")
        stream.writelines(f"{line}{last(names)}\n" for line, names in zip(lines, out, strict=True))


def _line(*cells: str) -> str:
    line = StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def _cell(number: float) -> str:
    return str(number) if isinstance(number, int) else "" if np.isnan(number) else f"{number:.6g}"
