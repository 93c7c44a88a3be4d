"""MeteoNet's NPZ of Météo-France: ten days of 5-minute rain or reflectivity in a file, on a lat/lon grid.

What the arrays are, and where, is in MeteoNet's documentation and in the file's name, not in the file.
"""

import io
import math
import pickletools
import re
import zipfile
from functools import lru_cache
from typing import Literal

import numpy as np
import pyproj
from numpy.typing import NDArray

from pipelines.common.limits import check_unpacked
from pipelines.radar.grid import Grid
from pipelines.radar.readers.header import Header, check_pixels, utc
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
# All that a pickled array of dates is made by.
MAKERS = {"_reconstruct", "ndarray", "dtype", "datetime", "encode"}


def recognises(file: RadarFile) -> bool:
    """Whether the content is an NPZ with MeteoNet's arrays."""
    if not file.content.startswith(b"PK\x03\x04"):
        return False
    with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
        return {"data.npy", "dates.npy", "miss_dates.npy"} <= set(archive.namelist())


def headers(file: RadarFile) -> list[Header]:
    """Return the header of each frame: of rain, which ends at its date, or of reflectivity at that instant."""
    data, dates = _arrays(file.content)
    unit, _, _ = _product(file.name)
    grid = _grid(data.shape[1:])
    if unit == "mm":
        return [Header(date, "end", INTERVAL_S, unit, grid) for date in dates]
    return [Header(date, "instant", 0, unit, grid) for date in dates]


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
def _arrays(content: bytes) -> tuple[NDArray[np.int16], list[np.datetime64]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        dates = _dates(_read(archive, "dates.npy"))
        stream = io.BytesIO(_read(archive, "data.npy"))
        shape, _, dtype = _header(stream)
        if len(shape) != 3 or dtype.kind not in "iu" or shape[0] != len(dates):
            raise ValueError(f"data are {shape} of {dtype}, with {len(dates)} dates")
        check_pixels(shape[1], shape[2])
        if stream.getbuffer().nbytes - stream.tell() != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"data are {shape} of {dtype}, and there are others")  # or numpy would take that memory
        stream.seek(0)
        return np.lib.format.read_array(stream, allow_pickle=False), dates


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    check_unpacked(archive.getinfo(name).file_size, name)
    return archive.read(name)  # as long as it says, or it is refused


def _header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    np.lib.format.read_magic(stream)
    return np.lib.format.read_array_header_1_0(stream)


def _dates(content: bytes) -> list[np.datetime64]:
    """Return the dates, which numpy has pickled: they are read from the pickle, and nothing is unpickled.

    A datetime is its ten bytes there: the year (2), month, day, hour, minute, second, microseconds (3).
    """
    stream = io.BytesIO(content)
    _header(stream)
    words: list[str] = []
    for operation, word, _ in pickletools.genops(stream):
        if operation.name in ("GLOBAL", "STACK_GLOBAL"):
            name = ".".join(words[-2:]) if word is None else word.replace(" ", ".")
            if name.rpartition(".")[2] not in MAKERS:
                raise ValueError(f"dates with {name} in them")
        elif isinstance(word, str | bytes):
            words.append(word if isinstance(word, str) else word.decode("latin-1"))
    dates = (word.encode("latin-1") for word in words if len(word) == 10)
    return [utc(f"{256 * ten[0] + ten[1]:04}" + "".join(f"{byte:02}" for byte in ten[2:7])) for ten in dates]


@lru_cache
def _grid(shape: tuple[int, int]) -> Grid:
    for known, left, top in ZONES.values():
        if shape == known:
            edges = {"left": left - PIXEL / 2, "top": top + PIXEL / 2}
            return Grid.from_edges(pyproj.CRS("EPSG:4326"), **edges, dx=PIXEL, dy=PIXEL, shape=shape)
    raise ValueError(f"{shape[0]}×{shape[1]} pixels, which is neither of MeteoNet's zones")
