"""A training of seconds: parameters cut down, a small archive and its index, and the run that it leaves in MLflow."""

from pathlib import Path

import mlflow
import yaml
from archive import write_archive
from mlflow.entities import Run

from pipelines.nowcast.index import index
from pipelines.nowcast.specification import NAME
from pipelines.params.read import Params, read_params
from pipelines.tracking.store import connect

ROOT = Path(__file__).parents[1]


def small_params(folder: Path, **train_changes: object) -> Params:
    """The repository's params.yaml, cut down to seconds, written to ``folder``."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["index"] |= {"leads": 4, "size": 32, "stride": 32, "train_wet_share": 0.0}
    for model in content["models"].values():
        model["widths"] = [8]
    content["train"] |= {"steps": 12, "checkpoint_steps": 4, "validation_windows": 8, "precision": "float32"}
    content["train"] |= train_changes
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    return read_params(folder / "params.yaml")


def write_workplace() -> None:
    """Write what a training of seconds wants into the working directory: an archive, its index, DVC's and our files."""
    Path("dvc.yaml").touch()
    write_archive(Path("radar.zarr"), shape=(32, 32))
    index({"radar": Path("radar.zarr")}, Path("windows.parquet"), small_params(Path()).index)


def only_run() -> Run:
    """The one run in the store of this test."""
    connect(NAME)
    (run,) = mlflow.search_runs(experiment_names=[NAME], output_format="list")
    return run
