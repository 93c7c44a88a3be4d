"""MeteoSwiss GIF composites of 5-minute rain (product AQC), whose header is a comment in the picture.

Numbers and grid are as in pysteps (``import_mch_gif``), whose importer leaves the time to the file's name.
"""

import re
from functools import lru_cache
from io import BytesIO

import numpy as np
import pyproj
from numpy.typing import NDArray
from PIL import Image

from pipelines.common.limits import TooLarge
from pipelines.radar.grid import Grid
from pipelines.radar.readers.header import Header
from pipelines.radar.readers.names import day_of_year
from pipelines.radar.readers.radar_file import RadarFile

# The files don't say where they are: the Swiss domain CCS4 in LV03, upper left corner of 640 rows and 710 columns.
PROJECTION = (
    "+proj=somerc +lon_0=7.43958333333333 +lat_0=46.9524055555556 +k_0=1 +x_0=600000 +y_0=200000 +ellps=bessel "
    "+towgs84=674.374,15.056,405.346,0,0,0,0 +units=m +no_defs"
)
SHAPE, LEFT, TOP, PIXEL = (640, 710), 255000.0, 480000.0, 1000.0
SCALE = "mmh2LASSEN8bitmm_mn"


def recognises(file: RadarFile) -> bool:
    """Whether the content is a GIF that MeteoSwiss made."""
    return file.content[:6] in (b"GIF87a", b"GIF89a") and b"Meteoswiss" in file.content[:2000]


def headers(file: RadarFile) -> list[Header]:
    """Return the header of an accumulation, whose time is its end."""
    comment = _picture(file.content).info["comment"].decode("ascii", "replace")
    product, scale, minutes = (
        re.search(pattern, comment) for pattern in (r"PRDT=[A-Z]{3}(\d{9})\b", r"SCALE=(\S+)", r"ACCUm=(\d{6})\b")
    )
    if not (product and scale and minutes):
        raise ValueError("no PRDT, SCALE or ACCUm in the comment of the GIF")
    if scale[1] != SCALE:
        raise ValueError(f"a GIF of scale {scale[1]}, not {SCALE}")
    return [Header(day_of_year(product[1]), "end", 60 * int(minutes[1]), "mm", _grid())]


def values(file: RadarFile, number: int) -> NDArray[np.float64]:
    """Return mm: a number v is 10 log10 Z = (v - 71.5) / 2 with Z = 316 R^1.5; 0, 1 and 251 to 254 are dry."""
    v = np.arange(256.0)
    mm = (10 ** ((v - 71.5) / 20) / 316) ** (1 / 1.5)
    mm[[0, 1, 251, 252, 253, 254]], mm[255] = 0, np.nan
    return mm[np.asarray(_picture(file.content))]


def _picture(content: bytes) -> Image.Image:
    try:
        picture = Image.open(BytesIO(content), formats=["GIF"])
    except Image.DecompressionBombError as error:
        raise TooLarge(f"too large: {error}") from None
    if picture.size != SHAPE[::-1]:
        raise ValueError(f"a GIF of {picture.size[1]}×{picture.size[0]}, not MeteoSwiss' {SHAPE[0]}×{SHAPE[1]}")
    if picture.mode not in ("P", "L") or "comment" not in picture.info:
        raise ValueError("a GIF without MeteoSwiss' palette and comment")
    return picture


@lru_cache
def _grid() -> Grid:
    return Grid.from_edges(pyproj.CRS(PROJECTION), left=LEFT, top=TOP, dx=PIXEL, dy=PIXEL, shape=SHAPE)
