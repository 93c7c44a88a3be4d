"""Whether what is said comes as often: of what is said to be likely, and of what isn't, by blocks of weather."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.verification.bootstrap import KEY, Statistic, intervals
from pipelines.verification.probabilities import BINS, EDGES, OF_BINS

CLASSES = ("unlikely", "likely")  # a probability below a half, and from there on
HALF = int(np.searchsorted(EDGES, EDGES[-1] // 2))  # number of the first bin of the likely
PARTS = ["count", "said", "came"]


def odds_by_class(sums: pd.DataFrame) -> pd.DataFrame:
    """Return how often came what was said to be likely, and what was said not to be, over all lead times.

    Parameters
    ----------
    sums : DataFrame
        Tables of :func:`pipelines.verification.probabilities.score_probabilities`, with columns event and time.

    Returns
    -------
    DataFrame
        Index threshold and label, one of `CLASSES`; columns ``said`` and ``came`` (mean probability and share of
        events), ``odds``: those of what came over those of what was said, 1 being best, with the ends of its 95 %
        interval by block bootstrap, ``low`` and ``high``; ``times``: at how many times of issue the unlikely came, or
        something was likely. That the unlikely never came shows nothing: a rare storm is many pixels, and one event.
    """
    cells = sums.groupby(["threshold", *KEY])[OF_BINS].sum()
    count, _, came = np.moveaxis(_classes(cells.to_numpy()), -1, 0)
    known = pd.DataFrame({"unlikely": came[:, 0] > 0, "likely": count[:, 1] > 0}, cells.index)
    (odds, low, high), _ = intervals(sums, Statistic(OF_BINS, ["threshold"], lambda sums, _: _odds(_classes(sums))))
    whole = sums.groupby("threshold")[OF_BINS].sum()
    count, said, came = np.moveaxis(_classes(whole.to_numpy()), -1, 0)
    with np.errstate(invalid="ignore"):
        parts = {"said": said / count, "came": came / count, "odds": odds, "low": low, "high": high}
    parts["times"] = known.groupby("threshold").sum().to_numpy()
    index = pd.MultiIndex.from_product([whole.index, CLASSES], names=["threshold", "label"])
    return pd.DataFrame({name: np.asarray(part).ravel() for name, part in parts.items()}, index)


def _classes(of_bins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum up `OF_BINS` (..., 3 · BINS) over the bins of each class: (..., classes, `PARTS`)."""
    parts = of_bins.reshape(*of_bins.shape[:-1], len(PARTS), BINS)
    return np.stack([parts[..., :HALF].sum(axis=-1), parts[..., HALF:].sum(axis=-1)], axis=-2)


def _odds(classes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the odds of what came over those of what was said; 1 where there is nothing."""
    count, said, came = np.moveaxis(classes, -1, 0)
    half = 0.5  # of a pixel to each: one that never or always comes has odds as well (Haldane 1956)
    return (came + half) * (count - said + half) / ((said + half) * (count - came + half))
