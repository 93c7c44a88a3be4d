"""What forecasts of probability got right, as sums that add up, and the scores that follow from them.

As `pipelines.verification.scoring` does for forecasts of a field: :func:`score_probabilities` sums up one forecast,
tables of many are concatenated, :func:`probability_scores` pools and scores them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from pipelines.common.errors import UserError
from pipelines.radar.frame import Rain
from pipelines.verification.bootstrap import CELLS, KEY, Statistic, intervals, mean_of_known

ORDER = 1e-6  # by which a probability may be off: rounding of float32
# Of bins of probability, thousandths, the last one closed; fine where rare rates are said; for reliability and ROC.
EDGES = np.array([0, 1, 2, 5, 10, 20, *range(50, 1001, 50)])
BINS = len(EDGES) - 1
BIN_OF = np.searchsorted(EDGES[1:-1], np.arange(EDGES[-1] + 1), side="right").astype(np.uint8)
OF_BINS = [f"{what}_{number}" for what in ("count", "said", "came") for number in range(BINS)]
FEW_RATES = (0.5, 2.0, 5.0, 10.0)  # mm/h, of those that there are: shown where all were too many
PROBABILITY_SUMS = ["pixels", "squared_error", "fair_error", "spread", *OF_BINS]
BRIER_SUMS = ["squared_error", "fair_error", "reference_error"]


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
        The pixels that count; observed is finite there.
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
        `PROBABILITY_SUMS` over the pixels that count, p the probability and o 1 where it came, else 0: ``pixels`` 1,
        ``squared_error`` (p - o)², ``fair_error`` the same of an ensemble as if of endless members (Ferro 2014),
        ``spread`` p (1 - p), and in each bin of p ``count`` 1, ``said`` p, ``came`` o.

    Raises
    ------
    UserError
        If a probability that counts is NaN, outside of 0 to 1, or more than that of a lower rate.

    References
    ----------
    Ferro 2014, doi:10.1002/qj.2270.
    """
    rows = []
    finite = 0.0 if members is None else 1 / (members - 1)
    for lead, counts in enumerate(mask):
        pixels = np.flatnonzero(counts)
        seen, lower = observed[lead].ravel()[pixels], np.float32(1)
        for number, rate in enumerate(rates):
            narrow: Any = np.asarray(exceedance[lead, number]).ravel()[pixels]
            at = f"no distribution at {minutes[lead]:g} minutes and {rate:g} mm/h: "
            if narrow.size and not (narrow.min() >= -ORDER and narrow.max() <= 1 + ORDER):
                raise UserError(f"{at}a probability that isn't from 0 to 1")
            if (narrow > lower + np.float32(ORDER)).any():
                raise UserError(f"{at}more likely than a lower rain rate")
            lower, p = narrow, narrow.astype(np.float64)  # one plane alone: grids have millions of pixels
            # One number for the bin and for what came: each pixel is counted once.
            thousandth = (narrow * EDGES[-1]).clip(0, EDGES[-1]).astype(np.uint16)
            of_bin = BIN_OF[thousandth] + BINS * (seen >= rate).astype(np.uint8)
            count = np.bincount(of_bin, minlength=2 * BINS).reshape(2, BINS)
            said = np.bincount(of_bin, p, 2 * BINS).reshape(2, BINS)
            square = p @ p
            error, spread = square - 2 * said[1].sum() + count[1].sum(), said.sum() - square
            bins = np.concatenate([count.sum(axis=0), said.sum(axis=0), count[1]])
            about = [minutes[lead], rate, np.nan if members is None else members]
            rows.append([*about, pixels.size, error, error - finite * spread, spread, *bins])
    return pd.DataFrame(rows, columns=["minutes", "threshold", "members", *PROBABILITY_SUMS], dtype=float)


def with_reference(sums: pd.DataFrame, reference: pd.DataFrame | None) -> pd.DataFrame:
    """Return the sums with a column ``reference_error``: the squared error that skill is measured against.

    Parameters
    ----------
    sums : DataFrame
        Tables of :func:`score_probabilities`, of any number of forecasts, with columns event and time (of issue).
    reference : DataFrame, optional
        Those of the climatology of the training archives. Forecasts that it hasn't are left out; without it there is
        no skill.
    """
    if reference is None:
        return sums.assign(reference_error=0.0)
    keys = [*KEY, *CELLS]
    return sums.merge(reference[[*keys, "squared_error"]].rename(columns={"squared_error": "reference_error"}), on=keys)


def probability_scores(sums: pd.DataFrame, reference: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the scores of all forecasts together, at each rain rate and lead time; parameters: :func:`with_reference`.

    Returns
    -------
    DataFrame
        Index threshold and minutes; columns ``brier``, ``brier_fair``, ``brier_skill``, ``brier_skill_fair``,
        ``roc_area``, ``sharpness`` (mean p (1 - p): 0 for a forecast of 0 and 1 alone); NaN where a score is undefined.
    """
    total = with_reference(sums, reference).groupby([*CELLS])[[*PROBABILITY_SUMS, "reference_error"]].sum()
    skill = _skill(total[BRIER_SUMS].to_numpy())
    count, _, came = _bins(total[OF_BINS].to_numpy())
    scores = {
        "brier": _ratio(total["squared_error"], total["pixels"]),
        "brier_fair": _ratio(total["fair_error"], total["pixels"]),
        "brier_skill": skill[..., 0],
        "brier_skill_fair": skill[..., 1],
        "roc_area": roc_area(count, came),
        "sharpness": _ratio(total["spread"], total["pixels"]),
    }
    return pd.DataFrame(scores, index=total.index)


def roc_area(count: NDArray[np.float64], came: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the area under the ROC curve from bins of probability, (..., BINS) forecasts and events; by trapezoids.

    A lower bound: what lies in one bin isn't told apart, and of rare events nearly all lies in the lowest.
    """
    of = [np.flip(np.cumsum(np.flip(part, -1), -1), -1) for part in (came, count - came)]
    pod, pofd = (np.concatenate([_ratio(part, part[..., :1]), np.zeros_like(part[..., :1])], -1) for part in of)
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


def _mean_crps(error: str) -> Statistic:
    def of(sums: NDArray[np.float64], cells: pd.Index) -> NDArray[np.float64]:
        rates = cells.unique("threshold")
        brier = _ratio(sums[..., 0], sums[..., 1]).reshape(len(sums), len(rates), -1)
        return mean_of_known(np.trapezoid(brier, rates, axis=1))

    return Statistic([error, "pixels"], CELLS, of)


# The mean CRPS over lead times, of an ensemble as it is and as if of endless members.
CRPS, CRPS_FAIR = _mean_crps("squared_error"), _mean_crps("fair_error")
# Of each rate and lead time, raw and fair, (draws, cells, 2); of `with_reference`.
BRIER_SKILL = Statistic(BRIER_SUMS, CELLS, lambda sums, cells: _skill(sums))
_CAME = Statistic(OF_BINS, ["threshold"], lambda sums, rates: _ratio(*_bins(sums)[[2, 0]]))


def reliability(sums: pd.DataFrame) -> pd.DataFrame:
    """Return how often came what was said, at each rain rate and bin of probability, over all lead times.

    Returns
    -------
    DataFrame
        Index threshold and bin; columns ``count``, ``said`` (mean probability), ``came`` (share of events) and its
        interval by block bootstrap, ``low`` and ``high``.
    """
    total = sums.groupby("threshold")[OF_BINS].sum()
    count, said, _ = _bins(total.to_numpy())
    (came, low, high), _ = intervals(sums, _CAME)
    parts = {"count": count, "said": _ratio(said, count), "came": came, "low": low, "high": high}
    index = pd.MultiIndex.from_product([total.index, range(BINS)], names=["threshold", "bin"])
    return pd.DataFrame({name: part.ravel() for name, part in parts.items()}, index)


def few_rates(rates: Iterable[float]) -> list[float]:
    """Return those of `FEW_RATES` that there are; if none, all."""
    return sorted({*rates} & {*FEW_RATES} or {*rates})


def probability_headline(sums: pd.DataFrame, reference: pd.DataFrame | None = None) -> dict[str, float]:
    """Return few scores by name, as metrics to compare: ``crps``, and such as ``brier_skill_2mm_60min``.

    Lead times are 30 and 60 minutes, rates 0.5, 2, 5 and 10 mm/h, as far as the table has them; fair scores are those
    of ensembles; undefined ones are left out.
    """
    scores = probability_scores(sums, reference)
    of_lead, fair = crps(scores), crps(scores, "brier_fair")
    result = {"crps": of_lead.mean()}
    for lead in (30, 60):
        if lead in of_lead:
            result[f"crps_{lead}min"] = of_lead[lead]
            if sums["members"].notna().any():
                result[f"crps_fair_{lead}min"] = fair[lead]
        for rate in FEW_RATES:
            if (rate, lead) in scores.index:
                at = scores.loc[(rate, lead)]
                result |= {f"{name}_{rate:g}mm_{lead}min": at[name] for name in ("brier_skill", "roc_area")}
    return {name: float(value) for name, value in result.items() if np.isfinite(value)}


def _ratio(part: ArrayLike, whole: ArrayLike) -> NDArray[np.float64]:
    """Part of the whole; NaN where there is nothing."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _skill(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Brier skill from `BRIER_SUMS` (..., 3), raw and fair (..., 2)."""
    return 1 - _ratio(sums[..., :2], sums[..., 2:3])


def _bins(of_bins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Split counts, said and came out of `OF_BINS` (..., 3 · BINS), each (..., BINS)."""
    return np.moveaxis(of_bins.reshape(*of_bins.shape[:-1], 3, BINS), -2, 0)
