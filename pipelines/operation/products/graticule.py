"""Lines of latitude and longitude on a map in any projection."""

from typing import Literal, NamedTuple

import numpy as np
import pyproj
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

STEPS = np.array([0.1, 0.2, 0.5, 1, 2, 5, 10, 20])  # degrees between lines
LINES = 4  # of each kind, about
POINTS = 60  # each way, from which a line is drawn

Extent = tuple[float, float, float, float]  # left, right, bottom, top


class Line(NamedTuple):
    """One degree of longitude or latitude, its name, and points (N, 2) in the projection's own unit."""

    of: Literal["lon", "lat"]
    name: str
    points: NDArray[np.float64]


class Ticks(NamedTuple):
    """Where lines reach an edge of a map, and their names."""

    at: list[float]
    names: list[str]


def graticule(crs: pyproj.CRS, extent: Extent) -> tuple[list[Line], Ticks, Ticks]:
    """Return the lines of a map, the ticks of longitude on its lower edge, and those of latitude on its left."""
    x, y, lon, lat = lonlat_lattice(crs, extent, POINTS)
    lines, ticks = list[Line](), dict[str, Ticks]()
    kinds: tuple[tuple[Literal["lon", "lat"], NDArray, NDArray, NDArray, str], ...] = (
        ("lon", lon, lon[0], x, "EW"),
        ("lat", lat, lat[:, 0], y, "NS"),
    )
    for of, degrees, edge, along, names in kinds:
        known = degrees[np.isfinite(degrees)]
        step = STEPS[np.abs(np.log(STEPS * LINES / np.ptp(known))).argmin()] if known.size else STEPS[-1]
        levels = step * np.arange(np.ceil(known.min() / step), np.floor(known.max() / step) + 1) if known.size else []
        contours = contour_generator(x, y, np.ma.masked_invalid(degrees))
        lines += [
            Line(of, _degrees(one, names), np.asarray(points)) for one in levels for points in contours.lines(one)
        ]
        reached = [(at, _degrees(one, names)) for one in levels for at in _crossings(edge - one, along)]
        ticks[of] = Ticks([at for at, _ in reached], [name for _, name in reached])
    return lines, ticks["lon"], ticks["lat"]


def draw_graticule(axes: Axes, crs: pyproj.CRS, extent: Extent) -> LineCollection:
    """Draw lines of latitude and longitude over ``extent``, labelled left and below."""
    lines, below, left = graticule(crs, extent)
    axes.xaxis.set_ticks(below.at, below.names)
    axes.yaxis.set_ticks(left.at, left.names)
    collection = LineCollection([line.points for line in lines], colors="#546e7a", linewidths=0.6, alpha=0.6)
    axes.add_collection(collection)
    return collection


def lonlat_lattice(crs: pyproj.CRS, extent: Extent, points: int) -> tuple[NDArray[np.float64], ...]:
    """Return x and y, evenly over ``extent`` from its lower left, and longitude and latitude (y, x) there, degrees.

    Longitudes don't leap at 180°: they go beyond it. NaN off the globe, as around the disk that a satellite sees.
    """
    left, right, bottom, top = extent
    x, y = np.linspace(left, right, points), np.linspace(bottom, top, points)
    to_wgs84 = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = to_wgs84.transform(*np.meshgrid(x, y))
    known = np.isfinite(lon) & np.isfinite(lat)
    if known.all():
        return x, y, np.unwrap(np.unwrap(lon, period=360, axis=1), period=360, axis=0), lat
    # A leap is told by neighbours, which aren't all known: no disk has more than half the globe around its middle.
    lon, lat = np.where(known, (lon, lat), np.nan)
    middle = lon[known][known.sum() // 2] if known.any() else 0.0
    return x, y, (lon - middle + 180) % 360 - 180 + middle, lat


def _crossings(values: NDArray[np.float64], along: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where ``values`` change their sign, between the points ``along``."""
    both = np.isfinite(values[:-1]) & np.isfinite(values[1:])
    i = np.flatnonzero((np.signbit(values[:-1]) != np.signbit(values[1:])) & both)
    return along[i] + (along[i + 1] - along[i]) * values[i] / (values[i] - values[i + 1])


def _degrees(level: float, names: str) -> str:
    turned = (level + 180) % 360 - 180 if names == "EW" else level
    return f"{abs(round(turned, 1)):g}°{'' if turned == 0 else names[int(turned < 0)]}"
