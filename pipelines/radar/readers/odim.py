"""ODIM_H5 composites, the European exchange format (EUMETNET OPERA, ODIM_H5 version 2.4).

An attribute may stand beside the data, in the dataset's group or at the file's root: the nearest counts. pysteps'
importer is not used: it looks in one place alone, and has its own idea of the interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import h5py
import numpy as np
from numpy.typing import NDArray

from pipelines.params.radar import FileHints
from pipelines.radar.grid import Grid
from pipelines.radar.readers.forecast import TITLES, refusal_by_attributes, role_by_name
from pipelines.radar.readers.georeference import crs_of, grid_from_corners
from pipelines.radar.readers.hdf5 import group, has, image, number, numbers, text, whole
from pipelines.radar.readers.header import Header, nowcast, utc
from pipelines.radar.readers.missing import agreed_nodata, equal
from pipelines.radar.readers.radar_file import RadarFile
from pipelines.radar.readers.units import Unit

# Where a file has several, what the producer made of rain itself comes first.
UNITS: dict[str, Unit] = {"RATE": "mm/h", "ACRR": "mm", "DBZH": "dBZ", "TH": "dBZ"}
# From the nominal time: radars' scans may begin so much later, and what begins later still is a forecast; they may
# have ended so long before, and an amount too.
SECOND, LATE, OLD, HOUR, DAY = (np.timedelta64(seconds, "s") for seconds in (1, 150, 900, 3600, 86400))


@dataclass(frozen=True)
class _Image:
    """A data group of a known quantity, and the groups where its attributes may be, the nearest first."""

    data: h5py.Group
    quantity: str
    what: list[h5py.Group]
    where: list[h5py.Group]


def recognises(file: RadarFile) -> bool:
    """Whether the file says it is ODIM_H5, or has its groups."""
    if not file.is_hdf5:
        return False
    root = file.hdf5
    if has("Conventions", root) and text("Conventions", root).upper().startswith("ODIM"):
        return True
    return isinstance(what := root.get("what"), h5py.Group) and has("object", what) and bool(_numbered(root, "dataset"))


def headers(file: RadarFile) -> list[Header]:
    """Return the header of each image of the best known quantity in a composite.

    Reflectivity and rain rate are of the nominal time: what a composite's dataset says of its start and end is
    when its radars scanned, and is not the step from one composite to the next. Accumulations end at their end.
    An image of another time than the nominal one is a forecast, or another product, and refused by name.
    """
    root = file.hdf5
    kind = text("object", *_levels([root], "what"))
    if kind not in ("COMP", "IMAGE"):
        raise ValueError(f"ODIM_H5 object {kind}, not a composite")
    found: list[Header] = []
    for one in _images(file):
        header = _header(one, file)
        if found and header.refusal is None and header.time in [other.time for other in found]:
            header = replace(header, refusal=f"another {one.quantity} of {header.time}: {one.data.name}")
        found.append(header)
    return found


def values(file: RadarFile, number: int) -> NDArray[np.float64]:
    """Return pixels in the unit of the header: NaN for nodata; -inf dBZ, or 0 of rain, for undetect."""
    one = _images(file)[number]
    raw = image(one.data, "data")[...]
    gain, offset = _scale(one)
    unpacked = raw * gain + offset
    result = unpacked.copy()
    result[~np.isfinite(result)] = np.nan
    dry = -np.inf if UNITS[one.quantity] == "dBZ" else 0.0
    for name, value in (("undetect", dry), ("nodata", np.nan)):
        for sentinel in _sentinels(one, name, file.hints):
            result[equal(raw, unpacked, sentinel)] = value
    if file.hints.min_quality is not None:
        result[_quality(one, file.hdf5) < file.hints.min_quality] = np.nan
    return result


def _images(file: RadarFile) -> list[_Image]:
    """Return the images of the best known quantity, or of the one that the user names."""
    found: dict[str, list[_Image]] = {}
    root = file.hdf5
    for dataset in _numbered(root, "dataset"):
        for data in _numbered(dataset, "data"):
            what, where = (_levels([data, dataset, root], name) for name in ("what", "where"))
            if has("quantity", *what):
                quantity = text("quantity", *what)
                found.setdefault(quantity, []).append(_Image(data, quantity, what, where))
    wanted = UNITS if file.hints.variable is None else [file.hints.variable]
    for quantity in wanted:
        if quantity in found and quantity in UNITS:
            return found[quantity]
    raise ValueError(f"quantity {', '.join(found) or 'unnamed'}, and none of {', '.join(wanted)}")


def _numbered(parent: h5py.Group, prefix: str) -> list[h5py.Group]:
    names = [name for name in parent if name.startswith(prefix) and name.removeprefix(prefix).isdecimal()]
    return [group(parent, name) for name in sorted(names, key=lambda name: int(name.removeprefix(prefix)))]


def _levels(parents: Sequence[h5py.Group], name: str) -> list[h5py.Group]:
    """Return the groups where an attribute of ``name`` may stand: that group of each parent, then the parent."""
    return [level for one in parents for level in ([group(one, name), one] if name in one else [one])]


def _header(one: _Image, file: RadarFile) -> Header:
    """Return the header of an image, with all checked that reading its pixels needs."""
    root = _levels([file.hdf5], "what")
    nominal = _moment("", root)
    start, end = (_moment(name, one.what) if has(f"{name}date", *one.what) else None for name in ("start", "end"))
    grid = _grid(one)
    image(one.data, "data", grid.shape)
    _scale(one)
    _sentinels(one, "undetect", file.hints), _sentinels(one, "nodata", file.hints)
    amount = UNITS[one.quantity] == "mm"
    interval_s, time_is = file.hints.interval_s, None if start or end else file.hints.time_is
    if amount and start is not None and end is not None:
        interval_s = int((end - start) / SECOND)
    elif amount and interval_s is None:
        raise ValueError(f"{one.quantity} without start and end, and no `interval_s` for it in params.yaml")
    elif amount and start is not None and interval_s is not None:
        end = start + interval_s * SECOND
    first, last = start or end or nominal, end or start or nominal
    # An amount is all of what fell until its end; reflectivity and rain rate need but begin in time.
    refusal, radars = None, _radars(one, file.hdf5)
    if not nominal - (HOUR if amount else OLD) <= last or first > nominal + DAY:
        refusal = f"its time is {nominal}, and its data are from {first} to {last}"
    elif (last if amount else first) > nominal + LATE:
        refusal = nowcast(nominal, last)
    else:
        refusal = refusal_by_attributes(_of_forecast([*one.what, *_how(one, file.hdf5)]), nominal)
    if not amount or interval_s is None:
        return Header(nominal, "instant", 0, UNITS[one.quantity], grid, refusal, radars)
    return Header(last, time_is or "end", interval_s, "mm", grid, refusal, radars)


def _moment(name: str, what: list[h5py.Group]) -> np.datetime64:
    """Return the start or the end of what was measured, or the nominal time, by its attributes' prefix."""
    date, clock = text(f"{name}date", *what), text(f"{name}time", *what)
    try:
        return utc(date + clock)
    except ValueError:
        raise ValueError(f"attributes {name}date and {name}time are {date!r} and {clock!r}, which is no time") from None


def _scale(one: _Image) -> tuple[float, float]:
    missing = [name for name in ("gain", "offset") if not has(name, *one.what)]
    if missing and one.data["data"].dtype.kind in "iu":
        raise ValueError(f"no {' and '.join(missing)} for {one.quantity} in whole numbers")
    gain, offset = (
        default if name in missing else float(number(name, *one.what))
        for name, default in (("gain", 1.0), ("offset", 0.0))
    )
    if not (np.isfinite([gain, offset]).all() and gain != 0):
        raise ValueError(f"gain {gain} and offset {offset}")
    return gain, offset


def _quality(one: _Image, root: h5py.File) -> NDArray[np.float64]:
    """Return the quality index, 0 to 1, of each pixel; NaN where it has none, as undetect in OPERA's composites."""
    for parent in (one.data, one.data.parent, root):
        for field in _numbered(parent, "quality"):
            what = _levels([field], "what")
            task = text("task", *_levels([field], "how")) if has("task", *_levels([field], "how")) else ""
            if task.endswith("qi_total") or (has("quantity", *what) and text("quantity", *what) == "QIND"):
                raw = image(field, "data", one.data["data"].shape)[...]
                index = raw * float(number("gain", *what)) + float(number("offset", *what))
                for name in ("nodata", "undetect"):
                    for sentinel in numbers(name, *what):
                        index[equal(raw, index, sentinel)] = np.nan
                return index
    return np.full(one.data["data"].shape, np.nan)


def _how(one: _Image, root: h5py.File) -> list[h5py.Group]:
    return _levels([one.data, one.data.parent, root], "how")


def _of_forecast(groups: list[h5py.Group]) -> dict[str, str]:
    """Return what says that it is a forecast, by names in small letters, as the first of the groups has it."""
    found = {}
    for one in reversed(groups):
        for name in one.attrs:
            if role_by_name(name.lower()) or name.lower() in TITLES:
                value = one.attrs[name]
                found[name.lower()] = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return found


def _radars(one: _Image, root: h5py.File) -> dict[str, bool]:
    """Return the nodes that the composite is of, all of which contributed."""
    how = _how(one, root)
    names = text("nodes", *how) if has("nodes", *how) else ""
    return {name: True for name in sorted(name.strip(" '\"") for name in names.split(",")) if name}


def _sentinels(one: _Image, name: str, hints: FileHints) -> list[float]:
    found = [float(number) for number in numbers(name, *one.what)]
    return agreed_nodata(found, hints) if name == "nodata" else found


def _grid(one: _Image) -> Grid:
    rows, columns = image(one.data, "data").shape
    if has("xsize", *one.where):
        rows, columns = whole("ysize", *one.where), whole("xsize", *one.where)
    projection = text("projdef", *one.where)
    pixel = None
    # Producers write a lat/lon grid's scale in degrees or in metres: the corners are surer.
    if has("xscale", *one.where) and not crs_of(projection).is_geographic:
        pixel = float(number("xscale", *one.where)), float(number("yscale", *one.where))
    lower_left, upper_right = (
        (float(number(f"{corner}_lon", *one.where)), float(number(f"{corner}_lat", *one.where)))
        for corner in ("LL", "UR")
    )
    return grid_from_corners(projection, (rows, columns), lower_left=lower_left, upper_right=upper_right, pixel=pixel)
