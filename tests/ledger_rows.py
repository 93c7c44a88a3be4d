"""Rows of a ledger for tests, counted by hand."""

from itertools import product

import numpy as np
import pandas as pd

from pipelines.verification.probabilities import PROBABILITY_SUMS, score_probabilities
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
    return _as_of(number, pd.DataFrame(rows), version)


def said_and_came(
    number: int, classes: dict[float, float], *, rate: float = 2.0, version: str = "3", **more: object
) -> pd.DataFrame:
    """Rows of what a cycle issued, the same of extrapolation: of 1000 pixels of each probability, what share came."""
    p, came = (np.array(list(of)).repeat(1000) for of in (classes, classes.values()))
    came = np.tile(np.arange(1000), len(classes)) < 1000 * came
    observed, mask = np.where(came, rate, 0.0)[None, None], np.ones((1, 1, p.size), bool)
    given = p[None, None, None].astype(np.float32)
    sums = score_probabilities(given, observed.astype(np.float32), mask, [rate], minutes=[30.0])
    rows = pd.concat([sums.assign(forecaster=name) for name in ("issued", "extrapolation")])
    return _as_of(number, rows, version).assign(**more)


def _as_of(number: int, rows: pd.DataFrame, version: str) -> pd.DataFrame:
    (row, *_) = cycle(number, GOOD, version).to_dict("records")
    same = ("gap", "fallback", "model_name", "model_version", "method", "reference_time")
    return rows.assign(**{key: row[key] for key in same})
