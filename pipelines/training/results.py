"""What the evaluations of a task's networks wrote: a table of scores on the test samples each, and a few metrics."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipelines.common.errors import UserError

Results = dict[str, tuple[pd.DataFrame, dict[str, float]]]  # by the network's name


def read_results(task: str, scores: Path, metrics: Path, names: Sequence[str]) -> Results:
    """Read the table and the metrics of every evaluated network; raises UserError if one has none.

    ``task`` is as in the names of stages: action, outline.
    """
    results = {}
    for name in names:
        try:
            values = json.loads((metrics / f"{name}.json").read_text(encoding="utf-8"))
            results[name] = pd.read_parquet(scores / f"{name}.parquet"), values
        except FileNotFoundError:
            raise UserError(
                f"params.yaml: trained_{task}: {name} has no scores: dvc repro evaluate_{task}@{name}"
            ) from None
    return results
