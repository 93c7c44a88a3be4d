"""Published forecasts for tests: the netCDF that verification reads, with nothing of how it is made."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from pipelines.radar.frame import Frame


def write_issued(out: Path, frames: Sequence[Frame], rain_rate: np.ndarray, *, step_s: int = 300, **said: Any) -> Path:
    """Write a forecast of shape (leads, H, W) that was made from ``frames``; give its file."""
    newest = frames[-1]
    folder = out / f"{str(newest.time).translate(str.maketrans('', '', '-:'))}Z"
    folder.mkdir(parents=True)
    lead = step_s * np.arange(1, len(rain_rate) + 1)
    reference = newest.time.astype("datetime64[ns]")
    xr.Dataset(
        {
            "rainfall_flux": (("lead_time", "y", "x"), rain_rate.astype(np.float32)),
            "crs": ((), 0, {"crs_wkt": newest.grid.crs.to_wkt()}),
        },
        {
            "lead_time": ("lead_time", lead),
            "time": ("lead_time", reference + lead.astype("timedelta64[s]")),
            "forecast_reference_time": ((), reference),
            "y": newest.grid.y,
            "x": newest.grid.x,
        },
        {
            "input_frames": json.dumps([{"time": str(f.time), "file": f.source, "sha256": f.sha256} for f in frames]),
            "title": "a forecast",
            "source": "scs: radar-nowcast version 3",
            "method": "scs",
            "model_uri": "models:/radar-nowcast@champion",
            "model_name": "radar-nowcast",
            "model_version": "3",
            "model_sha256": "ab" * 32,
            "code_commit": "unknown",
            "live_store_snapshot": "none",
            "missing_frames": "none",
            "policy": "{}",
            "fallback": "none",
        }
        | said,
    ).to_netcdf(folder / "forecast.nc", encoding={"rainfall_flux": {"zlib": True}})
    return folder / "forecast.nc"


def damage_pixels(path: Path) -> None:
    """Overwrite the first compressed chunk of ``rainfall_flux``, as a bad sector does: the file can still be opened."""
    with h5py.File(path) as file:
        chunk = file["rainfall_flux"].id.get_chunk_info(0)
    with path.open("r+b") as stream:
        stream.seek(chunk.byte_offset)
        stream.write(b"\xff" * chunk.size)
