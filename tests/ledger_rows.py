"""Rows of a ledger for tests, counted by hand."""

from itertools import product

import pandas as pd

from pipelines.verification.probabilities import PROBABILITY_SUMS
from pipelines.verification.scoring import SUMS
from pipelines.verification.spatial import power_columns

GOOD, POOR = {"issued": 12, "extrapolation": 10, "persistence": 8}, {"issued": 9, "extrapolation": 10, "persistence": 8}


def cycle(number: int, hits: dict[str, int], version: str = "3", **changed: object) -> pd.DataFrame:
    """Rows of a cycle in the ledger: of each forecaster, two lead times of 100 pixels of which it rains on 20."""
    reference = pd.Timestamp("2024-06-01") + pd.Timedelta(number, "h")
    rows = []
    for name, hit in hits.items():
        for minutes, lost in ((5.0, 0), (10.0, 2)):
            sums = dict.fromkeys([*SUMS, *power_columns()], 0.0)
            sums |= {"hits": hit - lost, "misses": 20 - hit + lost, "false_alarms": 4.0, "correct_negatives": 76.0}
            sums |= {"absolute_error": 50.0, "fss_error_8km": 1.0, "fss_reference_8km": 4.0}
            said = {"minutes": minutes, "threshold": 1.0, "forecaster": name, "gap": "", "fallback": False}
            of = dict(zip(("model_name", "model_version", "method"), ("radar-nowcast", version, "scs"), strict=True))
            rows.append(said | of | {"reference_time": reference} | sums | changed)
    return pd.DataFrame(rows)


def probabilities(number: int, errors: dict[str, float], version: str = "3") -> pd.DataFrame:
    """Rows of the same cycle in the ledger of probabilities: at 2 and 5 mm/h, 30 and 60 minutes, of 100 pixels.

    ``errors`` are the squared errors of each forecaster, summed over the pixels of each.
    """
    rows = []
    for name, error in errors.items():
        for rate, minutes in product((2.0, 5.0), (30.0, 60.0)):
            sums = dict.fromkeys(PROBABILITY_SUMS, 0.0) | {"pixels": 100.0, "squared_error": error, "fair_error": error}
            sums |= {"count_0": 100.0, "came_0": 20.0}
            said = {"minutes": minutes, "threshold": rate, "members": float("nan"), "forecaster": name}
            rows.append(said | sums)
    (row, *_) = cycle(number, GOOD, version).to_dict("records")
    same = ("gap", "fallback", "model_name", "model_version", "method", "reference_time")
    return pd.DataFrame(rows).assign(**{key: row[key] for key in same})
