"""Small archives for tests: smooth rain cells that move at a known speed over a known grid."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyproj

from pipelines.common.rights import Rights
from pipelines.radar.frame import Frame
from pipelines.radar.grid import Grid
from pipelines.radar.store import frames_dataset

GRID_CRS = pyproj.CRS.from_proj4("+proj=laea +lat_0=55 +lon_0=10 +x_0=0 +y_0=0 +ellps=WGS84 +units=m")


def moving_cells(
    start: str,
    count: int,
    *,
    shape: tuple[int, int] = (64, 64),
    speed: tuple[float, float] = (2.0, 1.0),
    seed: int = 0,
    growth: float = 0.0,
) -> list[Frame]:
    """Frames every 5 minutes from ``start``; cells move by ``speed`` = (columns, rows) pixels a frame, periodically.

    With ``growth`` the small ones grow by this factor's exponential each frame, and the large ones decay by it.
    """
    H, W = shape
    rng = np.random.default_rng(seed)
    grid = Grid.from_edges(GRID_CRS, left=0.0, top=0.0, dx=1000.0, dy=1000.0, shape=shape)
    rows, columns = np.mgrid[:H, :W]
    cells = [(rng.uniform(0, H), rng.uniform(0, W), rng.uniform(4, 8), rng.uniform(5, 20)) for _ in range(6)]
    frames = []
    for t in range(count):
        rain = np.zeros(shape, np.float32)
        for y, x, radius, peak in cells:
            dy = (rows - y - speed[1] * t + H / 2) % H - H / 2
            dx = (columns - x - speed[0] * t + W / 2) % W - W / 2
            height = peak * np.exp(growth * (t - count / 2) * np.sign(6 - radius))
            rain += (height * np.exp(-(dy**2 + dx**2) / (2 * radius**2))).astype(np.float32)
        rain[rain < 0.1] = 0.0
        rain[:4, :4] = np.nan
        time = np.datetime64(start, "s") + t * np.timedelta64(300, "s")
        digest = hashlib.sha256(rain.tobytes()).hexdigest()
        frames.append(Frame(time, grid, "instant", 0, (200.0, 1.6), f"frame_{time}.h5", digest, rain))
    return frames


def write_archive(
    store: Path, *, events: int = 5, count: int = 14, shape: tuple[int, int] = (64, 64), growth: float = 0.0
) -> Path:
    """Write a store of ``events`` separate events of ``count`` frames, all moving alike."""
    frames = [
        frame
        for event in range(events)
        for frame in moving_cells(f"2024-06-{event + 1:02d}T12:00:00", count, shape=shape, seed=event, growth=growth)
    ]
    return write_store(store, frames)


def write_store(store: Path, frames: Sequence[Frame]) -> Path:
    """Write a store of ``frames``."""
    frames_dataset(frames, Rights("CC0-1.0")).to_zarr(store, mode="w", consolidated=False)
    return store
