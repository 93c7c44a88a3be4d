"""What MLflow has kept of an experiment: finished runs with their curves, aliases, and the newest comparison."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipelines.common.provenance import sha256
from pipelines.tracking.store import NAME, connect

COMPARISON = "comparison"  # tag of the runs that hold tables and pictures of all methods: their content's hash
CURVES = ("validation_loss", "train_loss")


@dataclass(frozen=True)
class PastRun:
    """A finished training.

    Parameters
    ----------
    run_id, name : str
    experiment : str
        Name that `dvc exp show` gives it; empty outside experiments.
    started : datetime
        UTC.
    params, tags : mapping of str to str
    metrics : mapping of str to float
        The last values.
    curves : mapping of str to list of (step, value)
    """

    run_id: str
    name: str
    experiment: str
    started: datetime
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    curves: Mapping[str, list[tuple[int, float]]]


def past_runs(experiment: str = NAME, limit: int = 100) -> list[PastRun]:
    """Read the newest finished trainings of an experiment, the newest first."""
    client = connect(experiment)
    runs = mlflow.search_runs(
        experiment_names=[experiment],
        filter_string="attributes.status = 'FINISHED' and metrics.validation_loss > -1e30",
        order_by=["attributes.start_time DESC"],
        max_results=limit,
        output_format="list",
    )
    return [
        PastRun(
            run.info.run_id,
            run.info.run_name,
            run.data.tags.get("dvc_exp", ""),
            datetime.fromtimestamp(run.info.start_time / 1000, UTC),
            run.data.params,
            run.data.tags,
            run.data.metrics,
            {
                key: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, key)]
                for key in CURVES
                if key in run.data.metrics
            },
        )
        for run in runs
    ]


def aliases(name: str = NAME) -> dict[str, tuple[str, str]]:
    """Return for each alias of a registered model the version and the run that it points to."""
    client = connect(name)
    try:
        pointed = client.get_registered_model(name).aliases
    except MlflowException:  # nothing is registered yet
        return {}
    return {
        alias: (str(version), client.get_model_version(name, str(version)).run_id or "")
        for alias, version in pointed.items()
    }


def log_comparison(folder: Path, experiment: str = NAME) -> None:
    """Keep the tables and pictures in ``folder`` in a run of their own; nothing if the newest such run has them."""
    client = connect(experiment)
    digest = sha256(folder)
    newest = _newest_comparison(experiment)
    if newest and newest.data.tags[COMPARISON] == digest:
        return
    with mlflow.start_run(run_name=os.environ.get("DVC_EXP_NAME", COMPARISON)) as run:
        for file in sorted(path for path in folder.iterdir() if path.is_file()):
            client.log_artifact(run.info.run_id, str(file), COMPARISON)
        mlflow.set_tag(COMPARISON, digest)  # last: a run without it was cut off


def read_comparison(folder: Path, experiment: str = NAME) -> list[Path]:
    """Fetch the files of the newest comparison into ``folder``; none if there is none."""
    connect(experiment)
    newest = _newest_comparison(experiment)
    if newest is None:
        return []
    fetched = mlflow.artifacts.download_artifacts(f"runs:/{newest.info.run_id}/{COMPARISON}", dst_path=str(folder))
    return sorted(Path(fetched).iterdir())


def _newest_comparison(experiment: str) -> Run | None:
    found = mlflow.search_runs(
        experiment_names=[experiment],
        filter_string=f"tags.{COMPARISON} LIKE '%'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
        output_format="list",
    )
    return found[0] if found else None
