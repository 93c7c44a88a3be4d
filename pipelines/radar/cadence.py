"""The time from one frame to the next."""

import numpy as np
from numpy.typing import NDArray


def usual_step(times: NDArray[np.datetime64]) -> int:
    """Seconds between neighbouring times that occur most often; the shorter of two that tie.

    Parameters
    ----------
    times : ndarray of datetime64
        At least two different ones, in any order.
    """
    steps, counts = np.unique(np.diff(np.unique(times)).astype("timedelta64[s]").astype(int), return_counts=True)
    return int(steps[counts.argmax()])
