"""What becomes of the polygon that somebody drew: one or more outlines without holes, or a reason why none.

* Less than three different vertices, or no area: no outline, and no part of one.
* Where it crosses itself, it is repaired (`shapely.make_valid`), if its largest part has `REPAIRED` of its area.
* What is outside the image is cut off; if that is the larger part of it, it is no outline.
* What others hide is cut off, where the annotation says what is in front of what.
* Each part that is left is an outline of its own, if it has `PART` of the area; holes are filled.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon

REPAIRED = 0.9
PART = 0.05
FARTHEST = 1e6  # pixels that a vertex may be from the image's corner


class NoArea(ValueError):  # noqa: N818 - a condition of an annotation, not of the program
    """What an annotation has as a polygon covers nothing."""


def read_polygons(parts: Sequence[Any]) -> Polygon | MultiPolygon:
    """Return what the parts of an object cover; those without an area are left out, where another has one.

    Raises
    ------
    ValueError
        If one of them is no polygon, or none has an area.
    """
    found, scraps = [], []
    for points in parts:
        try:
            found.append(read_polygon(points))
        except NoArea as error:
            scraps.append(error)
    if scraps and not found:
        raise scraps[0]
    return found[0] if len(found) == 1 else shapely.union_all(found)


def read_polygon(points: Any) -> Polygon:
    """Return a valid polygon without holes; ``points`` are pairs of numbers, as JSON has them.

    Raises
    ------
    ValueError
        If there is none; `NoArea`, if it covers nothing.
    """
    try:
        ring = np.asarray(points, np.float64)
    except (TypeError, ValueError, OverflowError):
        ring = np.full((1, 1), np.nan)
    if isinstance(points, list) and not points:
        ring = ring.reshape(0, 2)
    if ring.ndim != 2 or ring.shape[1] != 2:
        raise ValueError("its vertices aren't pairs of numbers")
    if not (np.abs(ring) < FARTHEST).all():
        raise ValueError("a vertex isn't a number, or is far away")
    different = len(np.unique(ring, axis=0))
    if different < 3:
        raise NoArea(f"{different} {'vertex' if different == 1 else 'vertices'}, and a polygon has at least 3")
    polygon = Polygon(ring)
    if not polygon.is_valid:
        parts = _polygons(shapely.make_valid(polygon, method="structure", keep_collapsed=False))
        polygon = max(parts, key=lambda part: part.area, default=Polygon())
        whole = sum(part.area for part in parts)
        if polygon.area < REPAIRED * whole:
            raise ValueError(f"it crosses itself, and its largest part has {polygon.area / whole:.0%} of it")
    if polygon.area == 0:
        raise NoArea("it has no area")
    return shapely.remove_repeated_points(Polygon(polygon.exterior))


def outlines(polygon: Polygon, in_front: Sequence[Polygon], image_size: tuple[int, int]) -> list[Polygon]:
    """Return the outlines that are seen of a polygon, the largest first, their vertices clockwise as one sees them.

    Raises
    ------
    ValueError
        If there are none.
    """
    height, width = image_size
    x0, y0, x1, y1 = polygon.bounds
    within = x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height
    inside = polygon if within else polygon.intersection(shapely.box(0, 0, width, height))
    if inside.area <= polygon.area / 2:
        raise ValueError("most of it is outside the image" if inside.area else "outside the image")
    others = np.array(in_front, object)
    hiding = others[shapely.intersects(others, inside)]
    seen = inside.difference(shapely.union_all(hiding)) if len(hiding) else inside
    parts = [Polygon(part.exterior) for part in _polygons(seen) if part.area >= PART * inside.area]
    if not parts:
        raise ValueError("hidden by others")
    # y goes down: what is counterclockwise in mathematics is clockwise here.
    return sorted((shapely.orient_polygons(part) for part in parts), key=lambda part: (-part.area, part.bounds))


def _polygons(geometry: shapely.Geometry) -> list[Polygon]:
    """Return the polygons among the parts of a geometry: lines and points have no area."""
    parts = shapely.get_parts(geometry)
    nested = [shapely.get_parts(part) if isinstance(part, MultiPolygon) else [part] for part in parts]
    return [part for group in nested for part in group if isinstance(part, Polygon) and part.area]
