"""What MLflow's pages show of a version and of an experiment, by plain MLflow calls."""

import json
from pathlib import Path

import mlflow
import pytest

from pipelines.nowcast.register import write_extrapolation
from pipelines.nowcast.specification import NAME, RADAR
from pipelines.tracking.store import connect
from pipelines.tracking.view import share_view

SCORES = {"csi_mean": 0.41236, "crps": 0.5, "mae_60min": 0.25, "bias_2mm_30min": 1.0, "brier_skill_2mm_60min": 0.125}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trained model's folder, and the run that trained it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    write_extrapolation(tmp_path / "model")
    return tmp_path / "model"


def test_a_version_has_few_tags_and_its_run_the_rest(folder: Path) -> None:
    version = RADAR.ensure_version("ours", folder, SCORES)
    client = connect(NAME)
    found = client.get_model_version(NAME, version.number)
    assert found.tags == {"model": "ours", "model_sha256": version.sha256, "csi_mean": "0.4124", "crps": "0.5000"}
    RADAR.set_alias("champion", version, "the only one")
    RADAR.set_memory(version, {"forecast": 812.0, "members": 34.5})
    assert client.get_model_version(NAME, version.number).tags == found.tags
    run = client.get_run(found.run_id)
    assert SCORES.items() <= run.data.metrics.items()
    assert run.data.tags["champion_because"] == "the only one"
    assert RADAR.locate(f"models:/{NAME}@champion").bytes_a_pixel == {"forecast": 812.0, "members": 34.5}

    client.set_model_version_tag(NAME, version.number, "mae_60min", "0.2000")  # as it was once, and would stay
    client.set_model_version_tag(NAME, version.number, "reviewed", "by a hand")
    assert RADAR.ensure_version("ours", folder, SCORES | {"csi_mean": 0.5}).number == version.number
    tags = client.get_model_version(NAME, version.number).tags
    assert tags == found.tags | {"csi_mean": "0.5000", "reviewed": "by a hand"}

    client.delete_run(found.run_id)
    mlflow.tracking._tracking_service.utils._get_store()._hard_delete_run(found.run_id)
    location = RADAR.locate(f"models:/{NAME}@champion")
    assert (location.sha256, location.bytes_a_pixel) == (version.sha256, {})


def test_the_table_of_runs_shows_scores_the_best_first(folder: Path) -> None:
    share_view(RADAR)
    share_view(RADAR)
    client = connect(NAME)
    experiment = client.get_experiment_by_name(NAME)
    view = json.loads(experiment.tags["mlflow.sharedViewState.scores"])
    assert view["orderByKey"] == "metrics.`csi_mean`" and not view["orderByAsc"]
    assert view["selectedColumns"] == ["metrics.`csi_mean`", "metrics.`crps`", "tags.`cell`", "tags.`switch`"]
    note = experiment.tags["mlflow.note.content"]
    assert f"#/experiments/{experiment.experiment_id}/runs?viewStateShareKey=scores" in note
    client.set_experiment_tag(experiment.experiment_id, "mlflow.note.content", "ours")
    share_view(RADAR)
    assert client.get_experiment_by_name(NAME).tags["mlflow.note.content"] == "ours"
