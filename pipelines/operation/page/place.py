"""Where a forecast's pixels are, as the page draws and tells it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.operation.page.script import finite
from pipelines.operation.products.graticule import graticule, lonlat_lattice
from pipelines.radar.grid import Grid, pixel_metres

POINTS = 17  # each way, at which longitude and latitude are told; between them they are nearly even


def place_of(grid: Grid) -> dict[str, Any]:
    """Return a grid's shape on the ground and its graticule, in shares of the map's width and height from the top left.

    ``aspect`` is height by width; ``km`` the width; ``lines`` the graticule; ``lon`` and ``lat`` are degrees at
    `POINTS` by `POINTS` places, from the top left.
    """
    dy, dx = grid.spacing
    H, W = grid.shape
    extent = (grid.x[0] - dx / 2, grid.x[-1] + dx / 2, grid.y[-1] - dy / 2, grid.y[0] + dy / 2)
    # A degree of longitude is shorter than one of latitude.
    stretch = 1.0 if grid.crs.is_projected else 1 / np.cos(np.deg2rad(grid.y.mean()))
    aspect = stretch * H * dy / (W * dx)
    _, _, lon, lat = lonlat_lattice(grid.crs, extent, POINTS)
    lines, _, _ = graticule(grid.crs, extent)
    origin, size = np.array([extent[0], extent[3]]), np.array([W * dx, -H * dy])
    return {
        "aspect": round(float(aspect), 4),
        # Of the same area as pixels whose sides differ.
        "km": round(float(pixel_metres(grid) * np.sqrt(H * W / aspect) / 1000), 3),
        "lines": [
            {"of": line.of, "name": line.name, "points": np.round((line.points - origin) / size, 4).tolist()}
            for line in lines
        ],
        "lon": _rows(lon[::-1]),
        "lat": _rows(lat[::-1]),
    }


def _rows(values: NDArray[np.float64]) -> list[list[float | None]]:
    return [[finite(value, 4) for value in row] for row in values]
