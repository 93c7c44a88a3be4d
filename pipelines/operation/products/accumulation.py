"""Rain amounts over periods of a forecast, mm."""

import numpy as np
from numpy.typing import NDArray

from pipelines.radar.frame import Rain

PERIODS_MIN = (30, 60)


class Accumulation:
    """A sum of rain over one period after the other, mm, of lead times that come one by one; see :func:`amounts`."""

    def __init__(self, observed: Rain, step_s: int, period_s: int, *, instants: bool) -> None:
        self.steps, self.hours, self.instants = steps_of(step_s, period_s), np.float32(step_s / 3600), instants
        self._before, self._total, self._count = observed, np.zeros_like(observed), 0

    def add(self, rain: Rain) -> Rain | None:
        """Take the next lead time's rain, mm/h; return the amount of a period that is over with it."""
        self._total += (self._before + rain) / 2 if self.instants else rain
        self._before, self._count = rain, self._count + 1
        if self._count != self.steps:
            return None
        amount, self._total, self._count = self._total * self.hours, np.zeros_like(rain), 0
        return amount


def steps_of(step_s: int, period_s: int) -> int:
    """Return the lead times of a period; 0 where they don't divide it."""
    return period_s // step_s if period_s % step_s == 0 else 0


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
    steps = steps_of(step_s, period_s)
    count = len(rain_rate) // steps if steps else 0
    period = Accumulation(observed, step_s, period_s, instants=instants)
    total = np.empty((count, *rain_rate.shape[1:]), np.float32)
    for number, rain in enumerate(rain_rate[: steps * count]):  # one by one: a continent's fields are a gigabyte
        if (amount := period.add(np.asarray(rain))) is not None:
            total[number // steps] = amount
    return total, steps * np.arange(1, count + 1) - 1
