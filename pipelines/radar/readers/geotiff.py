"""GeoTIFF, and ESRI's ASCII grids.

It is to say in what unit it is (GDAL's unit of the band, or a tag ``units``), of which time (a tag ``valid_time`` or
``time``, as ISO 8601 has it, or the file's name; TIFF's own ``DateTime`` is when the file was made), and an amount also
over how long (a tag ``interval_s``, or ``start_time`` and ``end_time``). What it doesn't say is for the user to say.
"""

import re
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.radar.readers.forecast import refusal_by_attributes, written_time
from pipelines.radar.readers.gdal import all_tags, band_of, grid_of, open_raster, pixels, unit_of, whole
from pipelines.radar.readers.header import Header, nowcast
from pipelines.radar.readers.hints import time_by_name
from pipelines.radar.readers.radar_file import RadarFile

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ESRI = re.compile(rb"\s*ncols\s+\d+\s", re.IGNORECASE)
TIMES = ("valid_time", "end_time", "time")
DATE = re.compile(r"\s*\d+-\d+-\d+\s*Z?\s*")


def recognises(file: RadarFile) -> bool:
    """Whether the content is a TIFF or an ASCII grid."""
    return _driver(file.content) is not None


def headers(file: RadarFile) -> list[Header]:
    """Return the header of the one band beside a mask."""
    if file.path.with_name(f"{file.path.name}.msk").exists():
        raise ValueError(f"its mask is in a file of its own, {file.path.name}.msk")
    with _open(file) as dataset:
        band = band_of(dataset, file.hints)
        unit, _ = unit_of(dataset, band, file.hints)
        tags = {"description": dataset.descriptions[band - 1] or ""} | all_tags(dataset, band)
        time = next((_time(tags, name) for name in TIMES if name in tags), None)
        if time is None:
            time = _of_grib(tags, "grib_valid_time")
        if time is None:
            time = time_by_name(file)
        interval_s = _interval_s(tags, time) or file.hints.interval_s or 0
        if unit == "mm" and not interval_s:
            raise ValueError("an amount, no tag interval_s that says over how long, and no `interval_s` in params.yaml")
        time_is = file.hints.time_is or ("end" if interval_s else "instant")
        return [Header(time, time_is, interval_s, unit, grid_of(dataset, file.hints), _refusal(tags, time))]


def values(file: RadarFile, number: int) -> NDArray[np.float64]:
    """Return pixels in the header's unit, row 0 north: NaN for no data."""
    with _open(file) as dataset:
        band = band_of(dataset, file.hints)
        return pixels(dataset, band, file.hints) * unit_of(dataset, band, file.hints)[1]


def _driver(content: bytes) -> str | None:
    if content[:4] in TIFF:
        return "GTiff"
    return "AAIGrid" if ESRI.match(content) else None


def _open(file: RadarFile) -> AbstractContextManager[Any]:
    driver = _driver(file.content)
    assert driver is not None  # or it wouldn't have been recognised
    return open_raster(file.content, driver)


def _time(tags: dict[str, str], name: str) -> np.datetime64 | None:
    """Return the time in a tag; None if there is no such tag."""
    if name not in tags:
        return None
    if DATE.fullmatch(tags[name]):
        raise ValueError(f"tag {name} is {tags[name]}, a date without a time")
    return written_time(tags, name)


def _of_grib(tags: dict[str, str], name: str) -> np.datetime64 | None:
    """Return the time in a tag that GDAL has taken from GRIB, seconds since 1970."""
    return np.datetime64(whole(tags, name), "s") if name in tags else None


def _interval_s(tags: dict[str, str], time: np.datetime64) -> int:
    """Return over how many seconds, by the tags; 0 if they don't say."""
    if "interval_s" in tags:
        return whole(tags, "interval_s")
    start, end = _time(tags, "start_time"), _time(tags, "end_time")
    if start is None or end is None:
        return 0
    if time != end:
        raise ValueError(f"its time is {time}, and its rain fell from {start} to {end}")
    return int((end - start) / np.timedelta64(1, "s"))


def _refusal(tags: dict[str, str], time: np.datetime64) -> str | None:
    """Return why it can't be taken, if it is of a forecast."""
    issued = _of_grib(tags, "grib_ref_time")
    return nowcast(issued, time) if issued is not None and issued < time else refusal_by_attributes(tags, time)
