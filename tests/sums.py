"""Sums of made-up forecasts, whose scores one knows by hand."""

import pandas as pd

from pipelines.verification.scoring import FSS_SUMS, SUMS
from pipelines.verification.spatial import WAVELENGTHS_KM, power_column

LEADS = 12


def counts(event: int, hits: int, errors: int, *, leads: int = LEADS, hour: int = 0) -> pd.DataFrame:
    """Sums of a forecast: at 0.5 mm/h CSI hits/(hits + errors), at 2 mm/h undefined; FSS 0.75.

    Errors over 100 pixels: ME 0.1, MAE 0.25, RMSE 0.5 mm/h.
    """
    common = dict.fromkeys(SUMS, 0.0) | {
        "store": "radar.zarr",
        "event": event,
        "t0": 100 * event + 12 * hour,
        "time": pd.Timestamp(f"2024-06-{event:02d}T{hour:02d}:00"),
        "fell_back": False,
        "error": 10.0,
        "absolute_error": 25.0,
        "squared_error": 25.0,
        "rapsd_count": 1,
        "rapsd_error": 0.125,
    }
    common |= {name: 1.0 if "error" in name else 4.0 for name in FSS_SUMS}
    common |= {power_column(of, length): 2.0 for of in ("forecast", "observed") for length in WAVELENGTHS_KM}
    rain = common | {
        "threshold": 0.5,
        "hits": hits,
        "misses": errors,
        "correct_negatives": 100 - hits - errors,
    }
    none = common | {"threshold": 2.0, "correct_negatives": 100}
    return pd.DataFrame([row | {"minutes": 5.0 * lead} for lead in range(1, leads + 1) for row in (rain, none)])
