"""Forecasts that were issued, as they lie in a domain's folder: for verification, and for the alarm of silence."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from pipelines.common.errors import UserError, in_short
from pipelines.operation.products.dataset import NETCDF
from pipelines.radar.cf_grid import grid_of
from pipelines.radar.frame import Rain
from pipelines.radar.grid import pixel_metres


def published_times(out: Path) -> list[np.datetime64]:
    """List the reference times of the forecasts in ``out``, in order."""
    names = sorted(path.name for path in out.glob("*Z") if re.fullmatch(r"\d{8}T\d{6}Z", path.name))
    return [np.datetime64(pd.to_datetime(name, format="%Y%m%dT%H%M%SZ"), "s") for name in names]


def silent_since(out: Path, now: np.datetime64, minutes: int | None) -> str | None:
    """Return in words for how long no forecast has been published, if for more than ``minutes``; None if not."""
    if minutes is None:
        return None
    published = published_times(out)
    if not published:
        return f"{out}: no forecast has been published yet"
    silence = (now - published[-1]) // np.timedelta64(60, "s")
    if silence <= minutes:
        return None
    return f"{out}: the newest forecast is of {published[-1]} UTC, {silence} minutes ago, and {minutes} are allowed"


@dataclass(frozen=True)
class PublishedForecast:
    """A published forecast as verification needs it.

    Parameters
    ----------
    rain_rate : ndarray of shape (leads, H, W), mm/h
    reference : numpy.datetime64
        Time of the newest frame, UTC to the second.
    valid : ndarray of shape (leads,)
        Valid times, likewise.
    minutes : ndarray of shape (leads,)
        Lead times.
    inputs : ndarray
        Times of the frames that it was made from, oldest first.
    pixel_m : float
    said : dict
        Its attributes.
    """

    rain_rate: Rain
    reference: np.datetime64
    valid: NDArray[np.datetime64]
    minutes: NDArray[np.float64]
    inputs: NDArray[np.datetime64]
    pixel_m: float
    said: dict[str, Any]


def read_published(folder: Path) -> PublishedForecast:
    """Read the forecast in a cycle's folder.

    Raises
    ------
    UserError
        If it can't be read.
    """
    try:
        with xr.open_dataset(folder / NETCDF, decode_timedelta=False) as dataset:
            return PublishedForecast(
                dataset["rainfall_flux"].to_numpy(),
                np.datetime64(dataset["forecast_reference_time"].item(), "ns").astype("datetime64[s]"),
                dataset["time"].to_numpy().astype("datetime64[s]"),
                dataset["lead_time"].to_numpy() / 60,
                np.array([one["time"] for one in json.loads(dataset.attrs["input_frames"])], "datetime64[s]"),
                pixel_metres(grid_of(dataset)),
                dict(dataset.attrs),
            )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:  # RuntimeError: HDF5, of damaged pixels
        raise UserError(f"{folder / NETCDF}: can't be read: {in_short(error)}") from None
