"""Areas that a forecast tells the mean rain of: polygons of a GeoJSON file, as shares of a grid's pixels."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from shapely.geometry import shape

from pipelines.common.errors import UserError, in_short
from pipelines.common.limits import check_size
from pipelines.common.text import printable
from pipelines.radar.grid import Grid

KNOWN = 0.9  # share of an area that has to be known, or its mean isn't
STEP = 0.05  # degrees: a side is straight in longitude and latitude, and seldom so in the grid's projection
LONGEST_NAME = 100
PIXELS = 50_000  # that are cut out of a polygon at once
CRS84 = "CRS84"  # the only one of RFC 7946: longitude and latitude of WGS 84, in this order


class Area(NamedTuple):
    """A polygon on a grid.

    Parameters
    ----------
    name : str
    rows, columns : slice
        Window of the grid that holds it.
    share : ndarray of the window's shape
        Of each pixel that lies in it.
    pixels : float
        Its size, in pixels, with what lies beyond the grid.
    """

    name: str
    rows: slice
    columns: slice
    share: NDArray[np.float32]
    pixels: float


def read_areas(path: Path, grid: Grid) -> tuple[list[Area], list[str]]:
    """Read a GeoJSON file of polygons; return those that lie in the grid, and why others can't be used, a line each.

    An area is called by its property ``name``, or else by its ``id``.

    Raises
    ------
    UserError
        If the file can't be read or is none, or no area is left.
    """
    try:
        check_size(path.stat().st_size)
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not GeoJSON: {in_short(error)}") from None
    features = content.get("features") if isinstance(content, dict) else None
    if not isinstance(features, list) or content.get("type") != "FeatureCollection":
        raise UserError(f"{path}: not GeoJSON: a FeatureCollection of features is wanted")
    if (crs := content.get("crs")) is not None and not _is_crs84(crs):
        words = f"{json.dumps(crs)[:80]}, and GeoJSON is in longitude and latitude of WGS 84 (RFC 7946)"
        raise UserError(f"{path}: its crs is {words}: convert it, or remove the key if it is so")
    to_grid = pyproj.Transformer.from_crs("OGC:CRS84", grid.crs, always_xy=True)
    areas: dict[str, Area] = {}
    refusals: list[str] = []
    for number, feature in enumerate(features, start=1):
        name = ""
        try:
            name = _name(feature)
            if name in areas:
                raise ValueError("another area has this name")
            areas[name] = _on_grid(name, feature.get("geometry"), grid, to_grid)
        # What shapely raises on a geometry that someone else broke can't be listed.
        except Exception as error:
            refusals.append(f"{path}: feature {number}{f' ({name})' if name else ''}: {in_short(error)}")
    if not areas:
        raise UserError("; ".join(refusals[:3]) or f"{path}: no area in it")
    return list(areas.values()), refusals


def digest(areas: Sequence[Area]) -> str:
    """Return the SHA-256 of areas as they lie on a grid: who has the same counts the same pixels."""
    content = hashlib.sha256()
    for area in areas:
        content.update(f"{area.name} {area.rows} {area.columns}".encode())
        content.update(area.share.tobytes())
    return content.hexdigest()


def area_means(fields: NDArray[np.float32], areas: Sequence[Area]) -> NDArray[np.float32]:
    """Return the means of fields (..., H, W) over areas, (..., A); NaN where less than `KNOWN` of one is known.

    What isn't known is left out of the mean; pixels count alike, whatever a projection makes of their size.
    """
    means = np.empty((*fields.shape[:-2], len(areas)), np.float32)
    for number, area in enumerate(areas):
        window = fields[..., area.rows, area.columns]
        known = np.isfinite(window)
        size = np.einsum("...yx,yx->...", known, area.share)
        total = np.einsum("...yx,yx->...", np.where(known, window, 0), area.share)
        means[..., number] = np.where(size >= KNOWN * area.pixels, total / np.maximum(size, 1e-9), np.nan)
    return means


def _is_crs84(crs: Any) -> bool:
    properties = crs.get("properties") if isinstance(crs, dict) else None
    return isinstance(properties, dict) and str(properties.get("name", "")).endswith(CRS84)


def _name(feature: Any) -> str:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise ValueError("it is no Feature")
    properties = feature.get("properties")
    given = properties.get("name") if isinstance(properties, dict) else None
    name = printable(feature.get("id", "") if given is None else given).strip()
    if not name:
        raise ValueError("it has neither a name nor an id")
    return name[:LONGEST_NAME]


def _on_grid(name: str, geometry: Any, grid: Grid, to_grid: pyproj.Transformer) -> Area:
    with np.errstate(invalid="ignore"):  # a NaN is looked for below
        polygon = shape(geometry)
    if polygon.geom_type not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"it is a {polygon.geom_type}, and a Polygon or a MultiPolygon is wanted")
    if polygon.is_empty:
        raise ValueError("it is empty")
    west, south, east, north = polygon.bounds
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise ValueError("its coordinates aren't degrees of longitude and latitude")
    if not polygon.is_valid:
        raise ValueError(f"no valid polygon: {shapely.is_valid_reason(polygon)}")
    polygon = shapely.transform(
        shapely.segmentize(polygon, STEP), lambda x, y: to_grid.transform(x, y), interleaved=False
    )
    dy, dx = grid.spacing
    left, top = grid.x[0] - dx / 2, grid.y[0] + dy / 2
    west, south, east, north = polygon.bounds
    if not np.isfinite(polygon.bounds).all() or polygon.area == 0:
        raise ValueError("it has no place in the grid's projection")
    columns = slice(*np.clip([np.floor((west - left) / dx), np.ceil((east - left) / dx)], 0, grid.x.size).astype(int))
    rows = slice(*np.clip([np.floor((top - north) / dy), np.ceil((top - south) / dy)], 0, grid.y.size).astype(int))
    H, W = rows.stop - rows.start, columns.stop - columns.start
    share = np.zeros((H, W), np.float32)
    x = left + dx * np.arange(columns.start, columns.stop)
    strip = max(1, PIXELS // max(W, 1))
    for row in range(0, H if W else 0, strip):
        of_strip = share[row : row + strip]
        y = top - dy * np.arange(rows.start + row, rows.start + row + len(of_strip))[:, None]
        part = polygon.intersection(shapely.box(x[0], y[-1, 0] - dy, x[-1] + dx, y[0, 0]))
        shapely.prepare(part)
        pixels = shapely.box(x, y - dy, x + dx, y)
        of_strip[:] = shapely.contains(part, pixels)
        partly = shapely.intersects(part, pixels) & (of_strip == 0)
        of_strip[partly] = shapely.area(shapely.intersection(part, pixels[partly])) / (dx * dy)
    size, inside = polygon.area / (dx * dy), float(share.sum(dtype=np.float64))
    if inside < KNOWN * size:
        raise ValueError(f"{inside / size:.0%} of it lies in the grid" if inside else "it lies outside of the grid")
    return Area(name, rows, columns, share, size)
