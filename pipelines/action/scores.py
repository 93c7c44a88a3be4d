"""What an evaluation says of a network: a table of its scores on the test clips, and a few metrics."""

import json
from pathlib import Path

import pandas as pd

from pipelines.common.errors import UserError

WHOLE = 0  # in column observed: all frames of a clip


def read_results(scores: Path, metrics: Path, names: list[str]) -> dict[str, tuple[pd.DataFrame, dict[str, float]]]:
    """Read the table and the metrics of every evaluated model, by name; raises UserError if one has none."""
    results = {}
    for name in names:
        try:
            values = json.loads((metrics / f"{name}.json").read_text(encoding="utf-8"))
            results[name] = pd.read_parquet(scores / f"{name}.parquet"), values
        except FileNotFoundError:
            raise UserError(
                f"params.yaml: trained_action: {name} has no scores: dvc repro evaluate_action@{name}"
            ) from None
    return results
