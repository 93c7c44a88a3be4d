"""CF netCDF, classic or netCDF-4, and Zarr with rain or reflectivity, such as the Rainfields of Australia's BoM.

Dimensions (y, x) or (time, y, x) on a projected or a lat/lon grid; xarray decodes. pysteps' importer
(``import_bom_rf3``) isn't used: it has its own idea of the ellipsoid and the edges.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Literal

import netCDF4
import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray

from pipelines.radar.grid import Grid
from pipelines.radar.readers.header import MAX_PIXELS, Header
from pipelines.radar.readers.radar_file import RadarFile

Unit = Literal["dBZ", "mm", "mm/h"]
MM: dict[str, tuple[Unit, float]] = {"kg m-2": ("mm", 1.0), "mm": ("mm", 1.0), "m": ("mm", 1000.0)}
MM_H: dict[str, tuple[Unit, float]] = {
    "kg m-2 h-1": ("mm/h", 1.0),
    "mm h-1": ("mm/h", 1.0),
    "mm/h": ("mm/h", 1.0),
    "mm/hr": ("mm/h", 1.0),
    "kg m-2 s-1": ("mm/h", 3600.0),
    "mm s-1": ("mm/h", 3600.0),
    "m s-1": ("mm/h", 3600000.0),
}
# Unit of the header and factor to it, by standard name and units.
KNOWN: dict[str, dict[str, tuple[Unit, float]]] = {
    "precipitation_amount": MM,
    "rainfall_amount": MM,
    "thickness_of_rainfall_amount": MM,
    "lwe_thickness_of_precipitation_amount": MM,
    "precipitation_flux": MM_H,
    "rainfall_flux": MM_H,
    "rainfall_rate": MM_H,
    "lwe_precipitation_rate": MM_H,
    "equivalent_reflectivity_factor": {"dBZ": ("dBZ", 1.0)},
}
METRES = {"m": 1.0, "metre": 1.0, "meter": 1.0, "km": 1000.0}
DEGREES = ("degrees", "degree", "degrees_north", "degrees_east", "degree_north", "degree_east")
CLASSIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05")


def recognises(file: RadarFile) -> bool:
    """Whether it is Zarr, or netCDF that says that it follows CF; classic netCDF needn't say."""
    if file.is_zarr or file.content.startswith(CLASSIC):
        return True
    if not file.is_hdf5:
        return False
    try:
        with netCDF4.Dataset("content", memory=file.content) as dataset:
            return "CF-" in str(getattr(dataset, "Conventions", ""))
    except OSError:
        return False


def headers(file: RadarFile) -> list[Header]:
    """Return the header of each time of the rain or reflectivity.

    What has bounds, or a ``start_time``, is of that interval, which must end or start at its time.

    Raises
    ------
    ValueError
        If there is no such variable on a known grid, or no time, or an amount has no interval.
    """
    with _open(file) as dataset:
        variable = _variable(dataset)
        unit, _ = _unit(variable)
        grid = _grid(dataset, variable)
        time = _by_standard_name(dataset, "time")
        times = _moments(time)
        if times.size != (variable.shape[0] if variable.ndim == 3 else 1):
            raise ValueError(f"{times.size} times in {time.name}, and {variable.name} is {variable.shape}")
        if "bounds" in time.attrs:
            bounds = _moments(dataset[time.attrs["bounds"]]).reshape(-1, 2)
        elif "start_time" in dataset and unit == "mm":
            bounds = np.stack([_moments(dataset["start_time"]), times], axis=1)
        elif unit == "mm":
            raise ValueError(f"{variable.name} is an amount, and {time.name} has no bounds")
        else:
            return [Header(moment, "instant", 0, unit, grid) for moment in times]
        return [
            _of_interval(moment, start, end, unit, grid) for moment, (start, end) in zip(times, bounds, strict=True)
        ]


def values(file: RadarFile, number: int) -> NDArray[np.float64]:
    """Return pixels of a time in the header's unit, row 0 north: NaN for no data. No value says that it is dry."""
    with _open(file) as dataset:
        variable = _variable(dataset)
        raw = variable[number] if variable.ndim == 3 else variable
        result = raw.to_numpy().astype(np.float64) * _unit(variable)[1]
        result[~np.isfinite(result)] = np.nan
        y, x = _axes(dataset, variable)
        return result[:: 1 if y[0] > y[1] else -1, :: 1 if x[0] < x[1] else -1]


@contextmanager
def _open(file: RadarFile) -> Iterator[xr.Dataset]:
    if file.is_zarr:
        with xr.open_zarr(file.path, chunks=None, decode_coords=False, consolidated=False) as dataset:
            yield dataset
        return
    with netCDF4.Dataset("content", memory=file.content) as opened:
        yield xr.open_dataset(xr.backends.NetCDF4DataStore(opened), decode_coords=False, decode_timedelta=False)


def _variable(dataset: xr.Dataset) -> xr.DataArray:
    for name in KNOWN:
        found = [data for data in dataset.variables if dataset[data].attrs.get("standard_name") == name]
        if not found:
            continue
        variable = dataset[found[0]]
        if variable.ndim not in (2, 3) or variable.size == 0:
            raise ValueError(f"{found[0]} is {variable.shape}, not frames")
        if variable.shape[-2] * variable.shape[-1] > MAX_PIXELS:
            raise ValueError(f"{found[0]} is {variable.shape}")
        return variable
    raise ValueError(f"no variable whose standard_name is one of {', '.join(KNOWN)}")


def _by_standard_name(dataset: xr.Dataset, *names: str) -> xr.DataArray:
    for data in dataset.variables:
        if dataset[data].attrs.get("standard_name") in names:
            return dataset[data]
    raise ValueError(f"no variable whose standard_name is {' or '.join(names)}")


def _unit(variable: xr.DataArray) -> tuple[Unit, float]:
    name, units = variable.attrs["standard_name"], variable.attrs.get("units")
    if units not in KNOWN[name]:
        raise ValueError(f"{variable.name} is in {units}, not in {' or '.join(KNOWN[name])}")
    return KNOWN[name][units]


def _moments(data: xr.DataArray) -> NDArray[np.datetime64]:
    times = np.atleast_1d(data.to_numpy())
    if times.dtype.kind != "M" or np.isnat(times).any():
        raise ValueError(f"{data.name} is no time of a known calendar")
    # Clocks in days or hours are a little beside the second.
    return (times.astype("datetime64[ms]") + np.timedelta64(500, "ms")).astype("datetime64[s]").ravel()


def _of_interval(moment: np.datetime64, start: np.datetime64, end: np.datetime64, unit: Unit, grid: Grid) -> Header:
    seconds = int((end - start) / np.timedelta64(1, "s"))
    if moment == end and seconds:
        return Header(moment, "end", seconds, unit, grid)
    if moment == start and seconds:
        return Header(moment, "start", seconds, unit, grid)
    raise ValueError(f"its time is {moment}, and its rain fell from {start} to {end}")


def _axes(dataset: xr.Dataset, variable: xr.DataArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel centres (y, x) in metres or degrees, as the file orders them."""
    axes = []
    for name, degrees, dimension in zip("yx", ("latitude", "longitude"), variable.dims[-2:], strict=True):
        if dimension in dataset.variables:
            axis = dataset[dimension]
        else:
            axis = _by_standard_name(dataset, f"projection_{name}_coordinate")
        units, is_angle = str(axis.attrs.get("units")), axis.attrs.get("standard_name") == degrees
        if axis.shape != (dataset.sizes[dimension],) or axis.size < 2:
            raise ValueError(f"{axis.name} is {axis.shape}, not an axis")
        if not (units in DEGREES if is_angle else units in METRES):
            raise ValueError(f"{axis.name} is in {units}, not in {'degrees' if is_angle else 'metres'}")
        axes.append(axis.to_numpy().astype(np.float64) * (1.0 if is_angle else METRES[units]))
    return axes[0], axes[1]


def _grid(dataset: xr.Dataset, variable: xr.DataArray) -> Grid:
    y, x = _axes(dataset, variable)
    y_is = dataset[variable.dims[-2]].attrs.get("standard_name") if variable.dims[-2] in dataset.variables else None
    if "grid_mapping" in variable.attrs:
        mapping = dataset[variable.attrs["grid_mapping"]]
        parameters = {name: np.asarray(value).ravel().tolist() for name, value in mapping.attrs.items()}
        crs = _crs(json.dumps(parameters))
    elif y_is == "latitude":
        crs = _crs(json.dumps({"grid_mapping_name": ["latitude_longitude"]}))
    else:
        raise ValueError(f"{variable.name} has no grid_mapping")
    return Grid(crs, np.sort(x), np.sort(y)[::-1])


@lru_cache(maxsize=16)
def _crs(parameters: str) -> pyproj.CRS:
    """Projection of CF's parameters, given as JSON of lists; pyproj takes a third of a second for one."""
    lists = json.loads(parameters)
    return pyproj.CRS.from_cf({name: values[0] if len(values) == 1 else values for name, values in lists.items()})
