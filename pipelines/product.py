"""A forecast as a CF dataset and as files that are whole or absent."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import xarray as xr

from pipelines.atomic import whole
from pipelines.errors import UserError
from pipelines.forecasters import Rain
from pipelines.frame import Frame
from pipelines.frames import crs_attributes, grid_coordinates
from pipelines.lineage import code_commit
from pipelines.maps import draw_maps, few_leads
from pipelines.tracking.registry import LoadedModel

NETCDF, PICTURE = "forecast.nc", "forecast.png"
SECONDS = {"dtype": "int64", "units": "seconds since 1970-01-01", "calendar": "standard", "_FillValue": None}


def stamp(time: np.datetime64) -> str:
    """Time as folders and files are named after it: 20160928T164500Z."""
    return f"{time.astype('datetime64[s]').astype(datetime):%Y%m%dT%H%M%SZ}"


def forecast_dataset(
    rain_rate: Rain, frames: Sequence[Frame], step_s: int, model: LoadedModel, snapshot: str
) -> xr.Dataset:
    """Put a forecast on its grid and clock, with what it was made from.

    Parameters
    ----------
    rain_rate : ndarray of shape (leads, H, W), mm/h
    frames : sequence of Frame
        The observed frames used, oldest first.
    step_s : int
        Seconds from one lead time to the next.
    model : LoadedModel
    snapshot : str
        State of the live store that the frames were read from; "none" for a folder of files.

    Returns
    -------
    Dataset
        Dims (lead_time, y, x), CF-1.11.
    """
    newest = frames[-1]
    reference = newest.time.astype("datetime64[ns]")
    lead = np.arange(1, len(rain_rate) + 1) * np.int64(step_s)
    of_time = {"units_metadata": "leap_seconds: none"}
    dataset = xr.Dataset(
        {
            "rainfall_flux": (
                ("lead_time", "y", "x"),
                rain_rate.astype(np.float32),
                {
                    "standard_name": "rainfall_flux",
                    "long_name": "forecast rain rate",
                    "units": "kg m-2 h-1",
                    "grid_mapping": "crs",
                    "cell_methods": f"lead_time: {'mean' if newest.interval_s else 'point'} area: mean",
                },
            ),
            "crs": ((), np.int32(0), crs_attributes(newest.grid.crs)),
        },
        coords={
            **grid_coordinates(newest.grid),
            "lead_time": (
                "lead_time",
                lead,
                {"standard_name": "forecast_period", "long_name": "lead time", "units": "s"},
            ),
            "forecast_reference_time": (
                (),
                reference,
                {"standard_name": "forecast_reference_time", "long_name": "time of the newest frame"} | of_time,
            ),
            "time": (
                "lead_time",
                reference + lead.astype("timedelta64[s]"),
                {"standard_name": "time", "long_name": "valid time", "time_is": newest.time_is} | of_time,
            ),
        },
        attrs={
            "Conventions": "CF-1.11",
            "title": f"Radar nowcast from {stamp(newest.time)}",
            "institution": "not stated",
            "source": f"{model.method}: {model.name} version {model.version}",
            "history": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} scs forecast",
            "references": "Pang et al. 2020, arXiv:2006.00212",
            "comment": "rain rate in mm/h, which kg m-2 h-1 is in number; NaN where nothing is known",
            "method": model.method,
            "model_uri": model.uri,
            "model_name": model.name,
            "model_version": model.version,
            "model_sha256": model.sha256,
            "code_commit": code_commit(),
            "live_store_snapshot": snapshot,
            "input_frames": json.dumps([{"time": str(f.time), "file": f.source, "sha256": f.sha256} for f in frames]),
            "missing_frames": "none",
        },
    )
    if newest.interval_s:
        start = lead - (newest.interval_s if newest.time_is == "end" else 0)
        dataset.coords["lead_time_bounds"] = (("lead_time", "nv"), np.stack([start, start + newest.interval_s], axis=1))
        dataset["lead_time"].attrs["bounds"] = "lead_time_bounds"
    dataset["rainfall_flux"].encoding = {
        "zlib": True,
        "complevel": 1,
        "chunksizes": (1, *rain_rate.shape[1:]),
        "_FillValue": np.float32(np.nan),
        "coordinates": "forecast_reference_time lat lon time",
    }
    if newest.grid.crs.is_geographic:
        # CF wants one longitude and one latitude of a grid, and here x and y are they.
        dataset = dataset.drop_vars(["lat", "lon"])
        dataset["rainfall_flux"].encoding["coordinates"] = "forecast_reference_time time"
    dataset["lead_time"].encoding["_FillValue"] = None
    for name in ("time", "forecast_reference_time"):
        dataset[name].encoding = dict(SECONDS)
    return dataset


def publish(forecast: xr.Dataset, observed: Frame, folder: Path) -> None:
    """Write the netCDF and its picture into ``folder``, both or neither.

    Raises
    ------
    UserError
        If nothing can be written there.
    """
    try:
        with whole(folder) as temporary:
            temporary.mkdir()
            forecast.to_netcdf(temporary / NETCDF, engine="netcdf4", format="NETCDF4")
            draw_forecast(forecast, observed, temporary / PICTURE)
    except OSError as error:
        raise UserError(f"{folder}: can't be written: {error.strerror or error}") from error


def draw_forecast(forecast: xr.Dataset, observed: Frame, path: Path) -> None:
    """Draw the newest observed frame and the forecast at four lead times."""
    shown = few_leads(forecast.sizes["lead_time"])
    valid = forecast["time"].to_numpy()[shown]
    minutes = forecast["lead_time"].to_numpy()[shown] // 60
    draw_maps(
        {"": [observed.rain_rate, *forecast["rainfall_flux"].to_numpy()[shown]]},
        [
            f"observed {_clock(observed.time)}",
            *(f"+{m} min, {_clock(t)}" for m, t in zip(minutes, valid, strict=True)),
        ],
        observed.grid,
        f"Rain rate, {forecast.attrs['source']}, from {np.datetime_as_string(observed.time, 'm')} UTC",
        path,
    )


def _clock(time: np.datetime64) -> str:
    return f"{time.astype('datetime64[m]').astype(datetime):%H:%M} UTC"
