"""The tables beside a store: where they are, and the one of each frame's quality."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.common.files import atomic_path
from pipelines.common.text import csv_cell
from pipelines.radar.frame import FrameHeader
from pipelines.radar.quality import Quality
from pipelines.radar.readers.header import Header


def tables_of(store: Path) -> tuple[Path, Path]:
    """Return a store's tables of quarantine and quality: beside it, or where the stage puts them."""
    beside = store.with_suffix(".quarantine.csv"), store.with_suffix(".quality.csv")
    folder = store.absolute().parent.with_name("quality")
    of_stage = folder / beside[0].name, folder / beside[1].name
    return of_stage if of_stage[1].exists() and not beside[1].exists() else beside


def radars_out(headers: Sequence[Header]) -> list[str]:
    """Return the names of the radars that are out in each frame: those of any that didn't contribute to this one.

    Empty for a frame whose file names no radars.
    """
    known = {name for header in headers for name in header.radars}
    return [
        "; ".join(sorted(name for name in known if not header.radars.get(name, False))) if header.radars else ""
        for header in headers
    ]


def write_quality(frames: Sequence[FrameHeader], qualities: Sequence[Quality], out: Sequence[str], table: Path) -> None:
    """Write a row a frame: its time and file, what `Quality` says, and the radars that were out, parted by ``; ``."""
    columns = {
        "time": np.array([frame.time for frame in frames], "datetime64[s]"),
        "file": [csv_cell(frame.source) for frame in frames],
        **{one.name: [getattr(quality, one.name) for quality in qualities] for one in fields(Quality)},
        "radars_out": [csv_cell(names) for names in out],
    }
    with atomic_path(table) as temporary:
        pd.DataFrame(columns).to_csv(temporary, index=False, float_format="%.6g", date_format="%Y-%m-%dT%H:%M:%S")
