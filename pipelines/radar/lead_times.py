"""Which lead times of a forecast are drawn; apart from the maps, so that who makes a forecast needs no pictures."""

import numpy as np
from numpy.typing import NDArray


def few_leads(leads: int) -> NDArray[np.int64]:
    """Return up to four of ``leads`` lead times, evenly chosen, the last among them; counted from 0."""
    return np.unique(np.ceil(np.linspace(0, leads, 5)[1:]).astype(int)) - 1
