"""Published forecasts for tests: the netCDF that verification reads, with nothing of how it is made."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from pipelines.radar.frame import Frame

Exceedance = tuple[Sequence[float], np.ndarray]  # rates, and probabilities (leads, rates, H, W)


def write_issued(
    out: Path,
    frames: Sequence[Frame],
    rain_rate: np.ndarray,
    *,
    step_s: int = 300,
    exceedance: Exceedance | None = None,
    climatology: Sequence[float] | None = None,
    **said: Any,
) -> Path:
    """Write a forecast of shape (leads, H, W) that was made from ``frames``; give its file."""
    newest = frames[-1]
    folder = out / f"{str(newest.time).translate(str.maketrans('', '', '-:'))}Z"
    folder.mkdir(parents=True)
    lead = step_s * np.arange(1, len(rain_rate) + 1)
    reference = newest.time.astype("datetime64[ns]")
    variables: dict[str, Any] = {
        "rainfall_flux": (("lead_time", "y", "x"), rain_rate.astype(np.float32), {}, {"zlib": True}),
        "crs": ((), 0, {"crs_wkt": newest.grid.crs.to_wkt()}),
    }
    if exceedance is not None:
        rates, probability = exceedance
        dims = ("lead_time", "threshold", "y", "x")
        packed = {"dtype": "uint8", "scale_factor": np.float32(0.004), "_FillValue": 255, "zlib": True}
        variables["threshold"] = ("threshold", list(rates))
        variables["rainfall_flux_exceedance_probability"] = (dims, probability.astype(np.float32), {}, packed)
    if climatology is not None:
        variables["rainfall_flux_exceedance_climatology"] = ("threshold", list(climatology))
    xr.Dataset(
        variables,
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
    ).to_netcdf(folder / "forecast.nc")
    return folder / "forecast.nc"


def damage_pixels(path: Path, variable: str = "rainfall_flux") -> None:
    """Overwrite the first compressed chunk of a variable, as a bad sector does: the file can still be opened."""
    with h5py.File(path) as file:
        chunk = file[variable].id.get_chunk_info(0)
    with path.open("r+b") as stream:
        stream.seek(chunk.byte_offset)
        stream.write(b"\xff" * chunk.size)
