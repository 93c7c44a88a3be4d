"""Intervals of a mean over samples that come in groups: of one video, of one image."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

DRAWS, SEED = 2000, 1


def bootstrap_ratio(sums: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the ratio of the sums of two columns (groups, 2), and its 95 % interval over draws of groups.

    The interval is NaN where there is one group only. Whole clusters are resampled: Davison and Hinkley 1997,
    doi:10.1017/CBO9780511802843, section 3.8.
    """
    value = float(sums[:, 0].sum() / sums[:, 1].sum())
    groups = len(sums)
    if groups < 2:
        return value, np.nan, np.nan
    drawn = np.random.default_rng(SEED).multinomial(groups, np.full(groups, 1 / groups), DRAWS) @ sums
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return value, float(low), float(high)


def bootstrap_mean(values: pd.Series, groups: pd.Series) -> tuple[float, float, float]:
    """Return the mean over samples, and its 95 % interval over draws of their groups, as `bootstrap_ratio` does."""
    return bootstrap_ratio(values.groupby(groups).agg(["sum", "count"]).to_numpy(float))


def show_interval(value: float, low: float, high: float, sign: str = "") -> str:
    """Return a number and its interval as a table has them; ``sign`` is "+" for differences."""
    return f"{value:{sign}.3f}" + ("" if np.isnan(low) else f" [{low:{sign}.3f} to {high:{sign}.3f}]")
