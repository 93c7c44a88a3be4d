"""What the evaluations of a task's networks wrote: a table of scores on the test samples each, and a few metrics."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from pipelines.common.errors import UserError
from pipelines.common.files import atomic_path, write_text

Results = dict[str, tuple[pd.DataFrame, dict[str, float]]]  # by the network's name


def write_results(table: pd.DataFrame, values: Mapping[str, float], scores: Path, metrics: Path) -> None:
    """Write a network's table as Parquet and its metrics as JSON."""
    with atomic_path(scores) as temporary:
        table.to_parquet(temporary, index=False)
    write_text(metrics, json.dumps(values, indent=1, sort_keys=True))


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
