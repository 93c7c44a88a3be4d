"""Radar files for tests: frames as ODIM_H5."""

import os
from pathlib import Path

import numpy as np

from pipelines.radar.frame import Frame
from pipelines.radar.odim_writer import write_composite


def write_file(folder: Path, frame: Frame, *, name: str | None = None, age_s: float = 60.0) -> Path:
    """Write a frame's reflectivity (Z = 200 R^1.6, half a dBZ a step) to a file that was last changed ``age_s`` ago."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = str(frame.time).translate(str.maketrans("", "", "-:"))
    path = folder / (name or f"radar_{stamp}.h5")
    with np.errstate(divide="ignore"):
        dbz = 10 * np.log10(200 * frame.rain_rate.astype(float) ** 1.6)
    write_composite(path, dbz, frame.time, frame.grid, scan_s=0, how={})
    changed = path.stat().st_mtime - age_s
    os.utime(path, (changed, changed))
    return path
