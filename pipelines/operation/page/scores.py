"""Scores of the last days for the page, by lead time."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.operation.ledger import LEDGER, PROBABILITIES, read_ledger
from pipelines.operation.page.script import finite
from pipelines.operation.products.published import published_times
from pipelines.operation.skill import SHOWN, counted, of_forecasters, skill_by_lead
from pipelines.operation.verify import FORECASTERS, MODEL
from pipelines.verification.probabilities import crps, probability_scores


def scores_by_lead(out: Path, days: int) -> dict[str, Any]:
    """Return the scores of the cycles of the last ``days`` up to the newest forecast, as the page shows them.

    ``scores`` has for each score, and each forecaster, a value for each of ``minutes``, None where it is undefined: of
    all model versions of these days together, without what a fallback made; CRPS of the newest version that has it.
    """
    published = published_times(out)
    since = published[-1] - np.timedelta64(days, "D") if published else None
    ledger, probabilities = (read_ledger(out, since, kind=kind) for kind in (LEDGER, PROBABILITIES))
    own = counted(ledger)
    if own.empty:
        return {"days": days, "cycles": 0, "minutes": [], "scores": {}}
    minutes = np.sort(own["minutes"].unique())
    by_lead = skill_by_lead(own)
    scores = {score: {name: _row(by_lead.loc[name][score].reindex(minutes)) for name in FORECASTERS} for score in SHOWN}
    if not probabilities.empty:
        told = counted(probabilities)
        newest = told.iloc[told["reference_time"].argmax()][MODEL]
        of_newest = told[(told[MODEL] == newest).all(axis=1)]
        scores["crps"] = {
            name: _row(crps(probability_scores(sums)).reindex(minutes))
            for (*_, name), sums, _ in of_forecasters(of_newest)
            if name in FORECASTERS
        }
    return {
        "days": days,
        "cycles": own["reference_time"].nunique(),
        "newest": f"{np.datetime_as_string(own['reference_time'].max().to_datetime64(), 's')}Z",
        "minutes": minutes.tolist(),
        "scores": scores,
    }


def _row(values: pd.Series) -> list[float | None]:
    return [finite(value, 4) for value in values]
