"""RADOLAN binary composites of the German weather service: sums RW (an hour), RY and YW (5 minutes).

As DWD's description of the format (RADOLAN/RADVOR-OP Kompositformat 2.5) has it. pysteps' importer isn't used: it
takes clutter for dry and shifts the grid; wradlib, which is right, brings more than these lines do.
"""

import re
from functools import lru_cache

import numpy as np
import pyproj
from numpy.typing import NDArray

from pipelines.radar.grid import Grid
from pipelines.radar.readers.header import Header, utc
from pipelines.radar.readers.radar_file import RadarFile

PRODUCTS = ("RW", "RY", "YW")
# A sphere, and a plane that cuts it at 60° north: distances are true there.
PROJECTION = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +R=6370040 +x_0=0 +y_0=0 +units=m +no_defs"
# Columns west and rows south of 9° E, 51° N, by shape: the national composite and the extended one.
ORIGINS = {(900, 900): (450, 450), (1100, 900): (370, 550)}
START = re.compile(rb"([A-Z]{2})(\d{6})(\d{5})(\d{4})BY\s*(\d{1,10})VS")
VALUE, NO_DATA, NEGATIVE, CLUTTER = 0x0FFF, 0x2000, 0x4000, 0x8000  # bits of a pixel; 0x1000, interpolated, is good
ETX = b"\x03"


def recognises(file: RadarFile) -> bool:
    """Whether the content starts as a RADOLAN composite does."""
    return START.match(file.content) is not None


def headers(file: RadarFile) -> list[Header]:
    """Return the header of a sum, whose time is its end.

    Raises
    ------
    ValueError
        If it is another product, on an unknown grid, or of another length than it says.
    """
    content = file.content
    text = _header_text(content)
    found = START.match(content)
    assert found is not None  # or it wouldn't have been recognised
    product, moment, _, month, length = (part.decode("ascii") for part in found.groups())
    if product not in PRODUCTS:
        raise ValueError(f"RADOLAN product {product}, not one of {', '.join(PRODUCTS)}")
    shape = _shape(text)
    if int(length) != len(content) or len(content) - len(text) - len(ETX) != 2 * shape[0] * shape[1]:
        raise ValueError(f"{len(content)} bytes, and its header says {length} of {shape[0]}×{shape[1]} pixels")
    minutes = int(_field(text, r"INT\s*(\d+)"))
    time = utc(f"20{month[2:]}{month[:2]}{moment}")
    return [Header(time, "end", 60 * minutes, "mm", _grid(shape))]


def values(file: RadarFile, number: int) -> NDArray[np.float64]:
    """Return pixels in mm, row 0 north: NaN where there is no data or the pixel is marked as clutter."""
    text = _header_text(file.content)
    raw = np.frombuffer(file.content, "<u2", offset=len(text) + len(ETX)).reshape(_shape(text))[::-1]
    result = (raw & VALUE).astype(np.float64) * 10.0 ** int(_field(text, r"PR\s*E([+-]?\d+)"))
    result[raw & NEGATIVE > 0] *= -1
    result[raw & (NO_DATA | CLUTTER) > 0] = np.nan
    return result


def _header_text(content: bytes) -> str:
    end = content.find(ETX, 0, 2000)
    if end < 0:
        raise ValueError("a RADOLAN header that is cut short")
    return content[:end].decode("ascii")


def _field(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    if not found:
        raise ValueError(f"no {pattern[:2]} in the RADOLAN header")
    return found[1]


def _shape(text: str) -> tuple[int, int]:
    found = re.search(r"GP\s*(\d+)x\s*(\d+)", text)
    shape = (int(found[1]), int(found[2])) if found else (0, 0)
    if shape not in ORIGINS:
        known = " or ".join(f"{rows}×{columns}" for rows, columns in ORIGINS)
        raise ValueError(f"a RADOLAN grid of {shape[0]}×{shape[1]} pixels, not {known}")
    return shape


@lru_cache
def _grid(shape: tuple[int, int]) -> Grid:
    crs = pyproj.CRS(PROJECTION)
    x, y = pyproj.Proj(crs)(9.0, 51.0)
    west, south = ORIGINS[shape]
    left, top = round(x - 1000 * west, 3), round(y + 1000 * (shape[0] - south), 3)
    return Grid.from_edges(crs, left=left, top=top, dx=1000.0, dy=1000.0, shape=shape)
