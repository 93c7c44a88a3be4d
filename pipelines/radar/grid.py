"""The grid of a radar composite: a projection and the centres of its pixels."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray

EARTH_RADIUS = 6_371_000.0  # m
FACTORS = {"metre": 1.0, "degree": np.pi / 180}
Indices = slice | NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular grid in its own projection, north up.

    Parameters
    ----------
    crs : pyproj.CRS
        The projection.
    x : ndarray of shape (W,)
        Pixel centres, west to east, in the projection's unit (metres, or degrees on a lat/lon grid).
    y : ndarray of shape (H,)
        Pixel centres, north to south.

    Raises
    ------
    ValueError
        If an axis has fewer than two pixels, is not evenly spaced, or runs the wrong way.
    """

    crs: pyproj.CRS
    x: NDArray[np.floating]
    y: NDArray[np.floating]

    def __post_init__(self) -> None:
        for name, axis, sign in (("x", self.x, 1), ("y", self.y, -1)):
            steps = np.diff(axis) * sign
            if axis.ndim != 1 or steps.size == 0 or not np.isfinite(axis).all():
                raise ValueError(f"{name} needs at least two finite pixel centres")
            if steps.min() <= 0:
                raise ValueError(f"{name} must run {'west to east' if sign == 1 else 'north to south'}")
            if np.ptp(steps) > 1e-3 * steps.mean():
                raise ValueError(f"{name} is not evenly spaced")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self._key == other._key and self.crs == other.crs

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce__(self) -> tuple[Callable[..., "Grid"], tuple[str, bytes, bytes]]:
        # With each header one comes to another process: there those alike are one, whose projection is read once.
        x, y = (np.asarray(axis, np.float64).tobytes() for axis in (self.x, self.y))
        return _unpickled, (self.crs.srs, x, y)

    @property
    def _key(self) -> tuple[float, ...]:
        """What tells evenly spaced axes from others."""
        return *self.shape, self.x[0], self.x[-1], self.y[0], self.y[-1]

    @classmethod
    def from_edges(
        cls, crs: pyproj.CRS, *, left: float, top: float, dx: float, dy: float, shape: tuple[int, int]
    ) -> "Grid":
        """Return the grid of ``shape`` (H, W) from the outer edge of its north-west pixel and its pixel sizes."""
        height, width = shape
        return cls(crs, left + dx * (np.arange(width) + 0.5), top - dy * (np.arange(height) + 0.5))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns (H, W)."""
        return self.y.size, self.x.size

    @property
    def spacing(self) -> tuple[float, float]:
        """Pixel sizes (dy, dx), both positive, in the projection's unit."""
        return float(-np.diff(self.y).mean()), float(np.diff(self.x).mean())

    def difference(self, other: "Grid") -> str | None:
        """Return in words how ``other`` differs from this grid; None if it is the same to a tenth of a pixel."""
        if self is other:  # as are those of an archive's frames, and there are many
            return None
        if self.shape != other.shape:
            return f"{other.shape[0]}×{other.shape[1]} pixels, not {self.shape[0]}×{self.shape[1]}"
        if not same_projection(self.crs, other.crs):
            return f"projection {proj4(other.crs)!r}, not {proj4(self.crs)!r}"
        dy, dx = self.spacing
        if max(np.abs(self.x - other.x).max() / dx, np.abs(self.y - other.y).max() / dy) > 0.1:
            return "pixels elsewhere or of another size"
        return None

    def in_metres(self) -> "Grid":
        """Return the grid in metres where its projection has another unit of length; else itself."""
        crs = with_metres(self.crs)
        if crs is self.crs:
            return self
        factor = self.crs.axis_info[0].unit_conversion_factor / crs.axis_info[0].unit_conversion_factor
        return Grid(crs, self.x * factor, self.y * factor)

    def lonlat(
        self, rows: Indices = slice(None), columns: Indices = slice(None)
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return longitude and latitude of pixel centres, degrees, each of shape (H, W); of some, or of all."""
        to_wgs84 = pyproj.Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True)
        return to_wgs84.transform(*np.meshgrid(self.x[columns], self.y[rows]))


@lru_cache(maxsize=16)
def _unpickled(srs: str, x: bytes, y: bytes) -> Grid:
    return Grid(pyproj.CRS(srs), np.frombuffer(x), np.frombuffer(y))


def pixel_metres(grid: Grid) -> float:
    """Return the size of a pixel: the root of its area, metres; on a lat/lon grid that of the middle row."""
    dy, dx = grid.spacing
    factor = grid.crs.axis_info[0].unit_conversion_factor  # metres, or radians, to one unit of the axis
    if grid.crs.is_projected:
        return float(factor * np.sqrt(dy * dx))
    return float(EARTH_RADIUS * factor * np.sqrt(dy * dx * np.cos(np.deg2rad(grid.y.mean()))))


def same_projection(crs: pyproj.CRS, other: pyproj.CRS) -> bool:
    """Whether two projections put things in the same place, whatever they are called."""
    return crs == other or proj4(crs) == proj4(other)


def with_metres(crs: pyproj.CRS) -> pyproj.CRS:
    """Return a projection with axes in metres, one of latitudes and longitudes in degrees; itself where they are.

    Its parameters have units of their own, and stay.
    """
    unit, kind = ("degree", "Geographic") if crs.is_geographic else ("metre", "Projected")
    if all(np.isclose(axis.unit_conversion_factor, FACTORS[unit], rtol=1e-9, atol=0) for axis in crs.axis_info):
        return crs

    def change(node: Any) -> None:
        for child in node if isinstance(node, list) else node.values() if isinstance(node, dict) else ():
            change(child)
        if isinstance(node, dict) and node.get("type") in kinds:
            node.pop("id", None)  # of the one in another unit
            for axis in node["coordinate_system"]["axis"]:
                axis["unit"] = unit

    kinds = [f"{derived}{kind}CRS" for derived in ("", "Derived")]
    definition = crs.to_json_dict()
    change(definition)
    return pyproj.CRS.from_json_dict(definition)


def proj4(crs: pyproj.CRS) -> str:
    """Return a projection as a PROJ string, as far as one can say it."""
    with warnings.catch_warnings():
        # pyproj warns of what a PROJ string leaves out: names, which make no other grid.
        warnings.simplefilter("ignore", UserWarning)
        return crs.to_proj4()
