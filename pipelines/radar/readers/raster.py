"""GRIB2 (MRMS of NOAA, and others' rain rate or reflectivity) and GeoTIFF, read by GDAL.

A GeoTIFF must say in what unit it is (GDAL's unit of the band, or a tag ``units``) and of which time (a tag ``time`` in
ISO 8601 and UTC, TIFF's own ``DateTime``, or the file's name); an amount also over how long (a tag ``interval_s``).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import pyproj
import rasterio
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from pipelines.radar.grid import Grid
from pipelines.radar.readers.header import MAX_PIXELS, Header, utc
from pipelines.radar.readers.names import NAMED_TIME
from pipelines.radar.readers.radar_file import RadarFile

Unit = Literal["dBZ", "mm", "mm/h"]
# Unit of the header and factor to it.
UNITS: dict[str, tuple[Unit, float]] = {
    "mm/h": ("mm/h", 1.0),
    "mm/hr": ("mm/h", 1.0),
    "mm h-1": ("mm/h", 1.0),
    "kg m-2 h-1": ("mm/h", 1.0),
    "kg/(m^2 s)": ("mm/h", 3600.0),
    "kg m-2 s-1": ("mm/h", 3600.0),
    "mm": ("mm", 1.0),
    "kg m-2": ("mm", 1.0),
    "dBZ": ("dBZ", 1.0),
    "dB": ("dBZ", 1.0),
}
MRMS = "209"  # discipline of GRIB2 that is NOAA's own
MRMS_NO_RADAR = {"mm/h": -3.0, "dBZ": -999.0}
DIGITS = 8  # of degrees: GRIB2 has 6, and GDAL computes with them


def recognises(file: RadarFile) -> bool:
    """Whether the content is GRIB2 or a TIFF."""
    return _driver(file.content) is not None


def headers(file: RadarFile) -> list[Header]:
    """Return the header of the one band.

    Raises
    ------
    ValueError
        If there are several, or unit, time, interval or projection are unknown.
    """
    with _open(file.content) as dataset:
        unit, _ = _unit(dataset)
        grid = _grid(dataset)
        if dataset.driver == "GRIB":
            # Of rates and reflectivity alone: GDAL's valid time is the end, without the start.
            if unit == "mm":
                raise ValueError("GRIB2 of an amount, not of a rate or reflectivity")
            seconds = int(dataset.tags(1)["GRIB_VALID_TIME"].split()[0])
            return [Header(np.datetime64(seconds, "s"), "instant", 0, unit, grid)]
        time = _geotiff_time(dataset.tags(), file.name)
        if unit != "mm":
            return [Header(time, "instant", 0, unit, grid)]
        if "interval_s" not in dataset.tags():
            raise ValueError("an amount in mm, and no tag interval_s that says over how long")
        return [Header(time, "end", int(dataset.tags()["interval_s"]), "mm", grid)]


def values(file: RadarFile, number: int) -> NDArray[np.float64]:
    """Return pixels in the header's unit, row 0 north: NaN for no data."""
    with _open(file.content) as dataset:
        unit, factor = _unit(dataset)
        raw = dataset.read(1)
        result = raw * float(dataset.scales[0]) + float(dataset.offsets[0])
        result = result.astype(np.float64) * factor
        if dataset.driver == "GRIB" and dataset.tags(1)["GRIB_DISCIPLINE"].startswith(MRMS):
            result[raw == MRMS_NO_RADAR[unit]] = np.nan
        if dataset.nodata is not None:
            result[raw == dataset.nodata] = np.nan
        result[~np.isfinite(result)] = np.nan
        return result[::-1] if dataset.transform.e > 0 else result


def _driver(content: bytes) -> str | None:
    if content.startswith(b"GRIB") and content[7:8] == b"\x02":
        return "GRIB"
    return "GTiff" if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") else None


@contextmanager
def _open(content: bytes) -> Iterator[Any]:
    try:
        with (
            rasterio.Env(GDAL_NUM_THREADS="1"),
            MemoryFile(content) as memory,
            memory.open(driver=_driver(content)) as dataset,
        ):
            if dataset.count != 1:
                raise ValueError(f"{dataset.count} bands, not one")
            if dataset.width * dataset.height > MAX_PIXELS:
                raise ValueError(f"{dataset.height}×{dataset.width} pixels")
            yield dataset
    except rasterio.errors.RasterioError as error:
        raise ValueError(f"GDAL can't read it: {error}") from error


def _unit(dataset: Any) -> tuple[Unit, float]:
    tags = {name.lower(): value for name, value in (dataset.tags() | dataset.tags(1)).items()}
    unit_text = dataset.units[0] or tags.get("grib_unit") or tags.get("units") or tags.get("unit")
    if not unit_text:
        raise ValueError("no unit: neither GDAL's of the band, nor a tag units")
    unit = UNITS.get(unit_text.strip("[] "))
    if unit is None:
        raise ValueError(f"unit {unit_text}, not one of {', '.join(UNITS)}")
    return unit


def _geotiff_time(tags: dict[str, str], name: str) -> np.datetime64:
    for tag in ("time", "valid_time", "TIFFTAG_DATETIME"):
        if tag in tags:
            digits = re.sub(r"(Z|\+00:00|\.0+)$", "", tags[tag].strip())
            if re.search(r"[+-]\d\d:\d\d$", digits):
                raise ValueError(f"tag {tag} is {tags[tag]}, not UTC")
            return utc(re.sub(r"\D", "", digits))
    found = NAMED_TIME.search(name)
    if found is None:
        raise ValueError("no time: neither a tag time or TIFF's DateTime, nor in its name")
    return utc("".join(part or "" for part in found.groups()))


def _grid(dataset: Any) -> Grid:
    if dataset.crs is None:
        raise ValueError("no projection")
    crs = pyproj.CRS.from_wkt(dataset.crs.to_wkt())
    dx, b, left, d, dy, top = dataset.transform[:6]
    if b or d or dx <= 0:
        raise ValueError("a grid that is turned or mirrored")
    if dy > 0:
        top, dy = top + dataset.height * dy, -dy
    if crs.is_geographic:
        left, top, dx, dy = (round(value, DIGITS) for value in (left, top, dx, dy))
    return Grid.from_edges(crs, left=left, top=top, dx=dx, dy=-dy, shape=(dataset.height, dataset.width))
