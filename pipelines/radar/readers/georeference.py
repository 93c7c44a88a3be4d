"""Grids from what radar files say of their corners and pixels."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray

from pipelines.radar.grid import Grid, with_metres

LonLat = tuple[float, float]
CROOKED = 0.05  # share of a pixel by which a pixel centre may lie beside an even axis: floats of 32 bits, few decimals

# In PROJ's words, and in those within WKT: what is read from a file, or from what PROJ finds by that name.
FILE = re.compile(
    r'\b(?:\w*grids|init|catalog|file|model)\s*=[\s"\']*([^\s"\']*)|\bPROJ4_GRIDS\b'
    r'|\bPARAMETERFILE\s*[\[(](?:\s*"(?:[^"]|"")*"\s*,\s*"((?:[^"]|"")*)")?',
    re.IGNORECASE,
)
HARMLESS = re.compile(r"@?null|epsg:\d+", re.IGNORECASE)
# PROJ counts in metres; some producers write the earth in kilometres, and with it all that is beside it.
KM_EARTH = re.compile(r"\+?\b(?:a|R)=[67]\d\d\d(?:\.\d*)?(?!\d)")
LENGTHS = re.compile(r"\+?\b(a|b|R|h|x_0|y_0)=([+-]?\d+\.?\d*(?:[eE][+-]?\d+)?)")
EARTH_KM = 6000.0, 7000.0  # its radius lies between them


def crs_of(words: str) -> pyproj.CRS:
    """Return the projection that a file names in PROJ's words, as WKT or by a code.

    Raises
    ------
    ValueError
        As :func:`check_words` does, and if it is none, or not one of the earth.
    """
    check_words(words)
    if KM_EARTH.search(words):
        words = LENGTHS.sub(lambda found: f"+{found[1]}={round(float(found[2]) * 1000, 3)}", words)
        words = re.sub(r"\+?\bunits=\w+", "", words) + " +units=km"
    return checked_crs(words)


def checked_crs(given: Any, make: Callable[[Any], pyproj.CRS] = pyproj.CRS.from_user_input) -> pyproj.CRS:
    """Return the projection that PROJ makes of what is given; a ValueError if there is none, or not of the earth."""
    try:
        crs = make(given)
    except (pyproj.exceptions.CRSError, KeyError, TypeError, ValueError):  # pyproj wants names, and pairs of numbers
        raise ValueError(f"no projection that PROJ knows: {str(given)[:100]!r}") from None
    radius_km = crs.ellipsoid.semi_major_metre / 1000 if crs.ellipsoid else np.nan
    if not EARTH_KM[0] < radius_km < EARTH_KM[1]:
        raise ValueError(f"its earth has a radius of {radius_km:g} km")
    return crs


def check_words(words: str) -> None:
    """Refuse, by ValueError, words of a projection that have PROJ read another file: it would take any, by its path."""
    for found in FILE.finditer(words):
        if not HARMLESS.fullmatch(found[1] or found[2] or ""):
            raise ValueError(f"its projection leads to another file: {found[0]}")
    if words.lstrip().startswith("{"):  # PROJ's JSON can name files, too
        raise ValueError("its projection is JSON, not WKT or PROJ's words")


def even_axis(centres: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Return an axis as it was meant: the straight line through pixel centres that were rounded.

    Parameters
    ----------
    centres : ndarray of shape (n,)
        Rising or falling.
    name : str
        For messages.

    Raises
    ------
    ValueError
        If it isn't even: a centre lies further beside the line than `CROOKED` of a pixel.
    """
    steps = np.diff(centres)
    if not steps.size or not np.isfinite(centres).all():
        raise ValueError(f"{name} needs at least two finite pixel centres")
    if steps.all() and np.ptp(steps) <= 1e-6 * np.abs(steps).max():
        return centres
    number = np.arange(centres.size)
    line = np.polynomial.Polynomial.fit(number, centres, 1)(number)
    step = line[1] - line[0]
    if not step or not np.abs(centres - line).max() <= CROOKED * abs(step):
        raise ValueError(f"{name} is not evenly spaced")
    return line


@lru_cache(maxsize=16)
def grid_from_corners(
    projection: str,
    shape: tuple[int, int],
    *,
    lower_left: LonLat,
    upper_right: LonLat,
    pixel: tuple[float, float] | None = None,
    origin: tuple[float, float] | None = None,
) -> Grid:
    """Return the grid between the outer corners of its outermost pixels; raises ValueError if that doesn't make a grid.

    What a file says twice is checked: corners against pixel size and origin, to half a pixel.

    Parameters
    ----------
    projection : str
        PROJ definition; the grid of a projection in another unit of length is in metres.
    shape : tuple of int
        Rows and columns (H, W).
    lower_left, upper_right : tuple of float
        Longitude and latitude, degrees.
    pixel : tuple of float, optional
        Pixel size (dx, dy) in metres or the projection's unit, if the file says it too.
    origin : tuple of float, optional
        Left and top outer edge in metres or degrees, if the file says it too; more exact than corners.
    """
    height, width = shape
    if min(shape) < 2:
        raise ValueError(f"a grid of {height}×{width} pixels")
    given = crs_of(projection)
    crs = with_metres(given)
    # Corners are on the ellipsoid of the projection, whatever its shift to WGS 84. So has Proj it, but counts degrees
    # around a turned pole in radians.
    project: Callable[..., Any] = pyproj.Proj(crs)
    if crs.is_geographic and crs.is_derived:
        project = pyproj.Transformer.from_crs(crs.source_crs, crs, always_xy=True).transform
    try:
        (left, bottom), (right, top) = (project(*corner, errcheck=True) for corner in (lower_left, upper_right))
    except pyproj.exceptions.ProjError:
        raise ValueError(f"the corners {lower_left} and {upper_right} don't lie in its projection") from None
    dx, dy = (right - left) / width, (top - bottom) / height
    if not (0 < dx < np.inf and 0 < dy < np.inf):
        raise ValueError("the corners don't span a grid")
    unit = given.axis_info[0].unit_conversion_factor if given.is_projected else 1.0
    if pixel is not None and abs(pixel[0] * unit / dx - 1) < abs(pixel[0] / dx - 1):
        pixel = pixel[0] * unit, pixel[1] * unit  # in the projection's unit, not in metres
    if pixel is not None:
        error = max(abs(pixel[0] / dx - 1) * width, abs(pixel[1] / dy - 1) * height)
        if not error <= 0.5:
            raise ValueError(f"the corners make pixels of {dx:.6g} by {dy:.6g}, not {pixel[0]:.6g} by {pixel[1]:.6g}")
        dx, dy = pixel
    if origin is not None:
        if not max(abs(origin[0] - left) / dx, abs(origin[1] - top) / dy) <= 0.5:
            raise ValueError("the corners and the offsets of the grid disagree")
        left, top = origin
    if crs.is_projected:
        # Corners are given to a few digits of a degree: less than a millimetre is noise.
        left, top = round(left, 3) + 0.0, round(top, 3) + 0.0
    return Grid.from_edges(crs, left=left, top=top, dx=dx, dy=dy, shape=shape)
