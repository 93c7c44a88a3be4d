"""Frames onto another grid: means over whole blocks of pixels where possible, bilinear interpolation else.

Both work on mm/h, never on dBZ, and say NaN where less than a stated share of what they need is known.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray

from pipelines.common.errors import UserError
from pipelines.params.radar import Regrid
from pipelines.radar.frame import Frame
from pipelines.radar.grid import Grid
from pipelines.radar.readers.header import check_pixels

WHOLE = 1e-3  # a factor this close to a whole number is one: producers give pixel sizes with few digits


def regrid(frame: Frame, params: Regrid) -> Frame:
    """Bring a frame onto the grid of :func:`target_grid`; raises as :func:`check_target` does."""
    check_target(frame.grid, params)
    grid = target_grid(frame.grid, params)
    factor = _block(frame.grid, params)
    if factor:
        rain_rate = block_mean(frame.rain_rate, factor, params.min_valid)
    else:
        rain_rate = bilinear(frame.rain_rate, *_pixels_of(grid, frame.grid), params.min_valid)
    return replace(frame, rain_rate=rain_rate, grid=grid)


@lru_cache(maxsize=8)
def target_grid(grid: Grid, params: Regrid) -> Grid:
    """Return the grid that frames on ``grid``, which `check_target` has seen, come onto.

    In the grid's own projection with a whole multiple of its pixel size: blocks of pixels from the north-west on, the
    last ones perhaps beyond its edge. Else the smallest grid around it whose edges are multiples of the resolution.
    """
    return Grid.from_edges(**_edges(grid, params))


def check_target(grid: Grid, params: Regrid) -> None:
    """Refuse a grid that can't come onto another, before that one is made.

    Raises
    ------
    UserError
        If the projection is unknown.
    ValueError
        If the grid doesn't lie in it, or takes too few or too many pixels there.
    """
    rows, columns = _edges(grid, params)["shape"]
    if min(rows, columns) < 2:
        raise ValueError(f"ingest_radar.regrid.resolution: {params.resolution:g} leaves {rows}×{columns} pixels")
    check_pixels(rows, columns)


@lru_cache(maxsize=8)
def _edges(grid: Grid, params: Regrid) -> dict[str, Any]:
    """Return what :meth:`Grid.from_edges` takes."""
    factor = _block(grid, params)
    if factor:
        dy, dx = (factor * step for step in grid.spacing)
        left, top = grid.x[0] - grid.spacing[1] / 2, grid.y[0] + grid.spacing[0] / 2
        shape = tuple(-(-size // factor) for size in grid.shape)
        return {"crs": grid.crs, "left": left, "top": top, "dx": dx, "dy": dy, "shape": shape}
    crs, size = _crs(grid, params), params.resolution
    (dy, dx), (y, x) = grid.spacing, (grid.y, grid.x)
    to_crs = pyproj.Transformer.from_crs(grid.crs, crs, always_xy=True)
    bounds = np.array(
        to_crs.transform_bounds(x[0] - dx / 2, y[-1] - dy / 2, x[-1] + dx / 2, y[0] + dy / 2, densify_pts=99)
    )
    if not np.isfinite(bounds).all():
        raise ValueError(f"ingest_radar.regrid.crs: the radar's grid doesn't lie in {params.crs}")
    # A rounding error must not cost a row.
    left, bottom = np.floor(bounds[:2] / size + 1e-6) * size
    columns, rows = map(int, np.ceil((bounds[2:] - [left, bottom]) / size - 1e-6))  # of any size
    return {"crs": crs, "left": left, "top": bottom + rows * size, "dx": size, "dy": size, "shape": (rows, columns)}


def block_mean(rain_rate: NDArray[np.float32], factor: int, min_valid: float) -> NDArray[np.float32]:
    """Return the mean of the valid pixels of each block of ``factor`` by ``factor``; NaN with too few of them.

    Parameters
    ----------
    rain_rate : ndarray of shape (H, W)
        mm/h; an edge that is no whole block counts as not valid beyond it.
    min_valid : float
        Share of a block's pixels.
    """
    H, W = (-(-size // factor) for size in rain_rate.shape)
    padding = [(0, blocks * factor - size) for blocks, size in zip((H, W), rain_rate.shape, strict=True)]
    blocks = np.pad(rain_rate, padding, constant_values=np.nan).reshape(H, factor, W, factor)
    count = np.isfinite(blocks).sum(axis=(1, 3))
    total = np.nansum(blocks, axis=(1, 3), dtype=np.float64)
    enough = count >= max(min_valid * factor**2, 1)
    return np.where(enough, total / np.maximum(count, 1), np.nan).astype(np.float32)


def bilinear(
    rain_rate: NDArray[np.float32], rows: NDArray[np.float64], columns: NDArray[np.float64], min_valid: float
) -> NDArray[np.float32]:
    """Return the rain rate between pixel centres, at ``rows`` and ``columns``; NaN with too little weight known.

    The four pixels around a point weigh as in bilinear interpolation; those that aren't valid, and what is outside,
    weigh nothing.
    """
    from scipy.ndimage import map_coordinates  # here: it takes a tenth of a second that few need to wait for

    valid = np.isfinite(rain_rate)
    at = np.stack([rows, columns])
    weight = map_coordinates(valid.astype(np.float64), at, order=1, mode="grid-constant")
    total = map_coordinates(np.where(valid, rain_rate, 0.0).astype(np.float64), at, order=1, mode="grid-constant")
    enough = weight >= max(min_valid - 1e-9, 1e-9)
    return np.where(enough, total / np.maximum(weight, 1e-9), np.nan).astype(np.float32)


def _crs(grid: Grid, params: Regrid) -> pyproj.CRS:
    if params.crs is None:
        return grid.crs
    try:
        crs = pyproj.CRS.from_user_input(params.crs)
    except pyproj.exceptions.CRSError:
        raise UserError(f"ingest_radar.regrid.crs: {params.crs!r} is no projection that PROJ knows") from None
    if crs.is_projected and crs.axis_info[0].unit_conversion_factor != 1:
        raise UserError(f"ingest_radar.regrid.crs: {params.crs!r} is in {crs.axis_info[0].unit_name}, not in metres")
    return crs


def _block(grid: Grid, params: Regrid) -> int:
    """Rows and columns of a block, where blocks of whole pixels make the grid; 0 where they don't."""
    if _crs(grid, params) != grid.crs:
        return 0
    factors = params.resolution / np.array(grid.spacing)
    whole = np.rint(factors)
    near = whole[0] == whole[1] >= 1 and (np.abs(factors / np.maximum(whole, 1) - 1) < WHOLE).all()
    return int(whole[0]) if near else 0


@lru_cache(maxsize=2)
def _pixels_of(target: Grid, grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns in ``grid``, counted from 0 and not whole, of the pixel centres of ``target``."""
    to_grid = pyproj.Transformer.from_crs(target.crs, grid.crs, always_xy=True)
    x, y = to_grid.transform(*np.meshgrid(target.x, target.y))
    dy, dx = grid.spacing
    rows, columns = (grid.y[0] - y) / dy, (x - grid.x[0]) / dx
    outside = ~(np.isfinite(rows) & np.isfinite(columns))
    rows[outside] = columns[outside] = -10
    return rows, columns
