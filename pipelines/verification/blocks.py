"""Which forecasts are of the same weather: independent blocks of issue times."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

BLOCK_HOURS = 2.0  # forecasts closer than this are of the same rain, and no independent witnesses


def number_blocks(forecasts: pd.DataFrame, hours: float = BLOCK_HOURS) -> NDArray[np.int64]:
    """Return the number of each forecast's block: consecutive issue times of one event, of at least ``hours``.

    Parameters
    ----------
    forecasts : DataFrame
        Columns event and time (of issue). An event is cut evenly into as many blocks of ``hours`` as fit; a shorter
        one is one block.
    """
    time = pd.to_datetime(forecasts["time"])
    of_event = time.groupby(forecasts["event"])
    first = of_event.transform("min")
    span = (of_event.transform("max") - first) / pd.Timedelta(hours=hours)
    count = np.maximum(np.floor(span), 1.0)
    share = ((time - first) / pd.Timedelta(hours=hours) / span.where(span > 0, 1.0)).to_numpy()
    piece = np.minimum(np.floor(share * count.to_numpy()), count.to_numpy() - 1)
    return forecasts.assign(piece=piece).groupby(["event", "piece"]).ngroup().to_numpy()
