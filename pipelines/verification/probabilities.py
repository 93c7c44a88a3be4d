"""What forecasts of probability got right, as sums that add up, and the scores that follow from them.

As `pipelines.verification.scoring` does for forecasts of a field: :func:`score_probabilities` sums up one forecast,
tables of many are concatenated, :func:`probability_scores` pools and scores them.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.radar.frame import Rain

BINS = 20  # of probability, even, the last one closed; for reliability and ROC
OF_BINS = [f"{what}_{number}" for what in ("count", "said", "came") for number in range(BINS)]
PROBABILITY_SUMS = ["squared_error", "spread", *OF_BINS]


def score_probabilities(
    exceedance: NDArray[np.float32],
    observed: Rain,
    mask: NDArray[np.bool_],
    rates: Sequence[float],
    *,
    minutes: Sequence[float],
    members: int | None = None,
) -> pd.DataFrame:
    """Return what one forecast of probabilities got right, for each lead time and rain rate.

    Parameters
    ----------
    exceedance : ndarray of shape (leads, rates, H, W)
        Probability of a rain rate of at least each rate.
    observed : ndarray of shape (leads, H, W), mm/h
    mask : ndarray of shape (leads, H, W)
        The pixels that count; forecast and observed are finite there.
    rates : sequence of float
        mm/h, ascending.
    minutes : sequence of float
        The lead times.
    members : int, optional
        Of the ensemble whose shares the probabilities are; None where they are no ensemble's.

    Returns
    -------
    DataFrame
        One row for each lead time and rate: ``minutes``, ``threshold``, ``members`` (NaN for no ensemble), and the sums
        `PROBABILITY_SUMS` over the pixels that count, p the probability and o 1 where it came, else 0:
        ``squared_error`` (p - o)², ``spread`` p (1 - p), and in each bin of p ``count`` 1, ``said`` p, ``came`` o.
    """
    rows = []
    for lead, counts in enumerate(mask):
        seen = observed[lead][counts]
        for number, rate in enumerate(rates):
            p, came = exceedance[lead, number][counts].astype(np.float64), seen >= rate
            of_bin = np.minimum((p * BINS).astype(int), BINS - 1)
            bins = [np.bincount(of_bin, weights, BINS) for weights in (None, p, came)]
            sums = [np.square(p - came).sum(), (p * (1 - p)).sum(), *np.concatenate(bins)]
            rows.append([minutes[lead], rate, np.nan if members is None else members, *sums])
    return pd.DataFrame(rows, columns=["minutes", "threshold", "members", *PROBABILITY_SUMS], dtype=float)


def probability_scores(sums: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of all forecasts together, at each rain rate and lead time.

    Parameters
    ----------
    sums : DataFrame
        Tables of :func:`score_probabilities`, of any number of forecasts.
    reference : DataFrame
        The same forecasts of the method that skill is measured against: the climatology of the training archives.

    Returns
    -------
    DataFrame
        Index threshold and minutes; columns ``brier``, ``brier_fair`` (of an ensemble as if of endless members: Ferro
        2014), ``brier_skill``, ``brier_skill_fair``, ``roc_area``, ``sharpness`` (mean p (1 - p): 0 for a forecast of
        0 and 1 alone); NaN where a score is undefined.

    References
    ----------
    Ferro 2014, doi:10.1002/qj.2270.
    """
    total = _pooled(sums)
    count, _, came = _bins(total)
    pixels = count.sum(axis=1)
    finite = np.nan_to_num(1 / (total["members"] - 1))  # 0 for no ensemble
    brier = total["squared_error"] / pixels
    fair = brier - finite * total["spread"] / pixels
    of_reference = _pooled(reference)["squared_error"] / pixels
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = {
            "brier": brier,
            "brier_fair": fair,
            "brier_skill": 1 - brier / of_reference,
            "brier_skill_fair": 1 - fair / of_reference,
            "roc_area": roc_area(count, came),
            "sharpness": total["spread"] / pixels,
        }
    return pd.DataFrame(scores).replace([np.inf, -np.inf], np.nan)


def roc_area(count: NDArray[np.float64], came: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the area under the ROC curve from bins of probability, (..., BINS) forecasts and events; by trapezoids."""
    of = [np.flip(np.cumsum(np.flip(part, -1), -1), -1) for part in (came, count - came)]
    with np.errstate(invalid="ignore", divide="ignore"):
        pod, pofd = (np.concatenate([part / part[..., :1], np.zeros_like(part[..., :1])], -1) for part in of)
    return -np.trapezoid(pod, pofd, axis=-1)


def crps(scores: pd.DataFrame, column: str = "brier") -> pd.Series:
    """Return the CRPS of each lead time, mm/h, as the integral of the Brier score over the rates that were asked for.

    By trapezoids, from the lowest rate to the highest: it leaves out what lies beyond.

    References
    ----------
    Hersbach 2000, doi:10.1175/1520-0434(2000)015<0559:DOTCRP>2.0.CO;2, equation 1 with the order of sums changed.
    """
    of_rate = scores[column].unstack("minutes").sort_index()
    return pd.Series(np.trapezoid(of_rate.to_numpy(), of_rate.index.to_numpy(), axis=0), of_rate.columns)


def reliability(sums: pd.DataFrame) -> pd.DataFrame:
    """Return how often came what was said, at each rain rate and bin of probability, over all lead times.

    Returns
    -------
    DataFrame
        Index threshold and bin; columns ``count``, ``said`` (mean probability), ``came`` (share of events).
    """
    total = sums.groupby("threshold")[OF_BINS].sum()
    count, said, came = (pd.DataFrame(part, total.index).stack() for part in _bins(total))
    table = pd.DataFrame({"count": count, "said": said / count, "came": came / count})
    table.index.names = ["threshold", "bin"]
    return table


def _pooled(sums: pd.DataFrame) -> pd.DataFrame:
    of_cell = sums.groupby(["threshold", "minutes"])
    return of_cell[PROBABILITY_SUMS].sum().assign(members=of_cell["members"].max())


def _bins(total: pd.DataFrame) -> NDArray[np.float64]:
    """Return counts, said and came, each (rows, BINS)."""
    return total[OF_BINS].to_numpy().reshape(len(total), 3, BINS).transpose(1, 0, 2)
