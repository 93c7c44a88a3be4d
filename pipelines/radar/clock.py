"""The clock that an archive's frames follow: its step, and when they are missing."""

import numpy as np
from numpy.typing import NDArray

CLOCK_TICKS = 10_000_000  # 95 years of 5 minutes


def usual_step(times: NDArray[np.datetime64]) -> int:
    """Return the seconds between neighbouring times that occur most often; the shorter of two that tie.

    Parameters
    ----------
    times : ndarray of datetime64
        At least two different ones, in any order.
    """
    steps, counts = np.unique(np.diff(np.unique(times)).astype("timedelta64[s]").astype(int), return_counts=True)
    return int(steps[counts.argmax()])


def missing_times(time: NDArray[np.datetime64]) -> NDArray[np.datetime64] | None:
    """List the times that a regular clock of the shortest step has and ``time`` has not.

    None if ``time`` doesn't follow such a clock, or it would tick more than `CLOCK_TICKS` times.
    """
    if time.size < 2:
        return None
    step = np.diff(time).min()
    if ((time - time[0]) % step).astype(np.int64).any() or (time[-1] - time[0]) / step > CLOCK_TICKS:
        return None
    return np.setdiff1d(np.arange(time[0], time[-1], step), time)
