"""A method's score as a share of another's on the same forecasts, with its interval."""

import numpy as np
import pandas as pd

from pipelines.verification.bootstrap import CELLS, KEY, Interval, Statistic, mean_score


def ratio(sums: pd.DataFrame, others: pd.DataFrame, statistic: Statistic) -> Interval:
    """Return a statistic of ``sums`` divided by that of ``others``, by the same draws of blocks."""
    columns = [*statistic.columns]
    named = others[[*KEY, *CELLS, *columns]].rename(columns={name: f"other_{name}" for name in columns})
    both = sums[[*KEY, *CELLS, *columns]].merge(named, on=[*KEY, *CELLS], validate="one_to_one")

    def of(drawn: np.ndarray, cells: pd.Index) -> np.ndarray:
        ours, theirs = np.split(drawn, 2, axis=-1)
        return statistic.of(ours, cells) / statistic.of(theirs, cells)

    return mean_score(both, Statistic([*columns, *(f"other_{name}" for name in columns)], statistic.by, of))
