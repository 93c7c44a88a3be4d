"""The curves of skill in MLflow, a run for each model that forecast."""

from pathlib import Path

import mlflow
import numpy as np
import pytest

from pipelines.tracking.skill_curves import ALWAYS, log_skill

CYCLES = np.array(["2024-06-01T12:00"], "datetime64[m]")


def test_a_run_is_found_again_whatever_its_names_have_in_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    names = ["météo's", "météo_s", "a'b\"c\\", "x' OR 'a'='a"]

    def log(name: str) -> int:
        return log_skill("verified", "north", name, "3", CYCLES, lambda cycle: {ALWAYS: 1.0, "csi": 0.5})

    assert [log(name) for name in names] == [1] * len(names)
    assert [log(name) for name in names] == [0] * len(names)
    runs = mlflow.search_runs(experiment_names=["verified"], output_format="list")
    assert sorted(run.data.tags["model_name"] for run in runs) == sorted(names)
