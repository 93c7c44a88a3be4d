"""Quality control of a frame: impossible rain rates, and what is said of each frame in the quality table."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.radar.frame import Frame

WET_RATE = 0.1  # mm/h


@dataclass(frozen=True)
class Quality:
    """A row of the quality table.

    Parameters
    ----------
    valid_share : float
        Of all pixels, those that the radar sees, after the control.
    wet_share : float
        Of the valid pixels, those of at least `WET_RATE`.
    mean : float
        Rain rate over the valid pixels after the control, mm/h.
    maximum : float
        Highest rain rate before the control, mm/h.
    clipped : int
        Pixels that were above the highest possible rain rate.
    """

    valid_share: float
    wet_share: float
    mean: float
    maximum: float
    clipped: int


def control(frame: Frame, max_rate: float, above: Literal["clip", "mask"]) -> tuple[Frame, Quality]:
    """Clip rain rates above ``max_rate`` (mm/h) to it, or mask them (NaN), and count them."""
    rain_rate = frame.rain_rate
    maximum, high = float(np.nanmax(rain_rate)), rain_rate > max_rate
    clipped = int(np.count_nonzero(high))
    if clipped:
        rain_rate = np.where(high, np.float32(max_rate if above == "clip" else np.nan), rain_rate)
        frame = replace(frame, rain_rate=rain_rate)
    return frame, describe(rain_rate, maximum, clipped)


def describe(rain_rate: NDArray[np.floating], maximum: float, clipped: int) -> Quality:
    """Return the quality of a rain rate field (H, W), mm/h."""
    valid = int(np.count_nonzero(np.isfinite(rain_rate)))
    if not valid:
        return Quality(0.0, 0.0, 0.0, maximum, clipped)
    wet = int(np.count_nonzero(rain_rate >= np.float32(WET_RATE)))
    return Quality(
        valid / rain_rate.size, wet / valid, float(np.nanmean(rain_rate, dtype=np.float64)), maximum, clipped
    )
