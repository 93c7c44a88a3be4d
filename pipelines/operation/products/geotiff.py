"""Cloud-Optimized GeoTIFFs of a forecast's fields."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from rasterio.crs import CRS
from rasterio.transform import from_origin

from pipelines.operation.products.dataset import stamp, valid_times
from pipelines.radar.cf_grid import grid_of

# Predictor 3 is that of floating point. An overview's pixel is the mean of what is known in it.
OPTIONS: dict[str, Any] = {
    "driver": "COG",
    "dtype": "float32",
    "nodata": float("nan"),
    "compress": "deflate",
    "level": 1,
    "predictor": 3,
    "overview_resampling": "average",
}
TAGS = ("title", "source", "fallback", "missing_frames")


def write_cogs(forecast: xr.Dataset, folder: Path) -> None:
    """Write a file for each valid time and each period, NAME_STAMP.tif: the variable, and the time or period's end.

    Parameters
    ----------
    forecast : Dataset
        See :func:`pipelines.operation.products.dataset.forecast_dataset`.
    folder : Path
        That there is.
    """
    grid = grid_of(forecast)
    dy, dx = grid.spacing
    H, W = grid.shape
    place = {
        "height": H,
        "width": W,
        "count": 1,
        "crs": CRS.from_wkt(grid.crs.to_wkt()),
        "transform": from_origin(grid.x[0] - dx / 2, grid.y[0] + dy / 2, dx, dy),
    }
    issued = np.datetime_as_string(forecast["forecast_reference_time"].to_numpy(), "s")
    for name, times in valid_times(forecast).items():
        rain = forecast[name]
        about = {key: rain.attrs[key] for key in ("standard_name", "long_name", "units")}
        about |= {key: forecast.attrs[key] for key in TAGS}
        for field, time in zip(rain.to_numpy(), times, strict=True):
            with rasterio.open(folder / f"{name}_{stamp(time)}.tif", "w", **OPTIONS, **place) as file:
                file.write(np.asarray(field, np.float32), 1)
                valid = np.datetime_as_string(time, "s")
                # With both, no reader takes it for an observation.
                file.update_tags(valid_time=f"{valid}Z", forecast_reference_time=f"{issued}Z", **about)
                file.set_band_description(1, f"{rain.attrs['long_name']}, {rain.attrs['units']}")
