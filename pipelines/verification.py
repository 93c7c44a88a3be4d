"""Contingency tables of forecasts, and the scores that follow from their sums."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scores.categorical import BasicContingencyManager, ThresholdEventOperator

from pipelines.forecasters import Rain

COUNTS = {"hits": "tp_count", "false_alarms": "fp_count", "misses": "fn_count", "correct_negatives": "tn_count"}


def contingency(forecast: Rain, observed: Rain, mask: NDArray[np.bool_], thresholds: Sequence[float]) -> pd.DataFrame:
    """Count one forecast's hits and errors, for each lead time and threshold.

    Parameters
    ----------
    forecast, observed : ndarray of shape (leads, H, W), mm/h
    mask : ndarray of shape (leads, H, W)
        The pixels that count; forecast and observed are finite there.
    thresholds : sequence of float
        mm/h; an event is a rain rate of at least the threshold.

    Returns
    -------
    DataFrame
        Columns lead (1, 2, …), threshold, hits, false_alarms, misses, correct_negatives, absolute_error (the sum over
        the pixels, mm/h).
    """
    dims = ("lead", "y", "x")
    expected, seen = (xr.DataArray(np.where(mask, rain, np.nan), dims=dims) for rain in (forecast, observed))
    absolute_error = np.where(mask, np.abs(forecast - observed), 0.0).sum(axis=(1, 2), dtype=np.float64)
    tables = []
    for threshold in thresholds:
        manager = ThresholdEventOperator().make_contingency_manager(expected, seen, event_threshold=threshold)
        counts = manager.transform(preserve_dims=["lead"]).get_counts()
        columns = {name: counts[key].to_numpy() for name, key in COUNTS.items()}
        lead = np.arange(1, len(forecast) + 1)
        tables.append(pd.DataFrame({"lead": lead, "threshold": threshold, **columns, "absolute_error": absolute_error}))
    return pd.concat(tables, ignore_index=True)


def pooled(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Scores of the summed counts of all rows that share ``by``.

    Returns
    -------
    DataFrame
        Index ``by``; columns csi, pod, far, bias (frequency bias), mae (mm/h); NaN where a score is undefined.
    """
    sums = table.groupby(list(by))[[*COUNTS, "absolute_error"]].sum()
    counts = {key: xr.DataArray(sums[name].to_numpy(float), dims="row") for name, key in COUNTS.items()}
    total = xr.concat(counts.values(), "count").sum("count")
    manager = BasicContingencyManager({**counts, "total_count": total})
    return pd.DataFrame(
        {
            "csi": manager.critical_success_index().to_numpy(),
            "pod": manager.probability_of_detection().to_numpy(),
            "far": manager.false_alarm_ratio().to_numpy(),
            "bias": manager.frequency_bias().to_numpy(),
            "mae": sums["absolute_error"].to_numpy() / total.where(total > 0).to_numpy(),
        },
        index=sums.index,
    ).replace([np.inf, -np.inf], np.nan)


def mean_csi(table: pd.DataFrame) -> float:
    """Mean of the pooled CSI over those thresholds and lead times at which rain was observed; NaN if at none.

    Where none was, CSI is 0 for a method with a false alarm and undefined for one without: no mean of either kind would
    be over the same for all.
    """
    scores = pooled(table, ["threshold", "lead"])
    return float(scores["csi"][scores["pod"].notna()].mean())


def headline(table: pd.DataFrame, step_s: int) -> dict[str, float]:
    """Few scores by name, as metrics to compare: ``csi_mean``, and such as ``csi_2mm_60min`` and ``mae_60min``.

    Lead times are 30 and 60 minutes, as far as the table has them; undefined scores are left out.
    """
    scores = pooled(table, ["threshold", "lead"])
    result = {"csi_mean": mean_csi(table)}
    for minutes in (30, 60):
        lead = minutes * 60 / step_s
        for threshold in scores.index.unique("threshold"):
            if (threshold, lead) in scores.index:
                at = scores.loc[(threshold, lead)]
                result[f"csi_{threshold:g}mm_{minutes}min"] = at["csi"]
                result[f"bias_{threshold:g}mm_{minutes}min"] = at["bias"]
                result[f"mae_{minutes}min"] = at["mae"]
    return {name: float(value) for name, value in result.items() if np.isfinite(value)}
