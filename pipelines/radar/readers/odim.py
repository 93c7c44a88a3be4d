"""ODIM_H5 composites, the European exchange format (EUMETNET OPERA, ODIM_H5 version 2.4).

pysteps' importer is not used: it reads the quality fields too, and with its own idea of the interval.
"""

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipelines.radar.grid import Grid
from pipelines.radar.readers.georeference import grid_from_corners
from pipelines.radar.readers.hdf5 import attribute, group, pixels
from pipelines.radar.readers.header import Header, utc
from pipelines.radar.readers.radar_file import RadarFile

# Where a file has several, what the producer made of rain itself comes first.
UNITS = {"RATE": "mm/h", "ACRR": "mm", "DBZH": "dBZ", "TH": "dBZ"}
HOUR = np.timedelta64(3600, "s")


def recognises(file: RadarFile) -> bool:
    """Whether the file says it is ODIM_H5."""
    return (
        file.is_hdf5
        and "Conventions" in file.hdf5.attrs
        and str(attribute("Conventions", file.hdf5)).startswith("ODIM_H5")
    )


def headers(file: RadarFile) -> list[Header]:
    """Return the header of a composite.

    Reflectivity and rain rate are of the nominal time: what a composite's dataset says of its start and end is
    when its radars scanned, and is not the step from one composite to the next. Accumulations end at their end.

    Raises
    ------
    ValueError
        If it is no composite of a known quantity, or its times contradict each other.
    """
    root = file.hdf5
    what = group(root, "what")
    kind = attribute("object", what)
    if kind not in ("COMP", "IMAGE"):
        raise ValueError(f"ODIM_H5 object {kind}, not a composite")
    dataset, data = _chosen(root)
    quantity = attribute("quantity", *_whats(data, dataset))
    time = utc(attribute("date", what) + attribute("time", what))
    where = _where(dataset, root)
    start, end = _period(dataset)
    if not start - HOUR <= time <= end + HOUR:
        raise ValueError(f"its time is {time}, and its data are from {start} to {end}")
    if quantity != "ACRR":
        return [Header(time, "instant", 0, UNITS[quantity], _grid(where))]  # type: ignore[arg-type]
    return [Header(end, "end", int((end - start) / np.timedelta64(1, "s")), "mm", _grid(where))]


def values(file: RadarFile, number: int) -> NDArray[np.float64]:
    """Return pixels in the unit of the header: NaN for nodata; -inf dBZ, or 0 of rain, for undetect."""
    dataset, data = _chosen(file.hdf5)
    whats = _whats(data, dataset)
    where = _where(dataset, file.hdf5)
    raw = pixels(data, "data", _shape(where))
    gain, offset = (
        float(attribute(name, *whats)) if any(name in what.attrs for what in whats) else default
        for name, default in (("gain", 1.0), ("offset", 0.0))
    )
    if not (np.isfinite([gain, offset]).all() and gain != 0):
        raise ValueError(f"gain {gain} and offset {offset}")
    dry = -np.inf if UNITS[attribute("quantity", *whats)] == "dBZ" else 0.0
    result = raw * gain + offset
    result[~np.isfinite(result)] = np.nan
    for name, value in (("undetect", dry), ("nodata", np.nan)):
        if any(name in what.attrs for what in whats):
            result[raw == attribute(name, *whats)] = value
    return result


def _chosen(file: h5py.File) -> tuple[h5py.Group, h5py.Group]:
    """Dataset and data group of the best known quantity, the first where there are several."""
    found: dict[str, tuple[h5py.Group, h5py.Group]] = {}
    for dataset in _numbered(file, "dataset"):
        for data in _numbered(dataset, "data"):
            whats = _whats(data, dataset)
            if any("quantity" in what.attrs for what in whats):
                found.setdefault(str(attribute("quantity", *whats)), (dataset, data))
    for quantity in UNITS:
        if quantity in found:
            return found[quantity]
    raise ValueError(f"quantity {', '.join(found) or 'unnamed'}, and none of {', '.join(UNITS)}")


def _numbered(parent: h5py.Group, prefix: str) -> list[h5py.Group]:
    names = [name for name in parent if name.startswith(prefix) and name.removeprefix(prefix).isdecimal()]
    return [group(parent, name) for name in sorted(names, key=lambda name: int(name.removeprefix(prefix)))]


def _whats(data: h5py.Group, dataset: h5py.Group) -> list[h5py.Group]:
    """List the groups where an attribute of the data may stand, the nearest first."""
    return [group(parent, "what") for parent in (data, dataset) if "what" in parent]


def _where(dataset: h5py.Group, file: h5py.File) -> list[h5py.Group]:
    return [group(parent, "where") for parent in (dataset, file) if "where" in parent]


def _period(dataset: h5py.Group) -> tuple[np.datetime64, np.datetime64]:
    what = group(dataset, "what")
    start, end = (utc(attribute(f"{name}date", what) + attribute(f"{name}time", what)) for name in ("start", "end"))
    return start, end


def _shape(where: list[h5py.Group]) -> tuple[int, int]:
    return int(attribute("ysize", *where)), int(attribute("xsize", *where))


def _grid(where: list[h5py.Group]) -> Grid:
    def number(name: str) -> float:
        return float(attribute(name, *where))

    projection: Any = attribute("projdef", *where)
    geographic = any(word in projection for word in ("latlong", "longlat", "lonlat", "latlon"))
    return grid_from_corners(
        projection,
        _shape(where),
        lower_left=(number("LL_lon"), number("LL_lat")),
        upper_right=(number("UR_lon"), number("UR_lat")),
        # Producers write a lat/lon grid's scale in degrees or in metres: the corners are surer.
        pixel=None if geographic else (number("xscale"), number("yscale")),
    )
