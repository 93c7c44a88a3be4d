"""Axes of CF netCDF and Zarr, told by what they are rather than by their place, and the grid that they make."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyproj
from numpy.typing import NDArray

from pipelines.params.radar import SILENT, FileHints
from pipelines.radar.grid import Grid, with_metres
from pipelines.radar.readers.forecast import role_by_name
from pipelines.radar.readers.georeference import check_words, checked_crs, crs_of, even_axis
from pipelines.radar.readers.hints import projection
from pipelines.radar.readers.missing import numbers, unpack
from pipelines.radar.readers.units import axis_unit

if TYPE_CHECKING:
    import xarray as xr

Role = Literal["T", "Y", "X", "Z", "lead", "reference"]
STANDARD_NAMES: dict[str, Role] = {
    "time": "T",
    "forecast_reference_time": "reference",
    "forecast_period": "lead",
    "latitude": "Y",
    "grid_latitude": "Y",
    "projection_y_coordinate": "Y",
    "projection_y_angular_coordinate": "Y",
    "longitude": "X",
    "grid_longitude": "X",
    "projection_x_coordinate": "X",
    "projection_x_angular_coordinate": "X",
}
NORTH = {f"degree{s}{north}" for s in ("", "s") for north in ("_north", "_N", "N")}
EAST = {f"degree{s}{east}" for s in ("", "s") for east in ("_east", "_E", "E")}
# Names of variables without a standard name.
OTHER_TIMES = re.compile("start|begin|creat|produc|process|issue")  # not when a frame is of
NAMES: dict[str, Role] = {"lat": "Y", "latitude": "Y", "y": "Y", "lon": "X", "longitude": "X", "x": "X"}
PROJ_STRINGS = ("proj4", "proj4text", "proj4_params", "proj4_string", "proj4string", "proj_params", "proj_string")
EPSG_CODES = ("epsg_code", "epsg", "EPSG", "EPSG_code", "spatial_epsg")
EASTINGS = ("false_easting", "false_northing")
LENGTHS = ("semi_major_axis", "semi_minor_axis", "earth_radius", "perspective_point_height")
LEAST_LENGTH = 1e5  # m; those that are shorter are in kilometres
# What CF wants of a projection, and pyproj takes for 0 where it isn't there.
LON, LAT, MERIDIAN = "longitude_of_projection_origin", "latitude_of_projection_origin", "longitude_of_central_meridian"
NEEDED = {
    "albers_conical_equal_area": f"standard_parallel {MERIDIAN} {LAT}",
    "azimuthal_equidistant": f"{LON} {LAT}",
    "geostationary": f"{LON} perspective_point_height",
    "lambert_azimuthal_equal_area": f"{LON} {LAT}",
    "lambert_conformal_conic": f"standard_parallel {MERIDIAN} {LAT}",
    "lambert_cylindrical_equal_area": MERIDIAN,
    "mercator": LON,
    "oblique_mercator": f"{LON} {LAT} azimuth_of_central_line",
    "orthographic": f"{LON} {LAT}",
    "polar_stereographic": "straight_vertical_longitude_from_pole standard_parallel|scale_factor_at_projection_origin",
    "rotated_latitude_longitude": "grid_north_pole_latitude grid_north_pole_longitude",
    "sinusoidal": LON,
    "stereographic": f"{LON} {LAT}",
    "transverse_mercator": f"{MERIDIAN} {LAT}",
    "vertical_perspective": f"{LON} {LAT} perspective_point_height",
}
# Of one standard parallel pyproj makes another projection: without the origin's latitude, or with a second parallel 0.
CONICAL = ("albers_conical_equal_area", "lambert_conformal_conic")
# How the names begin of CF's parameters that are numbers.
PARAMETERS = (
    *("false_", "latitude_of_", "longitude_of_", "standard_parallel", "scale_factor_", "straight_", "azimuth_of_"),
    *("grid_north_pole_", "north_pole_", "inverse_flattening", *LENGTHS),
)
PROJECTIONS = {"crs_wkt", "spatial_ref", "grid_mapping_name", "esri_pe_string", *EPSG_CODES, *PROJ_STRINGS}


def role(variable: xr.DataArray) -> Role | None:
    """Return what a coordinate variable is an axis of; None if it is none.

    Raises
    ------
    ValueError
        If its standard name says something else than its ``axis``.
    """
    attributes = variable.attrs
    named = STANDARD_NAMES.get(str(attributes.get("standard_name")))
    axis: Any = str(attributes.get("axis", "")).upper()
    if named in ("T", "Y", "X") and axis in ("T", "Y", "X", "Z") and named != axis:
        raise ValueError(f"{variable.name}'s standard_name is {attributes['standard_name']}, and its axis {axis}")
    units = str(attributes.get("units", "")).strip()
    if named or "standard_name" in attributes:
        return named
    if axis in ("T", "Y", "X", "Z"):
        return axis
    name = str(variable.name).lower()
    if name == "step" or (forecast := role_by_name(name)) == "lead":
        return "lead"
    if forecast and (" since " in units or variable.dtype.kind not in "iuf"):
        return "reference"
    if units in NORTH or units in EAST:
        return "Y" if units in NORTH else "X"
    if " since " in units:
        return None if OTHER_TIMES.search(name) and variable.dims != (variable.name,) else "T"
    return NAMES.get(name) if variable.ndim == 1 else None


def axes_of(dataset: xr.Dataset, variable: xr.DataArray) -> dict[Role, xr.DataArray]:
    """Return the coordinate of each dimension of a variable of which it is known what it is.

    A dimension may have its coordinate under another name.

    Raises
    ------
    ValueError
        If two dimensions are the same, or there is no y or x.
    """
    found: dict[Role, xr.DataArray] = {}
    for dimension in variable.dims:
        own = [dataset[dimension]] if dimension in dataset.variables else []
        others = [dataset[name] for name, one in dataset.variables.items() if one.dims == (dimension,)]
        known = [(role(one), one) for one in own + others]
        what = next((what for what, _ in known if what), None)
        if what is None:
            continue
        if what in found:
            raise ValueError(f"{variable.name} has two axes {what}: {found[what].name} and {dimension}")
        found[what] = next(one for this, one in known if this == what)
    for what, words in (("Y", "y or latitude"), ("X", "x or longitude")):
        if what not in found:
            raise ValueError(
                f"{variable.name} has dimensions {', '.join(map(str, variable.dims))}, none of them {words}"
            )
    return found


def grid_of(dataset: xr.Dataset, variable: xr.DataArray, hints: FileHints) -> tuple[Grid, bool, bool]:
    """Return the grid of a variable, and whether its rows run north and its columns west.

    Raises
    ------
    ValueError
        If there is no projection, or an axis doesn't fit to it or isn't even.
    """
    axes = axes_of(dataset, variable)
    kind, factor = _unit(axes["X"])
    mapping = _mapping(dataset, variable, {str(axes["Y"].name), str(axes["X"].name)})
    if mapping is not None:
        lists = {name: np.asarray(value).ravel().tolist() for name, value in mapping.items()}
        # CF counts false eastings in the axes' unit.
        crs = _crs(json.dumps(lists), factor if kind == "m" else 1.0)
    elif hints.crs is not None:
        crs = projection(hints.crs)
    elif kind == "degree" and axes["Y"].attrs.get("standard_name") != "grid_latitude":
        crs = _crs('{"grid_mapping_name": ["latitude_longitude"]}', 1.0)
    else:
        raise ValueError(f"{variable.name} has no grid_mapping, and params.yaml no `crs` for it")
    y, x = (even_axis(_axis(axes[what], crs), str(axes[what].name)) for what in ("Y", "X"))
    north, west = bool(y[-1] > y[0]), bool(x[-1] < x[0])
    y, x = y[:: -1 if north else 1], x[:: -1 if west else 1]
    return Grid(with_metres(crs), x, y), north, west


def _units(axis: xr.DataArray) -> str:
    return str(axis.attrs.get("units", "")).strip()


def _unit(axis: xr.DataArray) -> tuple[Literal["m", "degree"], float]:
    try:
        return axis_unit(_units(axis))
    except ValueError as error:
        raise ValueError(f"axis {axis.name}: {error}") from None


def _axis(axis: xr.DataArray, crs: pyproj.CRS) -> NDArray[np.float64]:
    """Return pixel centres in metres, or in degrees on a grid of latitudes and longitudes."""
    if axis.ndim != 1 or axis.size < 2:
        raise ValueError(f"{axis.name} is {axis.shape}, not an axis")
    kind, factor = _unit(axis)
    values = unpack(axis.to_numpy(), axis.attrs, SILENT) * factor
    if crs.is_geographic:
        if kind != "degree":
            raise ValueError(f"{axis.name} is in {_units(axis)}, not in degrees, and its grid is of {crs.name}")
        # Around the earth the count may start anew.
        values = np.unwrap(values, period=360) if role(axis) == "X" else values
        return values - 360 if values.max() >= 360 and values.min() > 0 and np.ptp(values) < 360 else values
    if kind == "m":
        return values
    height = crs.to_cf().get("perspective_point_height")
    if height is None:
        raise ValueError(f"{axis.name} is in {_units(axis)}, not in metres, and its grid is of {crs.name}")
    return np.deg2rad(values) * height  # a satellite's scanning angles


def _mapping(dataset: xr.Dataset, variable: xr.DataArray, axes: set[str]) -> dict[str, Any] | None:
    """Return the attributes of the grid mapping; of the one that is for ``axes``, where there are several."""
    words = str(variable.attrs.get("grid_mapping", "")).split()
    if not words:
        own = [one.attrs for one in dataset.variables.values() if not one.ndim and PROJECTIONS & set(one.attrs)]
        return own[0] if len(own) == 1 else None
    name = words[0].removesuffix(":")
    for i, word in enumerate(words):
        if word.endswith(":") and axes <= set(words[i + 1 : i + 3]):
            name = word.removesuffix(":")
    if name not in dataset.variables:
        raise ValueError(f"{variable.name} has the grid_mapping {name}, which isn't there")
    return dataset[name].attrs


@lru_cache(maxsize=16)
def _crs(attributes: str, axis_factor: float) -> pyproj.CRS:
    """Projection of a grid mapping's attributes, given as JSON of lists; pyproj takes a third of a second for one."""
    given = {name: values[0] if len(values) == 1 else values for name, values in json.loads(attributes).items()}
    for name in ("crs_wkt", "spatial_ref"):
        if words := given.pop(name, None):
            return crs_of(str(words))
    if "grid_mapping_name" in given:
        for name, value in given.items():
            if isinstance(value, str):
                check_words(value)  # pyproj takes some of them as a projection in any words
            if name.startswith(PARAMETERS):
                found = numbers(given, name)
                if not found or not np.isfinite(found).all():
                    raise ValueError(f"{name} is {value!r}, not numbers")
                factor = axis_factor if name in EASTINGS else 1.0
                if name in LENGTHS and found[0] < LEAST_LENGTH:
                    factor = 1000.0
                given[name] = [number * factor for number in found] if len(found) > 1 else found[0] * factor
        name = str(given.pop("grid_mapping_name")).lower()
        if missing := [one for one in NEEDED.get(name, "").split() if given.keys().isdisjoint(one.split("|"))]:
            raise ValueError(f"a grid_mapping {name} without {', '.join(missing)}")
        if name in CONICAL and isinstance(given["standard_parallel"], float):
            given["standard_parallel"] = [given["standard_parallel"]] * 2
        return checked_crs({"grid_mapping_name": name} | given, pyproj.CRS.from_cf)
    for name in given.keys() & PROJECTIONS:
        code = str(given[name]).removesuffix(".0")
        return crs_of(f"EPSG:{code}" if code.isdecimal() else code)
    raise ValueError(f"a grid_mapping with none of {', '.join(sorted(PROJECTIONS))}")
