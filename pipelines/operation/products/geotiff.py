"""Cloud-Optimized GeoTIFFs of a forecast's fields."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from rasterio.crs import CRS
from rasterio.transform import from_origin

from pipelines.operation.products.dataset import valid_times
from pipelines.operation.products.names import stamp
from pipelines.radar.cf_grid import grid_of

# An overview's pixel is the mean of what is known in it.
OPTIONS: dict[str, Any] = {"driver": "COG", "compress": "deflate", "level": 1, "overview_resampling": "average"}
CACHE_MB = 128  # of GDAL, which takes a twentieth of the machine's memory else
TAGS = ("title", "source", "fallback", "missing_frames", "license", "attribution")


def write_cogs(forecast: xr.Dataset, folder: Path) -> None:
    """Write a file for each valid time and each period, NAME_STAMP.tif: the variable, and the time or period's end.

    One of probabilities or percentiles has a band for each; packed as in the netCDF, with GDAL's scale.

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
        "crs": CRS.from_wkt(grid.crs.to_wkt()),
        "transform": from_origin(grid.x[0] - dx / 2, grid.y[0] + dy / 2, dx, dy),
    }
    issued = np.datetime_as_string(forecast["forecast_reference_time"].to_numpy(), "s")
    for name, times in valid_times(forecast).items():
        variable = forecast[name]
        about = {
            key: variable.attrs[key]
            for key in ("standard_name", "long_name", "units", "members")
            if key in variable.attrs
        }
        about |= {key: forecast.attrs[key] for key in TAGS}
        label = f"{variable.attrs['long_name']}, {variable.attrs['units']}"
        bands = [label]
        if variable.ndim == 4:
            of_band = forecast[variable.dims[1]]
            bands = [f"{label}: {of_band.attrs['long_name']} {one:g} {of_band.attrs['units']}" for one in of_band]
        packing = variable.encoding
        dtype, scale = np.dtype(packing.get("dtype", "float32")), packing.get("scale_factor", 1)
        kind = {"dtype": dtype, "nodata": packing["_FillValue"], "predictor": 3 if dtype.kind == "f" else 2}
        for number, time in enumerate(times):
            path = folder / f"{name}_{stamp(time)}.tif"
            with (
                rasterio.Env(GDAL_CACHEMAX=CACHE_MB),
                rasterio.open(path, "w", count=len(bands), **OPTIONS, **kind, **place) as file,
            ):
                for band in range(len(bands)):  # plane by plane: those of a continent take gigabytes
                    pixels = variable[number, band].to_numpy() if variable.ndim == 4 else variable[number].to_numpy()
                    if dtype.kind != "f":
                        pixels = np.where(np.isnan(pixels), packing["_FillValue"], np.rint(pixels / scale))
                    file.write(pixels.astype(dtype, copy=False), band + 1)
                valid = np.datetime_as_string(time, "s")
                # With both, no reader takes it for an observation.
                file.update_tags(valid_time=f"{valid}Z", forecast_reference_time=f"{issued}Z", **about)
                file.descriptions = bands
                file.scales = [scale] * len(bands)
