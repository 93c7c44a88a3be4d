from pathlib import Path

import mlflow
import pytest

from pipelines.common.errors import UserError
from pipelines.tracking.learning_curves import learning_curves
from pipelines.tracking.store import connect


def log(
    model: str, dvc_exp: str, points: list[tuple[int, float]], metric: str = "validation_accuracy", of_model: int = 30
) -> None:
    with mlflow.start_run():
        mlflow.set_tags({"model": model, "dvc_exp": dvc_exp, "code_commit": "abc"})
        for step, value in points:
            mlflow.log_metric(metric, value, step=step)
        mlflow.log_metrics({metric: 0.7, "training_seconds": 9}, step=of_model)  # of the trained model


def test_the_newest_training_of_each_model_of_the_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    connect("action-recognition")
    mlflow.set_experiment("action-recognition")
    log("scs", "long", [(10, 0.9)])
    log("scs", "long", [(20, 0.3), (10, 0.1), (20, 0.2)])  # 20 twice: it was cut off after the first
    log("convlstm", "long", [(10, 0.4)], of_model=0)  # as it was before
    log("cnn", "long", [(10, 0.4)], metric="validation_loss")
    log("scs", "other", [(10, 0.5)])
    table = learning_curves("action-recognition", "long", "validation_accuracy")
    assert table[["model", "step", "value"]].values.tolist() == [
        ["convlstm", 10, 0.4],
        ["scs", 10, 0.1],
        ["scs", 20, 0.2],
    ]
    assert set(table["commit"]) == {"abc"}
    with pytest.raises(UserError, match="no training of the DVC experiment 'nothing'"):
        learning_curves("action-recognition", "nothing", "validation_accuracy")
