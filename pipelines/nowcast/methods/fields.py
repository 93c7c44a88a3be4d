"""Rain fields that stand for a distribution, (leads, K, H, W) of exceedance to (leads, H, W) mm/h; NaN stays NaN."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from pipelines.nowcast.methods.distribution import Exceedance
from pipelines.radar.frame import Rain


def mean(exceedance: Exceedance, rates: Sequence[float]) -> Rain:
    """Return the mean: the integral of the exceedance over rain rate, by trapezoids between ``rates``.

    Below the lowest rate the exceedance is taken as that of the lowest, and beyond the highest as 0: heavier rain
    counts as the highest rate, so the mean is a little low.
    """
    edges = np.array([-rates[0], *rates, rates[-1]])  # the lowest rate counts wholly up to itself
    weights = (edges[2:] - edges[:-2]) / 2
    return np.einsum("lkhw,k->lhw", exceedance, weights.astype(np.float32))


def median(exceedance: Exceedance, rates: Sequence[float]) -> Rain:
    """Return the median: where the exceedance crosses 0.5, interpolated in the logarithm of rain rate.

    0 where rain of the lowest rate is less likely than that, the highest rate where even that is likelier.
    """
    field = np.where(exceedance[:, 0] >= 0.5, np.float32(rates[0]), exceedance[:, 0] * np.float32(0))
    for number, (low, high) in enumerate(pairwise(rates)):
        p, q = exceedance[:, number], exceedance[:, number + 1]
        share = np.clip((p - 0.5) / np.maximum(p - q, 1e-6), 0, 1)
        field = np.where(p >= 0.5, np.where(q >= 0.5, high, low * (high / low) ** share), field)
    return field.astype(np.float32)


def optimal(exceedance: Exceedance, rates: Sequence[float], cuts: ArrayLike) -> Rain:
    """Return the highest rate whose probability is at least its cut; 0 where none is.

    Parameters
    ----------
    cuts : array of shape (leads, K)
        Probabilities; those that maximise CSI at each lead time and rate make the field of the best CSI.
    """
    field = exceedance[:, 0] * np.float32(0)
    for number, cut in enumerate(np.asarray(cuts, np.float32).T):
        field = np.where(exceedance[:, number] >= cut[:, None, None], np.float32(rates[number]), field)
    return field


def probability_matching(forecast: Rain, observed: Rain) -> Rain:
    """Return the rain rates of the newest observed frame in the order of a forecast (probability matching).

    A forecast says better where it rains than how much: its amounts are those of the climates it was trained in. As in
    S-PROG, the observed ones of the hour are the better guess.

    Parameters
    ----------
    forecast : ndarray of shape (H, W)
        More means more rain; the unit doesn't matter.
    observed : ndarray of shape (H, W), mm/h
        In the same moving coordinates.

    Returns
    -------
    ndarray of shape (H, W), mm/h
        NaN where either is. As pysteps' nonparam_match_empirical_cdf gives, which sorts what is dry too: a tenth of the
        time, and of the memory.

    References
    ----------
    Ebert 2001, doi:10.1175/1520-0493(2001)129<2461:AOAPMS>2.0.CO;2; pysteps' nonparam_match_empirical_cdf.
    """
    known = np.isfinite(forecast) & np.isfinite(observed)
    if not known.any():
        return np.full_like(observed, np.nan)
    order, amounts = forecast[known], observed[known]
    least = amounts.min()
    wet = np.sort(amounts[amounts > least])
    amounts[:] = least
    # No more than the forecast tells apart from its least.
    if count := min(len(wet), int((order > order.min()).sum())):
        highest = np.flatnonzero(order >= np.partition(order, -count)[-count])
        amounts[highest[np.argsort(order[highest])[-count:]]] = wet[-count:]
    del order
    matched = np.full_like(observed, np.nan)
    matched[known] = amounts
    return matched
