"""Rain amounts over periods of a forecast, mm."""

import numpy as np
from numpy.typing import NDArray

from pipelines.radar.frame import Rain

PERIODS_MIN = (30, 60)


def amounts(
    rain_rate: Rain, observed: Rain, step_s: int, period_s: int, *, instants: bool
) -> tuple[Rain, NDArray[np.intp]]:
    """Add up a forecast over whole periods, one after the other.

    Rates over intervals are R·step each. Between instants rain is taken to change evenly (trapezoid rule), from the
    newest observed frame on. An amount is NaN where any part of it is.

    Parameters
    ----------
    rain_rate : ndarray of shape (leads, H, W), mm/h
    observed : ndarray of shape (H, W), mm/h
        The newest observed frame.
    step_s : int
        Seconds from one lead time to the next.
    period_s : int
        Length of a period.
    instants : bool
        Whether rates are of instants, not over intervals.

    Returns
    -------
    amounts : ndarray of shape (periods, H, W), mm
        None, of length 0, where the steps don't divide the period or the lead times don't fill one.
    lasts : ndarray of shape (periods,)
        Index of each period's last lead time.
    """
    steps = period_s // step_s
    count = len(rain_rate) // steps if steps and period_s % step_s == 0 else 0
    lasts = steps * np.arange(1, count + 1) - 1
    total, before = np.zeros((count, *rain_rate.shape[1:]), np.float32), observed
    for number, rain in enumerate(rain_rate[: steps * count]):  # one by one: a continent's fields are a gigabyte
        total[number // steps] += (before + rain) / 2 if instants else rain
        before = rain
    total *= np.float32(step_s / 3600)
    return total, lasts
