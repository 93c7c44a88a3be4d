"""One radar frame as it is handed from a reader to a store."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.radar.grid import Grid

Rain = NDArray[np.float32]
PackedRain = NDArray[np.uint16]
RESOLUTION = 0.01  # mm/h
NO_DATA = 65535
MAXIMUM = (NO_DATA - 1) * RESOLUTION  # mm/h; a higher rain rate is stored as this one
DRY = 0.1  # mm/h; below it is no rain to an optical flow


@dataclass(frozen=True, eq=False)
class FrameHeader:
    """All that is known of a frame but its pixels.

    Parameters
    ----------
    time : numpy.datetime64
        UTC, exact to the second.
    grid : Grid
    time_is : {"instant", "start", "end"}
        What ``time`` is of that which was measured.
    interval_s : int
        Seconds over which rain was accumulated; 0 for an instant.
    z_r : tuple of float, or None
        a and b of Z = a·R^b where reflectivity was converted.
    source : str
        The source file's name, without its folder.
    sha256 : str
        Hex digest of the source file's bytes as they lie on disk.
    """

    time: np.datetime64
    grid: Grid
    time_is: Literal["instant", "start", "end"]
    interval_s: int
    z_r: tuple[float, float] | None
    source: str
    sha256: str


@dataclass(frozen=True, eq=False)
class Frame(FrameHeader):
    """Rain rate on a grid at a time, with where it came from.

    Parameters
    ----------
    rain_rate : ndarray of shape (H, W), float32
        mm/h; NaN where the radar doesn't see, 0 where it sees no rain.
    """

    rain_rate: Rain


def packed(rain_rate: Rain) -> PackedRain:
    """Return a rain rate (mm/h, NaN) as it is stored, as xarray packs it but in a sixth of the time."""
    steps = rain_rate.clip(0, MAXIMUM)
    steps /= np.float32(RESOLUTION)
    np.rint(steps, out=steps)
    steps[np.isnan(steps)] = NO_DATA
    return steps.astype(np.uint16)
