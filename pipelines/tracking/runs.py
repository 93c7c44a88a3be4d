"""One training, one MLflow run: parameters, curves, seeds, data, commit and the model; one comparison, one too."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
from mlflow.data.pandas_dataset import from_pandas
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from pipelines.common.provenance import code_commit, sha256
from pipelines.tracking.registry import RegisteredModel
from pipelines.tracking.store import connect

if TYPE_CHECKING:  # Lightning takes seconds to import, and who registers needs none
    from pytorch_lightning.loggers import MLFlowLogger

OF_TRAINED = "training_seconds"  # the metric that only the trained model has, no step on the way
COMPARISON = "comparison"  # tag of the runs that hold tables and pictures of all methods: their content's hash


@contextmanager
def training_run(
    of: RegisteredModel,
    name: str,
    resume: Path,
    settings: Mapping[str, Any],
    tags: Mapping[str, str],
    samples: pd.DataFrame,
) -> "Iterator[MLFlowLogger]":
    """Open the run of a training, or the one that an interrupted one began; yield Lightning's logger.

    Parameters
    ----------
    of : RegisteredModel
        What is trained.
    name : str
        Of the run.
    resume : Path
        File that keeps the run's id until the training is done.
    settings, tags : mapping
        What the run is compared by, sections of params.yaml, and found by, beside model, code, torch and device.
    samples : DataFrame
        What it is trained on, column ``store`` with the rest; logged as the run's dataset.
    """
    import torch
    from pytorch_lightning.loggers import MLFlowLogger

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    client = connect(of.name)
    run_id = resume.read_text(encoding="utf-8") if resume.exists() else None
    if run_id is not None:
        try:
            client.get_run(run_id)
        except MlflowException:  # another store than the one where the training began
            run_id = None
    with mlflow.start_run(run_id, run_name=None if run_id else name) as run:
        if run_id is None:
            made_by = {"code_commit": code_commit(), "torch": torch.__version__, "device": device}
            mlflow.set_tags({"model": name, **tags, **made_by})
            if experiment := os.environ.get("DVC_EXP_NAME"):
                mlflow.set_tag("dvc_exp", experiment)  # so that `dvc exp show` and MLflow name it alike
            mlflow.log_params(pd.json_normalize(dict(settings)).iloc[0].to_dict())
            dataset = from_pandas(samples, source=samples["store"].iloc[0], name=of.samples)
            mlflow.log_input(dataset, context="training")
            resume.parent.mkdir(parents=True, exist_ok=True)
            resume.write_text(run.info.run_id, encoding="utf-8")
        yield MLFlowLogger(of.name, tracking_uri=mlflow.get_tracking_uri(), run_id=run.info.run_id)


def log_trained(of: RegisteredModel, folder: Path, metrics: Mapping[str, float]) -> None:
    """Log the trained model in ``folder`` to the active run, which can be found by it from now on.

    Its metrics, `OF_TRAINED` among them, are what the run shows, as DVC has them: a step after their curves' last
    points, which may be worse.
    """
    run, client = mlflow.active_run(), connect(of.name)
    assert run is not None  # training_run has opened it
    steps = [point.step for name in metrics for point in client.get_metric_history(run.info.run_id, name)]
    mlflow.log_metrics(dict(metrics), step=max(steps, default=0) + 1)
    of.log(folder)
    mlflow.set_tag("model_sha256", sha256(folder))


def log_comparison(of: RegisteredModel, folder: Path) -> None:
    """Log the tables and pictures in ``folder`` to a run of their own; nothing if the newest such run has them."""
    client = connect(of.name)
    digest = sha256(folder)
    newest = mlflow.search_runs(
        experiment_names=[of.name],
        filter_string=f"tags.{COMPARISON} LIKE '%'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
        output_format="list",
    )
    if newest and newest[0].data.tags[COMPARISON] == digest:
        return
    with mlflow.start_run(run_name=os.environ.get("DVC_EXP_NAME", COMPARISON)) as run:
        for file in sorted(path for path in folder.iterdir() if path.is_file()):
            client.log_artifact(run.info.run_id, str(file), COMPARISON)
        if (table := folder / "table.md").exists():
            mlflow.set_tag(MLFLOW_RUN_NOTE, table.read_text(encoding="utf-8"))
        mlflow.set_tag(COMPARISON, digest)  # last: a run without it was cut off
