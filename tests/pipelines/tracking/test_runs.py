"""A comparison is checked by what plain MLflow calls find in the store."""

from pathlib import Path

import mlflow
import pytest
from PIL import Image

from pipelines.nowcast.specification import NAME, RADAR
from pipelines.tracking.runs import COMPARISON, log_comparison


def runs() -> list[mlflow.entities.Run]:
    """Return all runs, the newest first."""
    return mlflow.search_runs(experiment_names=[NAME], order_by=["attributes.start_time DESC"], output_format="list")


def test_a_comparison_is_logged_once_and_a_changed_one_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    comparison = tmp_path / "comparison"
    comparison.mkdir()
    Image.new("RGB", (37, 23), "red").save(comparison / "maps.png")
    for table in ("first", "first", "second"):
        (comparison / "table.md").write_text(table)
        log_comparison(RADAR, comparison)
    newest, oldest = runs()
    for run, table in ((newest, "second"), (oldest, "first")):
        logged = Path(mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/{COMPARISON}"))
        assert sorted(path.name for path in logged.iterdir()) == ["maps.png", "table.md"]
        assert (logged / "table.md").read_text() == table
        assert (logged / "maps.png").read_bytes() == (comparison / "maps.png").read_bytes()
