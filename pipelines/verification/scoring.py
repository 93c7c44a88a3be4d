"""What forecasts got right, as sums that add up, and the scores that follow from them.

:func:`score_forecast` counts one forecast; tables of many are concatenated; :func:`scores_of` pools and scores them.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scores.categorical import BasicContingencyManager

from pipelines.radar.frame import Rain
from pipelines.verification.spatial import fss_sums, power_columns, scale_pixels, spectral_columns

COUNTS = {"hits": "tp_count", "false_alarms": "fp_count", "misses": "fn_count", "correct_negatives": "tn_count"}
ERRORS = ["error", "absolute_error", "squared_error"]
SCALES_KM = (2, 8, 32)
FSS_SUMS = [f"fss_{part}_{scale}km" for scale in SCALES_KM for part in ("error", "reference")]
SUMS = [*COUNTS, *ERRORS, *FSS_SUMS, "rapsd_count", "rapsd_error"]
CATEGORICAL = {
    "csi": "critical_success_index",
    "pod": "probability_of_detection",
    "far": "false_alarm_ratio",
    "ets": "equitable_threat_score",
    "hss": "heidke_skill_score",
    "bias": "frequency_bias",
}


def score_forecast(
    forecast: Rain,
    observed: Rain,
    mask: NDArray[np.bool_],
    thresholds: Sequence[float],
    *,
    pixel_m: float,
    minutes: Sequence[float],
) -> pd.DataFrame:
    """Return what one forecast got right, counted for each lead time and threshold.

    Parameters
    ----------
    forecast, observed : ndarray of shape (leads, H, W), mm/h
    mask : ndarray of shape (leads, H, W)
        The pixels that count; forecast and observed are finite there.
    thresholds : sequence of float
        mm/h; an event is a rain rate of at least the threshold.
    pixel_m : float
        Size of a pixel, metres; see :func:`pipelines.radar.grid.pixel_metres`.
    minutes : sequence of float
        The lead times.

    Returns
    -------
    DataFrame
        One row for each lead time and threshold: ``minutes``, ``threshold``, and the sums `SUMS` over the pixels that
        count. Those of hits, false_alarms, misses and correct_negatives together are all such pixels.
        ``error``, ``absolute_error``, ``squared_error`` (forecast minus observed, mm/h), ``rapsd_error`` with
        ``rapsd_count`` (1 where it is defined, else 0) and the powers of
        :func:`pipelines.verification.spatial.spectral_columns` are of the lead time, and the same in the row of each
        threshold. ``fss_error_8km`` and ``fss_reference_8km``: see :func:`pipelines.verification.spatial.fss_sums`,
        which says how masked pixels count in a neighbourhood.
    """
    spectral = spectral_columns(forecast, observed, mask, pixel_m)
    rows = []
    for lead, counts in enumerate(mask):  # one by one: a grid of millions of pixels is held in float64 for one alone
        predicted, seen = (np.where(counts, rain[lead], np.float32(0)) for rain in (forecast, observed))
        difference = predicted.astype(np.float64) - seen
        of_lead = {
            "minutes": float(minutes[lead]),
            "error": difference.sum(),
            "absolute_error": np.abs(difference).sum(),
            "squared_error": np.square(difference).sum(),
            **{name: column[lead] for name, column in spectral.items()},
        }
        rows.append([of_lead | _events(predicted, seen, counts, threshold, pixel_m) for threshold in thresholds])
    table = pd.DataFrame(chain.from_iterable(zip(*rows, strict=True)))
    return table[["minutes", "threshold", *SUMS, *power_columns()]]


def _events(
    forecast: Rain, observed: Rain, mask: NDArray[np.bool_], threshold: float, pixel_m: float
) -> dict[str, float]:
    """Count the events of one lead time, (H, W), and sum up their neighbourhoods."""
    predicted, seen = (mask & (rain >= threshold) for rain in (forecast, observed))
    hits, n_predicted, n_seen, n_mask = (
        int(np.count_nonzero(events)) for events in (predicted & seen, predicted, seen, mask)
    )
    sums: dict[str, float] = {
        "threshold": float(threshold),
        "hits": hits,
        "false_alarms": n_predicted - hits,
        "misses": n_seen - hits,
        "correct_negatives": n_mask - n_predicted - n_seen + hits,
    }
    for scale in SCALES_KM:
        error, reference = fss_sums(predicted, seen, scale_pixels(scale, pixel_m))
        sums |= {f"fss_error_{scale}km": error, f"fss_reference_{scale}km": reference}
    return sums


def scores_of(sums: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return the scores of the summed counts of all rows that share ``by``.

    Parameters
    ----------
    sums : DataFrame
        Tables of :func:`score_forecast`, of any number of forecasts, with more columns to tell them apart.
    by : sequence of str
        Columns; such as threshold and minutes for scores pooled over all forecasts.

    Returns
    -------
    DataFrame
        Index ``by``; columns csi, pod, far, ets, hss, bias (frequency bias), fss_2km, fss_8km, fss_32km, mae, rmse,
        me (forecast minus observed; mm/h), rapsd_error (mean over forecasts and lead times); NaN where a score is
        undefined.
    """
    return scores_from(sums.groupby(list(by))[SUMS].sum())


def scores_from(sums: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of each row of `SUMS`, as :func:`scores_of` gives them."""
    counts = {key: xr.DataArray(sums[name].to_numpy(float), dims="row") for name, key in COUNTS.items()}
    pixels = sums[list(COUNTS)].sum(axis=1).astype(float)
    manager = BasicContingencyManager({**counts, "total_count": xr.DataArray(pixels.to_numpy(), dims="row")})
    columns = {name: getattr(manager, method)().to_numpy() for name, method in CATEGORICAL.items()}
    # Where all is hits, or all correct negatives, chance is right as well: 0/0, of which rounding makes a 1.
    columns["hss"] = np.where(sums[["hits", "correct_negatives"]].max(axis=1) == pixels, np.nan, columns["hss"])
    for scale in SCALES_KM:
        columns[f"fss_{scale}km"] = 1 - sums[f"fss_error_{scale}km"] / sums[f"fss_reference_{scale}km"]
    columns["mae"] = sums["absolute_error"] / pixels
    columns["rmse"] = np.sqrt(sums["squared_error"] / pixels)
    columns["me"] = sums["error"] / pixels
    columns["rapsd_error"] = sums["rapsd_error"] / sums["rapsd_count"]
    return pd.DataFrame(columns, index=sums.index).replace([np.inf, -np.inf], np.nan)


def pooled(sums: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of all forecasts together; index threshold and minutes."""
    return scores_of(sums, ["threshold", "minutes"])


def mean_of(scores: pd.DataFrame, score: str) -> float:
    """Return the mean of a score over those rows of ``scores`` at which rain was observed; NaN if at none.

    Where none was, CSI is 0 for a method with a false alarm and undefined for one without: no mean of either kind would
    be over the same for all.
    """
    return float(scores[score][scores["pod"].notna()].mean())


def mean_csi(sums: pd.DataFrame) -> float:
    """Return the mean of the pooled CSI over thresholds and lead times at which rain was observed; NaN if at none."""
    return mean_of(pooled(sums), "csi")


def headline(sums: pd.DataFrame) -> dict[str, float]:
    """Return few scores by name, as metrics to compare: ``csi_mean``, and such as ``csi_2mm_60min`` and ``mae_60min``.

    Lead times are 30 and 60 minutes, as far as the table has them; undefined scores are left out.
    """
    scores = pooled(sums)
    result = {"csi_mean": mean_of(scores, "csi")}
    for minutes in (30, 60):
        for threshold in scores.index.unique("threshold"):
            if (threshold, minutes) in scores.index:
                at = scores.loc[(threshold, minutes)]
                result[f"csi_{threshold:g}mm_{minutes}min"] = at["csi"]
                result[f"bias_{threshold:g}mm_{minutes}min"] = at["bias"]
                result[f"mae_{minutes}min"] = at["mae"]
                result[f"rapsd_error_{minutes}min"] = at["rapsd_error"]
                if threshold == 2:
                    result[f"fss_2mm_8km_{minutes}min"] = at["fss_8km"]
    return {name: float(value) for name, value in result.items() if np.isfinite(value)}
