"""Versions that were registered by the code of before the rooms still load, and say what they said."""

import os
import shutil
import subprocess
import sys
import tarfile
from datetime import datetime, timedelta
from pathlib import Path

import cv2
import mlflow
import numpy as np
import pytest
import xarray as xr
from radar_files import name_of, write_odim

from pipelines.action.registered_model import recognize
from pipelines.action.specification import ACTION
from pipelines.nowcast.export_model import export_model
from pipelines.nowcast.methods.lagrangian import advect, motion
from pipelines.nowcast.registered_model import load
from pipelines.nowcast.specification import NAME

ROOT = Path(__file__).parents[3]
PREDICT = """
import sys
import numpy as np
{first}
import mlflow
model, npz = sys.argv[1:]
made = mlflow.pyfunc.load_model(model)
given = np.load(npz)["given"]
if given.ndim == 3:
    given = given[-3:]  # what the network looks at: of more frames, motion is another today
said = made.predict(given, {{"leads": 3}} if given.ndim == 3 else None)
np.save("said.npy", said if isinstance(said, np.ndarray) else said.sort_values("class")["probability"].to_numpy())
print(sys.modules["pipelines"].__file__)
"""


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fixture, unpacked, with the old code in each model as MLflow had put it there."""
    folder = tmp_path_factory.mktemp("versions")
    with tarfile.open(ROOT / "tests/fixtures/versions_0_1.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    for name in ("extrapolation", "network", "recognizer"):
        shutil.copytree(folder / "code", folder / name / "code")
    return folder


def said(versions: Path, name: str) -> np.ndarray:
    return np.load(versions / f"{name}.npz")["said"]


def assert_as_said(forecast: np.ndarray, versions: Path, name: str) -> None:
    """As the version's own code said, but for a network where rain comes from outside: it said dry there."""
    wanted = said(versions, name)
    if name == "network":
        given = np.load(versions / "network.npz")["given"][-3:]
        moved = advect(np.repeat(given[-1:], len(wanted), axis=0), motion(given))
        assert 0.8 < np.isfinite(forecast).mean() / np.isfinite(wanted).mean() < 1
        wanted = np.where(np.isnan(moved), np.nan, wanted)
    np.testing.assert_allclose(forecast, wanted, rtol=1e-4, atol=1e-4)


@pytest.fixture
def registry(versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with versions 1 and 2 of radar-nowcast, extrapolation and the network, and the recogniser."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    for model, names in ((NAME, ("extrapolation", "network")), (ACTION.name, ("recognizer",))):
        client.create_registered_model(model)
        for name in names:
            # As they were: what a version takes was its tag, and so were scores and lineage.
            content = mlflow.models.Model.load(str(versions / name)).metadata["sha256"]
            tags = {"model": name, "model_sha256": content, "csi_mean": "0.4000", "forecast_bytes_a_pixel": "1234"}
            client.create_model_version(model, str(versions / name), tags=tags)
    return tmp_path


@pytest.mark.parametrize("name", ["extrapolation", "network", "recognizer"])
@pytest.mark.parametrize("code", ["of the version", "of this repository"])
def test_mlflow_loads_it_in_a_fresh_process(name: str, code: str, versions: Path, tmp_path: Path) -> None:
    ours = code == "of this repository"
    environment = os.environ | {"PYTHONPATH": str(ROOT)} if ours else dict(os.environ)
    if not ours:
        environment.pop("PYTHONPATH", None)
    program = PREDICT.format(first="import pipelines.nowcast, pipelines.action, scs_model" if ours else "")
    command = [sys.executable, "-c", program, str(versions / name), str(versions / f"{name}.npz")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert Path(done.stdout.split("\n")[-2]).is_relative_to(ROOT if ours else versions / name)
    if ours:
        assert_as_said(np.load(tmp_path / "said.npy"), versions, name)
    else:
        np.testing.assert_allclose(np.load(tmp_path / "said.npy"), said(versions, name), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("number", "name"), [(1, "extrapolation"), (2, "network")])
def test_a_forecaster_is_loaded_from_the_registry(number: int, name: str, registry: Path, versions: Path) -> None:
    model = load(f"models:/{NAME}/{number}")
    forecast = model.forecaster(np.load(versions / f"{name}.npz")["given"][-3:], 3)
    assert_as_said(forecast, versions, name)
    assert model.bytes_a_pixel == {"forecast": 1234.0}


def test_scs_forecasts_with_it(registry: Path) -> None:
    (registry / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (registry / "radar").mkdir()
    for step in range(4):
        time = datetime(2024, 6, 1, 12) + timedelta(minutes=5 * step)
        y, x = np.mgrid[:40, :48]
        shower = (150 * np.exp(-((y - 20) ** 2 + (x - 12 - 3 * step) ** 2) / 60)).astype(np.uint8)
        write_odim(registry / "radar" / name_of(time), shower, time)
    scs = Path(sys.executable).with_name("scs")
    subprocess.run([scs, "forecast", "radar", "--out", "out", "--model", f"models:/{NAME}/2"], check=True)
    with xr.open_dataset(registry / "out/20240601T121500Z/forecast.nc", decode_timedelta=False) as dataset:
        assert (dataset.attrs["model_version"], dataset.attrs["method"]) == ("2", "tiny")
        assert np.isfinite(dataset["rainfall_flux"]).any()


def test_actions_are_recognised_with_it(registry: Path, versions: Path) -> None:
    (registry / "clip").mkdir()
    for number, frame in enumerate(np.load(versions / "recognizer.npz")["given"]):
        cv2.imwrite(str(registry / "clip" / f"{number:05}.png"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    probabilities, name, version = recognize(registry / "clip", f"models:/{ACTION.name}/1")
    assert (name, version) == ("tiny", "1")
    np.testing.assert_allclose([probabilities["left"], probabilities["right"]], said(versions, "recognizer"), rtol=1e-4)
    export_model(f"models:/{ACTION.name}/1", registry / "exported", despite_rights=True)
    content = mlflow.models.Model.load(str(versions / "recognizer")).metadata["sha256"]
    exported = (probabilities, name, f"1-{content[:8]}")  # the registry here may have another of this number
    assert recognize(registry / "clip", str(registry / "exported")) == exported
