"""A checkout that was moved, renamed or copied keeps its experiments and its models."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import mlflow
import pytest

from pipelines.nowcast.registered_model import load
from pipelines.nowcast.specification import NAME, RADAR
from pipelines.tracking.store import connect

ROOT = Path(__file__).parents[3]
PREDICT = """
import mlflow, numpy as np
mlflow.set_tracking_uri("sqlite:///mlflow/mlflow.db")
model = mlflow.pyfunc.load_model("models:/radar-nowcast@champion")
made = model.predict(np.ones((3, 32, 32), np.float32), {"leads": 2})
print(made.shape, float(made.min()), float(made.max()))
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout, with a space in its name, that has persistence as the champion."""
    folder = tmp_path / "the first"
    (folder / "model").mkdir(parents=True)
    (folder / "dvc.yaml").touch()
    (folder / "model/model.json").write_text(json.dumps({"method": "persistence", "inputs": 1}))
    enter(folder, monkeypatch)
    RADAR.set_alias("champion", RADAR.ensure_version("persistence", Path("model"), {"csi_mean": 0.5}), "for the test")
    with mlflow.start_run(run_name="kept"):
        mlflow.log_text("of before", "note.txt")
    return folder


def enter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")


def note() -> str:
    (run,) = mlflow.search_runs(experiment_names=[NAME], filter_string="run_name = 'kept'", output_format="list")
    return mlflow.artifacts.load_text(f"{run.info.artifact_uri}/note.txt")


@pytest.mark.parametrize("copied", [False, True])
def test_models_and_runs_follow(checkout: Path, copied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = checkout.parent / "elsewhere" / "100% new"
    shutil.copytree(checkout, moved)
    if not copied:
        shutil.rmtree(checkout)
    enter(moved, monkeypatch)
    assert load(f"models:/{NAME}@champion").method == "persistence"
    if copied:
        shutil.rmtree(checkout)  # nothing of the copy is in it
    assert load(f"models:/{NAME}@champion").version == "1"
    assert note() == "of before"
    with mlflow.start_run(run_name="after") as run:
        assert run.info.artifact_uri.startswith(f"{(moved / 'mlflow/artifacts').as_uri()}/")


def test_mlflow_alone_reads_it_once_make_has_installed(checkout: Path) -> None:
    """``make .venv/installed`` ends with the module."""
    moved = checkout.rename(checkout.parent / "renamed")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": ""}

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=moved, env=environment, capture_output=True, text=True, check=True).stdout

    assert "5 addresses" in run("-m", "pipelines.tracking.relocation")  # experiment, two runs, model, version
    assert run("-m", "pipelines.tracking.relocation") == ""
    assert run("-c", PREDICT).splitlines()[-1] == "(2, 32, 32) 1.0 1.0"


def test_a_store_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "mlflow/artifacts").mkdir(parents=True)
    (tmp_path / "mlflow/mlflow.db").write_text("no database at all, though of some length")
    command = [sys.executable, "-m", "pipelines.tracking.relocation"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (75, 1)
    assert done.stderr.startswith("error: ") and "mlflow.db: file is not a database" in done.stderr


def test_what_is_elsewhere_by_intention_stays(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted = checkout.parent / "disk/mlflow/artifacts"
    mounted.mkdir(parents=True)
    elsewhere = ["s3://bucket/mlflow/artifacts", "file:///shared/models", "mlflow-artifacts:/2", mounted.as_uri()]
    for number, location in enumerate(elsewhere):
        connect(NAME).create_experiment(f"other {number}", location)
    enter(checkout.rename(checkout.parent / "renamed"), monkeypatch)
    connect(NAME)
    with closing(sqlite3.connect("mlflow/mlflow.db")) as database:
        of_others = database.execute(
            "SELECT artifact_location FROM experiments WHERE name LIKE 'other %' ORDER BY name"
        )
        assert [one for (one,) in of_others] == elsewhere


def test_a_store_that_two_checkouts_share_by_a_link_is_of_the_first(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = checkout.parent / "second"
    second.mkdir()
    (second / "dvc.yaml").touch()
    (second / "mlflow").symlink_to(checkout / "mlflow")
    enter(second, monkeypatch)
    made = connect(NAME).get_experiment_by_name(NAME)
    assert made is not None and made.artifact_location == (checkout / "mlflow/artifacts").as_uri()
    assert load(f"models:/{NAME}@champion").version == "1"
