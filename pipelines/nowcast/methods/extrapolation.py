"""Forecasts of the newest frame alone: it stays as it is, or moves on."""

import logging
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout

import numpy as np
from numpy.typing import NDArray

from pipelines.radar.frame import DRY, Rain

# (T_in, H, W) mm/h, NaN where the radar doesn't see, oldest first, and a number of lead times, to (leads, H, W) mm/h,
# NaN where the method knows nothing. Evaluation, registered model and hourly forecast all come through this signature.
Forecaster = Callable[[Rain, int], Rain]

MOTION_FRAMES = 3  # newest ones that show Lucas–Kanade the motion

logging.getLogger("pysteps").setLevel(logging.WARNING)


def persistence(rain_rate: Rain, leads: int) -> Rain:
    """Forecast the newest frame again at every lead time."""
    return np.repeat(rain_rate[-1:], leads, axis=0)


def lucas_kanade(rain_rate: Rain) -> NDArray[np.float64]:
    """Return the motion of the echo by Lucas–Kanade optical flow over the newest three frames, as pysteps wants it.

    Parameters
    ----------
    rain_rate : ndarray of shape (T_in, H, W), mm/h

    Returns
    -------
    ndarray of shape (2, H, W)
        x and y displacement, pixels a frame; zero where nothing can be tracked.

    References
    ----------
    pysteps: Pulkkinen et al. 2019, doi:10.5194/gmd-12-4185-2019.
    """
    with redirect_stdout(None):  # it prints where its configuration lies
        from pysteps.motion.lucaskanade import dense_lucaskanade

    newest = rain_rate[-MOTION_FRAMES:]
    decibels = 10 * np.log10(np.maximum(newest, DRY), where=np.isfinite(newest), out=np.full_like(newest, np.nan))
    with warnings.catch_warnings():
        # Of few vectors it can't tell outliers, and says so in numpy's words.
        warnings.simplefilter("ignore", RuntimeWarning)
        return dense_lucaskanade(np.ma.masked_invalid(decibels))


def extrapolation(rain_rate: Rain, leads: int) -> Rain:
    """Move the newest frame along with :func:`lucas_kanade` (backward semi-Lagrangian, pysteps).

    What has not been seen upstream is NaN.
    """
    with redirect_stdout(None):
        from pysteps.extrapolation.semilagrangian import extrapolate

    if not np.isfinite(rain_rate[-1]).any():
        return np.full((leads, *rain_rate.shape[1:]), np.nan, np.float32)
    moved = extrapolate(rain_rate[-1].astype(np.float64), lucas_kanade(rain_rate), leads, allow_nonfinite_values=True)
    return moved.astype(np.float32)
