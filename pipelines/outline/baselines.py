"""What a network of polygons has to beat: the box, its ellipse, and the traced contour of a mask."""

import numpy as np
from numpy.typing import NDArray
from rasterio.features import shapes
from shapely import Polygon
from shapely.geometry import shape

from pipelines.outline.scores import mask_of

Points = NDArray[np.float64]
TRACED_TOLERANCE = 1.0  # pixels by which a traced contour is simplified: else every pixel's corner is a vertex
ELLIPSE_VERTICES = 64


def box_polygon(corners: Points) -> Points:
    """Return the polygon of a box ((x0, y0), (x1, y1)), clockwise as one sees it."""
    (x0, y0), (x1, y1) = corners
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def ellipse_polygon(corners: Points) -> Points:
    """Return the ellipse that touches the four sides of a box ((x0, y0), (x1, y1))."""
    angle = np.linspace(0, 2 * np.pi, ELLIPSE_VERTICES, endpoint=False)
    return corners.mean(0) + np.stack([np.cos(angle), np.sin(angle)], -1) * (corners[1] - corners[0]) / 2


def traced_polygon(logits: NDArray[np.float32]) -> Points:
    """Return the contour of the largest part of a mask, from its logits in cells, interpolated to pixels."""
    mask = mask_of(logits)
    parts = [shape(part) for part, _ in shapes(mask.astype(np.uint8), mask=mask)]
    if not parts:
        return np.zeros((0, 2))
    largest = Polygon(max(parts, key=lambda part: part.area).exterior).simplify(TRACED_TOLERANCE)
    return np.asarray(largest.exterior.coords)[:-1]
