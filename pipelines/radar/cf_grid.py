"""A grid as CF has it in files: coordinates and a grid mapping."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj

from pipelines.radar.grid import Grid

if TYPE_CHECKING:
    import xarray as xr


def grid_of(dataset: xr.Dataset) -> Grid:
    """Return the grid of a dataset with ``crs``, ``y`` and ``x``."""
    crs = pyproj.CRS.from_wkt(dataset["crs"].attrs["crs_wkt"])
    return Grid(crs, dataset["x"].to_numpy(), dataset["y"].to_numpy())


def grid_coordinates(grid: Grid) -> dict[str, xr.Variable]:
    """Return CF coordinates ``y``, ``x``, ``lat`` and ``lon`` of a grid, ready to be written."""
    import xarray as xr

    lon, lat = (np.empty(grid.shape, np.float32) for _ in range(2))
    for band in (slice(row, row + 512) for row in range(0, len(grid.y), 512)):  # a continent's doubles are 0.2 GB each
        lon[band], lat[band] = grid.lonlat(band)
    if has_lonlat_axes(grid.crs):
        x_is = {"standard_name": "longitude", "units": "degrees_east"}
        y_is = {"standard_name": "latitude", "units": "degrees_north"}
    elif grid.crs.is_geographic:  # of a pole that is turned
        x_is = {"standard_name": "grid_longitude", "units": "degrees"}
        y_is = {"standard_name": "grid_latitude", "units": "degrees"}
    else:
        x_is = {"standard_name": "projection_x_coordinate", "units": "m"}
        y_is = {"standard_name": "projection_y_coordinate", "units": "m"}
    north, east = {"units": "degrees_north"}, {"units": "degrees_east"}
    exact: dict[str, Any] = {"_FillValue": None}
    whole = exact | {"chunks": grid.shape}
    return {
        "y": xr.Variable("y", grid.y, y_is | {"axis": "Y", "long_name": "pixel centre, y"}, exact),
        "x": xr.Variable("x", grid.x, x_is | {"axis": "X", "long_name": "pixel centre, x"}, exact),
        "lat": xr.Variable(("y", "x"), lat, north | {"standard_name": "latitude", "long_name": "latitude"}, whole),
        "lon": xr.Variable(("y", "x"), lon, east | {"standard_name": "longitude", "long_name": "longitude"}, whole),
    }


def has_lonlat_axes(crs: pyproj.CRS) -> bool:
    """Whether x and y are longitude and latitude themselves: CF wants none beside them then, but of a turned pole."""
    return crs.is_geographic and not crs.is_derived


def crs_attributes(crs: pyproj.CRS) -> dict[str, Any]:
    """Return CF grid mapping parameters of a projection, with ``crs_wkt`` and GDAL's ``spatial_ref``.

    ``crs_wkt`` alone where CF has no parameters for the projection, as for the Swiss one.
    """
    with warnings.catch_warnings(record=True) as lost:
        warnings.simplefilter("always")
        attributes = crs.to_cf()
    if any("lost in conversion to CF" in str(warning.message) for warning in lost):
        attributes = {"crs_wkt": attributes["crs_wkt"]}
    if attributes.get("grid_mapping_name") == "polar_stereographic":
        # pyproj leaves it out, CF wants it.
        pole = np.copysign(90.0, attributes.get("standard_parallel", 90.0))
        attributes.setdefault("latitude_of_projection_origin", float(pole))
    return attributes | {"spatial_ref": attributes["crs_wkt"]}
