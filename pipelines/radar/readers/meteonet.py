"""MeteoNet's NPZ of Météo-France: ten days of 5-minute rain or reflectivity in a file, on a lat/lon grid.

What the arrays are, and where, is in MeteoNet's documentation and in the file's name, not in the file.
"""

import io
import pickle
import re
import zipfile
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pyproj
from numpy.typing import NDArray

from pipelines.radar.grid import Grid
from pipelines.radar.readers.header import MAX_PIXELS, Header
from pipelines.radar.readers.radar_file import RadarFile

# Shape, and the centre of the pixel in the north-west, degrees, of the two zones; pixels of 0.01°.
ZONES = {"NW": ((565, 784), -5.842, 51.896), "SE": ((515, 784), 2.0, 46.25)}
PIXEL = 0.01
INTERVAL_S = 300
# Unit, factor and missing value by product.
PRODUCTS: dict[str, tuple[Literal["mm", "dBZ"], float, int]] = {
    "rainfall": ("mm", 0.01, -1),
    "reflectivity": ("dBZ", 1.0, 255),
}
# All that a pickled array of dates needs.
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("datetime", "datetime"),
    ("_codecs", "encode"),
}


def recognises(file: RadarFile) -> bool:
    """Whether the content is an NPZ with MeteoNet's arrays."""
    if not file.content.startswith(b"PK\x03\x04"):
        return False
    with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
        return {"data.npy", "dates.npy", "miss_dates.npy"} <= set(archive.namelist())


def headers(file: RadarFile) -> list[Header]:
    """Return the header of each frame: of rain, which ends at its date, or of reflectivity at that instant.

    Raises
    ------
    ValueError
        If the product or the zone is unknown, or dates and data don't fit together.
    """
    data, dates = _arrays(file.content)
    unit, _, _ = _product(file.name)
    grid = _grid(data.shape[1:])
    if unit == "mm":
        return [Header(np.datetime64(date, "s"), "end", INTERVAL_S, unit, grid) for date in dates]
    return [Header(np.datetime64(date, "s"), "instant", 0, unit, grid) for date in dates]


def values(file: RadarFile, number: int) -> NDArray[np.float64]:
    """Return pixels of a frame in mm or dBZ, NaN where missing."""
    raw = _arrays(file.content)[0][number]
    _, factor, missing = _product(file.name)
    return np.where(raw == missing, np.nan, raw * factor)


def _product(name: str) -> tuple[Literal["mm", "dBZ"], float, int]:
    for product, how in PRODUCTS.items():
        if re.match(rf"{product}_", name):
            return how
    raise ValueError(f"MeteoNet's arrays, and a name that starts with none of {', '.join(PRODUCTS)}")


@lru_cache(maxsize=1)  # a file's frames are read one after the other
def _arrays(content: bytes) -> tuple[NDArray[np.int16], list[datetime]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        dates = _dates(archive.read("dates.npy"))
        with archive.open("data.npy") as stream:
            np.lib.format.read_magic(stream)
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        if len(shape) != 3 or dtype.kind not in "iu" or shape[0] != len(dates):
            raise ValueError(f"data are {shape} of {dtype}, with {len(dates)} dates")
        if shape[1] * shape[2] > MAX_PIXELS:
            raise ValueError(f"{shape[1]}×{shape[2]} pixels")
        data = np.lib.format.read_array(io.BytesIO(archive.read("data.npy")), allow_pickle=False)
    return data, dates


def _dates(content: bytes) -> list[datetime]:
    """Decode the dates, which numpy has pickled: nothing but dates is let in."""
    stream = io.BytesIO(content)
    np.lib.format.read_magic(stream)
    np.lib.format.read_array_header_1_0(stream)
    dates = list(_Dates(stream).load())
    if not all(isinstance(date, datetime) for date in dates):
        raise ValueError("dates that are none")
    return dates


class _Dates(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise ValueError(f"dates with {module}.{name} in them")
        return super().find_class(module, name)


@lru_cache
def _grid(shape: tuple[int, int]) -> Grid:
    for known, left, top in ZONES.values():
        if shape == known:
            edges = {"left": left - PIXEL / 2, "top": top + PIXEL / 2}
            return Grid.from_edges(pyproj.CRS("EPSG:4326"), **edges, dx=PIXEL, dy=PIXEL, shape=shape)
    raise ValueError(f"{shape[0]}×{shape[1]} pixels, which is neither of MeteoNet's zones")
