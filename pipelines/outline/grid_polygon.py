"""A polygon on the network's grid: simplified to its cells, clockwise; and back to pixels."""

import numpy as np
from numpy.typing import NDArray
from shapely import LineString

from scs_model.networks.outline import CELL, GRID

Points = NDArray[np.floating]  # (N, 2), x and y
TOLERANCE = 0.5  # cells by which simplifying may move the outline


def to_grid(polygon: Points, max_vertices: int) -> Points:
    """Simplify a polygon in pixels of a crop to vertices in cells, clockwise as one sees it, no two in a row in a cell.

    By Douglas and Peucker, from the vertex that is farthest from the mean of all; with double the tolerance as long as
    there are more than ``max_vertices``. Fewer than 3 are left of what is thinner than a cell.
    """
    points = np.clip(np.asarray(polygon, np.float64) / CELL, 0, GRID - 1e-6)
    away = np.hypot(*(points - points.mean(0)).T)
    points = np.roll(points, -int(away.argmax()), axis=0)
    if len(points) >= 3 and signed_area(points) < 0:
        points = np.roll(points[::-1], 1, axis=0)
    tolerance, closed = TOLERANCE, LineString([*points, points[0]])
    while True:
        found = np.asarray(closed.simplify(tolerance, preserve_topology=False).coords)[:-1]
        cells = cells_of(found)
        vertices = found[cells != np.roll(cells, 1)] if len(np.unique(cells)) > 1 else found[:1]
        if len(vertices) <= max_vertices:
            return vertices
        tolerance *= 2


def signed_area(points: Points) -> float:
    """Return the area of a polygon, positive if it is clockwise as one sees it, where y goes down."""
    x, y = np.asarray(points, np.float64).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def cells_of(vertices: Points) -> NDArray[np.int64]:
    """Return the number of the cell of each vertex (n, 2) in cells: row by row."""
    column, row = np.clip(np.floor(vertices), 0, GRID - 1).astype(np.int64).T
    return row * GRID + column


def to_pixels(vertices: Points) -> NDArray[np.float64]:
    """Return vertices in pixels of a crop."""
    return np.asarray(vertices, np.float64) * CELL
