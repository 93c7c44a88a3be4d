"""RADOLAN and RADVOR binary composites of the German weather service: sums of rain, and reflectivity.

As DWD's description of the format (RADOLAN/RADVOR-OP Kompositformat 2.5) has it. pysteps' importer isn't used: it
takes clutter for dry and shifts the grid; wradlib, which is right, brings more than these lines do.
"""

import re
from functools import lru_cache

import numpy as np
import pyproj
from numpy.typing import NDArray

from pipelines.radar.grid import Grid
from pipelines.radar.readers.header import Header, nowcast, utc
from pipelines.radar.readers.radar_file import RadarFile

# Sums, in mm: of an hour (RW, EW), 5 minutes (RY, EY, YW, and RV, a nowcast), less or more. RQ is a nowcast of an hour.
SUMS = ("RW", "EW", "RY", "EY", "YW", "RH", "RB", "SQ", "SH", "SF", "W1", "W2", "W3", "W4", "RV", "RQ")
REFLECTIVITY = ("RX", "WX", "EX", "WN")
BYTE = ("RX", "WX", "EX")  # a byte a pixel
POLE = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +x_0=0 +y_0=0 +units=m +no_defs"
# A sphere, and a plane that cuts it at 60° north: distances are true there. From version 5 of the format an ellipsoid.
SPHERE, ELLIPSOID = "+R=6370040", "+ellps=WGS84"
# Columns west and rows south of 9° E, 51° N, by shape: the national composite, the extended ones, and DE1200.
ORIGINS = {(900, 900): (450, 450), (1100, 900): (370, 550), (1500, 1400): (600, 800), (1200, 1100): (470, 600)}
START = re.compile(rb"([A-Z][A-Z0-9])(\d{6})(\d{5})(\d{4})BY\s*(\d{1,10})VS\s*(\d+)")
VALUE, NO_DATA, NEGATIVE, CLUTTER = 0x0FFF, 0x2000, 0x4000, 0x8000  # bits of a pixel; 0x1000, interpolated, is good
LEAST_FLAG = 249  # of a byte: clutter, 250 is no data, and beyond is no measurement
PRECISION = r"PR\s*E([+-]?0\d)(?!\d)"
ETX = b"\x03"


def recognises(file: RadarFile) -> bool:
    """Whether the content starts as a RADOLAN composite does."""
    return START.match(file.content) is not None


def headers(file: RadarFile) -> list[Header]:
    """Return the header of a sum, whose time is its end, or of reflectivity, of an instant.

    A nowcast's is refused, but for that of its step 0.
    """
    content = file.content
    text = _header_text(content)
    product, moment, _, month, length, version = _start(content)
    if product not in SUMS + REFLECTIVITY:
        raise ValueError(f"RADOLAN product {product}, not one of {', '.join(SUMS + REFLECTIVITY)}")
    shape = _shape(text)
    if int(length) != len(content) or len(content) - len(text) - len(ETX) != _depth(product) * shape[0] * shape[1]:
        raise ValueError(f"{len(content)} bytes, and its header says {length} of {shape[0]}×{shape[1]} pixels")
    issued = utc(f"20{month[2:]}{month[:2]}{moment}")
    lead = re.search(r"VV\s*(\d+)", text)
    time = issued + np.timedelta64(int(lead[1]) if lead else 0, "m")
    refusal = nowcast(issued, time) if time > issued else None
    grid = _grid(shape, int(version) >= 5)
    _field(text, PRECISION)  # or the pixels can't be read
    names = re.search(r"MS\s*\d+<([^>]*)>", text)
    radars = dict.fromkeys(sorted(re.findall(r"\w+", names[1])), True) if names else {}
    if product in REFLECTIVITY:
        return [Header(time, "instant", 0, "dBZ", grid, refusal, radars)]
    in_days = re.search(r"INT\s*\d+U1", text)
    interval_s = int(_field(text, r"INT\s*(\d+)")) * (86400 if in_days else 60)
    return [Header(time, "end", interval_s, "mm", grid, refusal, radars)]


def values(file: RadarFile, number: int) -> NDArray[np.float64]:
    """Return pixels in mm or dBZ, row 0 north: NaN where there is no data or the pixel is marked as clutter.

    Reflectivity comes in steps of half a dBZ from -32.5, which is no echo and becomes -inf.
    """
    text = _header_text(file.content)
    product = _start(file.content)[0]
    raw = np.frombuffer(file.content, f"<u{_depth(product)}", offset=len(text) + len(ETX)).reshape(_shape(text))[::-1]
    precision = 10.0 ** int(_field(text, PRECISION))
    if product in BYTE:
        result = raw.astype(np.float64) * precision
        result[raw >= LEAST_FLAG] = np.nan
    else:
        result = (raw & VALUE).astype(np.float64) * precision
        result[raw & NEGATIVE > 0] *= -1
        result[raw & (NO_DATA | CLUTTER) > 0] = np.nan
    if product in REFLECTIVITY:
        result = np.where(result == 0, -np.inf, result / 2 - 32.5)
    return result


def _start(content: bytes) -> tuple[str, ...]:
    """Return product, day and time, place, month and year, length and version of the format."""
    found = START.match(content)
    assert found is not None  # or it wouldn't have been recognised
    return tuple(part.decode("ascii") for part in found.groups())


def _depth(product: str) -> int:
    """Return the bytes of a pixel."""
    return 1 if product in BYTE else 2


def _header_text(content: bytes) -> str:
    end = content.find(ETX, 0, 2000)
    if end < 0:
        raise ValueError("a RADOLAN header that is cut short")
    return content[:end].decode("ascii", "replace")


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
def _grid(shape: tuple[int, int], on_ellipsoid: bool) -> Grid:
    crs = pyproj.CRS(f"{POLE} {ELLIPSOID if on_ellipsoid else SPHERE}")
    x, y = pyproj.Proj(crs)(9.0, 51.0)
    west, south = ORIGINS[shape]
    left, top = round(x - 1000 * west, 3), round(y + 1000 * (shape[0] - south), 3)
    return Grid.from_edges(crs, left=left, top=top, dx=1000.0, dy=1000.0, shape=shape)
