"""Lines of latitude and longitude on a map in any projection."""

import numpy as np
import pyproj
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

STEPS = np.array([0.1, 0.2, 0.5, 1, 2, 5, 10, 20])  # degrees between lines
LINES = 4  # of each kind, about
POINTS = 60  # each way, from which a line is drawn


def draw_graticule(axes: Axes, crs: pyproj.CRS, extent: tuple[float, float, float, float]) -> LineCollection:
    """Draw lines of latitude and longitude over ``extent`` (left, right, bottom, top), labelled left and below."""
    left, right, bottom, top = extent
    x, y = np.linspace(left, right, POINTS), np.linspace(bottom, top, POINTS)
    to_wgs84 = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = to_wgs84.transform(*np.meshgrid(x, y))
    lon = np.unwrap(np.unwrap(lon, period=360, axis=1), period=360, axis=0)
    lines = []
    for degrees, edge, along, axis, names in (
        (lon, lon[0], x, axes.xaxis, "EW"),
        (lat, lat[:, 0], y, axes.yaxis, "NS"),
    ):
        step = STEPS[np.abs(np.log(STEPS * LINES / np.ptp(degrees))).argmin()]
        levels = step * np.arange(np.ceil(degrees.min() / step), np.floor(degrees.max() / step) + 1)
        contours = axes.contour(x, y, degrees, levels)
        lines += [line for of_level in contours.allsegs for line in of_level]
        contours.remove()
        ticks = [(at, level) for level in levels for at in _crossings(edge - level, along)]
        axis.set_ticks([at for at, _ in ticks], [_degrees(level, names) for _, level in ticks])
    collection = LineCollection(lines, colors="#546e7a", linewidths=0.6, alpha=0.6)
    axes.add_collection(collection)
    return collection


def _crossings(values: NDArray[np.float64], along: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where ``values`` change their sign, between the points ``along``."""
    i = np.flatnonzero(np.signbit(values[:-1]) != np.signbit(values[1:]))
    return along[i] + (along[i + 1] - along[i]) * values[i] / (values[i] - values[i + 1])


def _degrees(level: float, names: str) -> str:
    turned = (level + 180) % 360 - 180 if names == "EW" else level
    return f"{abs(round(turned, 1)):g}°{'' if turned == 0 else names[int(turned < 0)]}"
