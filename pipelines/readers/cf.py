"""CF netCDF-4 files of one time on a projected grid, such as the Rainfields of the Australian Bureau of Meteorology.

Read as HDF5, with dimensions (y, x) or (time, y, x). pysteps' importer (``import_bom_rf3``) isn't used: it has its
own idea of the ellipsoid and the edges.
"""

import json
from functools import lru_cache
from typing import Literal

import h5py
import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray

from pipelines.grid import Grid
from pipelines.readers.hdf5 import attribute, pixels
from pipelines.readers.measured import Header

Unit = Literal["dBZ", "mm", "mm/h"]
MM: dict[str, tuple[Unit, float]] = {"kg m-2": ("mm", 1.0), "mm": ("mm", 1.0)}
MM_H: dict[str, tuple[Unit, float]] = {
    "kg m-2 h-1": ("mm/h", 1.0),
    "mm h-1": ("mm/h", 1.0),
    "mm/h": ("mm/h", 1.0),
    "kg m-2 s-1": ("mm/h", 3600.0),
    "mm s-1": ("mm/h", 3600.0),
}
# Unit of the header and factor to it, by standard name and units.
KNOWN: dict[str, dict[str, tuple[Unit, float]]] = {
    "precipitation_amount": MM,
    "rainfall_amount": MM,
    "lwe_thickness_of_precipitation_amount": MM,
    "precipitation_flux": MM_H,
    "rainfall_flux": MM_H,
    "lwe_precipitation_rate": MM_H,
    "equivalent_reflectivity_factor": {"dBZ": ("dBZ", 1.0)},
}
METRES = {"m": 1.0, "metre": 1.0, "meter": 1.0, "km": 1000.0}


def recognises(file: h5py.File) -> bool:
    """Whether the file says that it follows CF."""
    return "Conventions" in file.attrs and "CF-" in str(attribute("Conventions", file))


def header(file: h5py.File) -> Header:
    """Header of the rain or reflectivity in the file; an amount ends at the file's time.

    Raises
    ------
    ValueError
        If there is no such variable on a projected grid, or no time.
    """
    unit, _ = _unit(_variable(file))
    time = _by_standard_name(file, "time")
    moment = _moments(time, time)[-1]
    if unit != "mm":
        return Header(moment, "instant", 0, unit, _grid(file))
    if "bounds" in time.attrs:
        start, end = _moments(file[attribute("bounds", time)], time)
    else:
        start, end = _moments(file["start_time"], file["start_time"])[0], moment
    if end != moment:
        raise ValueError(f"its time is {moment}, and its rain fell from {start} to {end}")
    return Header(end, "end", int((end - start) / np.timedelta64(1, "s")), "mm", _grid(file))


def values(file: h5py.File) -> NDArray[np.float64]:
    """Pixels in the header's unit, row 0 north: NaN for no data. Reflectivity has no sign of its own for dry."""
    variable = _variable(file)
    raw = pixels(file, variable.name, variable.shape).reshape(variable.shape[-2:])
    scale, offset = (
        float(attribute(name, variable)) if name in variable.attrs else default
        for name, default in (("scale_factor", 1.0), ("add_offset", 0.0))
    )
    result = (raw * scale + offset) * _unit(variable)[1]
    result[~np.isfinite(result)] = np.nan
    for name in ("_FillValue", "missing_value"):
        if name in variable.attrs:
            result[raw == attribute(name, variable)] = np.nan
    y, x = _axes(file, variable)
    return result[:: 1 if y[0] > y[1] else -1, :: 1 if x[0] < x[1] else -1]


def _variable(file: h5py.File) -> h5py.Dataset:
    for name in KNOWN:
        try:
            return _by_standard_name(file, name)
        except ValueError:
            continue
    raise ValueError(f"no variable whose standard_name is one of {', '.join(KNOWN)}")


def _by_standard_name(file: h5py.File, standard_name: str) -> h5py.Dataset:
    for data in file.values():
        named = isinstance(data, h5py.Dataset) and "standard_name" in data.attrs
        if named and attribute("standard_name", data) == standard_name:
            return data
    raise ValueError(f"no variable whose standard_name is {standard_name}")


def _unit(variable: h5py.Dataset) -> tuple[Unit, float]:
    name, units = attribute("standard_name", variable), attribute("units", variable)
    if units not in KNOWN[name]:
        raise ValueError(f"{variable.name} is in {units}, not in {' or '.join(KNOWN[name])}")
    return KNOWN[name][units]


def _moments(data: h5py.Dataset, of: h5py.Dataset) -> list[np.datetime64]:
    """Decode the times in ``data``, of one frame and so two at most, by its own units or else those of ``of``."""
    if data.size > 2:
        raise ValueError(f"{data.size} times in {data.name}")
    named = [name for name in ("units", "calendar") if name in data.attrs or name in of.attrs]
    clock = {name: attribute(name, data, of) for name in named}
    decoded = xr.conventions.decode_cf_variable("time", xr.Variable("time", np.atleast_1d(data[()]).ravel(), clock))
    times = decoded.to_numpy()
    if times.dtype.kind != "M" or np.isnat(times).any():
        raise ValueError(f"time as {clock}")
    return list(times.astype("datetime64[s]"))


def _axes(file: h5py.File, variable: h5py.Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel centres (y, x) in metres, as the file orders them."""
    if variable.ndim not in (2, 3) or (variable.ndim == 3 and variable.shape[0] != 1):
        raise ValueError(f"{variable.name} is {variable.shape}, not one frame")
    # Not by the variable's list of dimensions: that lies in HDF5's global heap, and a broken one is read for ever.
    scales = [_by_standard_name(file, f"projection_{name}_coordinate") for name in "yx"]
    units = [attribute("units", scale) for scale in scales]
    if not set(units) <= set(METRES):
        raise ValueError(f"a grid in {', '.join(units)}, not in metres")
    y, x = (
        pixels(file, scale.name, (size,)).astype(np.float64) * METRES[unit]
        for scale, size, unit in zip(scales, variable.shape[-2:], units, strict=True)
    )
    return y, x


def _grid(file: h5py.File) -> Grid:
    variable = _variable(file)
    mapping = file[attribute("grid_mapping", variable)]
    parameters = {name: np.asarray(mapping.attrs[name]).ravel().tolist() for name in mapping.attrs}
    y, x = _axes(file, variable)
    return Grid(_crs(json.dumps(parameters, default=bytes.decode)), np.sort(x), np.sort(y)[::-1])


@lru_cache(maxsize=16)
def _crs(parameters: str) -> pyproj.CRS:
    """Projection of CF's parameters, given as JSON of lists; pyproj takes a third of a second for one."""
    lists = json.loads(parameters)
    return pyproj.CRS.from_cf({name: values[0] if len(values) == 1 else values for name, values in lists.items()})
