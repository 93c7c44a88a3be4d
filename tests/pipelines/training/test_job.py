import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.params.training import Fit, Switch, Switched
from pipelines.tracking.registry import RegisteredModel, columns, tensor
from pipelines.training.job import Job

OF = RegisteredModel("sums", "numbers", "nowhere", tensor(np.float32, -1), columns({"sum": "double"}), None)
MODEL = Switched(cell="scs", switch=Switch(kind="two_sided", p=0.5), steps=7)
FIT = Fit(seed=1, steps=100, checkpoint_steps=10, batch_size=2, learning_rate=0.1, precision="float32")


def job(task: str = "sum", model: Switched = MODEL, params: Fit = FIT, data_sha256: str = "abc") -> Job:
    return Job(OF, task, "small", model, params.of(model), data_sha256, {}, pd.DataFrame())


def test_a_job_is_known_by_its_keys_in_params_yaml() -> None:
    assert job().keys == ("sum_models.small", "train_sum")
    assert job(task="").keys == ("models.small", "train")
    assert set(job(task="").settings) == {"model", "train"}
    assert job().settings["train_sum"]["steps"] == 7  # the model's own
    assert "steps" not in job().settings["model"]


def test_the_same_job_goes_on_and_no_other() -> None:
    folder = job().checkpoints
    assert folder.name.startswith("sum-small-")
    assert job(task="").checkpoints.name.startswith("small-")
    # Steps are the training's, whichever of the two sections names them.
    assert (
        job(model=MODEL.model_copy(update={"steps": None}), params=FIT.model_copy(update={"steps": 7})).checkpoints
        == folder
    )
    others = [
        job(data_sha256="abd"),
        job(params=FIT.model_copy(update={"learning_rate": 0.2})),
        job(model=MODEL.model_copy(update={"steps": 8})),
        job(model=MODEL.model_copy(update={"cell": "convlstm"})),
    ]
    assert len({folder, *(other.checkpoints for other in others)}) == 5


def test_the_run_is_found_by_what_dvc_knows_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outs = [{"path": "a.zarr", "md5": "0cc1.dir"}, {"path": "b.zarr", "md5": "92eb.dir"}]
    Path("dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"ingest": {"outs": outs}}}))
    data = {"store": [Path("a.zarr"), Path("b.zarr")], "windows": [Path("windows.parquet")]}
    assert Job(OF, "sum", "small", MODEL, FIT, "abc", data, pd.DataFrame()).tags == {
        "cell": "scs",
        "switch": "STSGD two_sided p=0.5",
        "data_sha256": "abc",
        "dvc_md5.store": "0cc1.dir 92eb.dir",
        "dvc_md5.windows": "none",
    }
