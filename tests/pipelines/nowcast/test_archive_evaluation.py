"""Any store or folder is scored as the stage scores a test event, and what can't be is told in a sentence."""

import json
import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr
from archive import moving_cells, write_store
from radar_files import name_of, write_odim
from ruamel.yaml import YAML
from small_model import NETWORK, write_model

from pipelines.common.errors import UnreadableFile, UserError
from pipelines.nowcast import archive_evaluation as stage
from pipelines.nowcast.archive_evaluation import all_times, evaluate_source, runs_of
from pipelines.nowcast.register import write_extrapolation
from pipelines.nowcast.specification import RADAR
from pipelines.params.read import Params, read_params
from pipelines.radar.inspection import inspect_store

ROOT = Path(__file__).parents[3]
PICTURES = {f"{name}.png" for name in ("csi", "fss", "spectra", "maps", "crps", "brier_skill", "reliability")}


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    (tmp_path / "dvc.yaml").touch()
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    content["index"] |= {"inputs": 3, "leads": 12}
    content["evaluate"] |= {"thresholds": [0.5, 2.0], "time_stride": 2}
    YAML().dump(content, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return read_params(tmp_path / "params.yaml")


def evaluated(models: list[str], source: Path, params: Params, *, minutes: int = 20) -> tuple[str, dict[str, Any]]:
    """The table as text and as data; pictures must be there."""
    written = evaluate_source(models, source, Path("out/table.json"), minutes=minutes, params=params)
    assert {path.name for path in written} == {"table.md", "table.json"} | PICTURES
    assert all(path.stat().st_size for path in written)
    return written[0].read_text(), json.loads(Path("out/table.json").read_text())


def test_events_are_runs_of_frames_of_at_most_a_length() -> None:
    minutes = np.array([0, 5, 10, 15, 25, 30, 35, 95], "timedelta64[m]")
    time = np.datetime64("2024-06-01T12:00", "s") + minutes
    assert runs_of(time, 24.0).tolist() == [0, 0, 0, 0, 1, 1, 1, 2]
    assert runs_of(time, 10 / 60).tolist() == [0, 0, 1, 1, 2, 2, 3, 4]


def test_all_frames_of_a_store_are_forecast_from_dry_ones_too(tmp_path: Path, params: Params) -> None:
    first = moving_cells("2024-06-01T12:00", 10, shape=(48, 56))
    dry = moving_cells("2024-06-01T18:00", 8, shape=(48, 56))
    for frame in dry:
        frame.rain_rate[:] = 0
    store = write_store(tmp_path / "radar.zarr", [*first, *dry])
    index = params.index.model_copy(update={"inputs": 3, "leads": 4, "time_stride": 2})
    assert all_times(store, index)[["event", "t0"]].to_numpy().tolist() == [[0, 0], [0, 2], [1, 10]]

    text, data = evaluated(["persistence", "extrapolation"], store, params)
    assert "3 forecasts" in text
    assert "2 event(s)" in text
    scores = pd.DataFrame(data["scores"])
    assert sorted(scores["lead_minutes"].unique()) == [5, 10, 15, 20]
    assert set(scores.loc[scores["pooling"] == "one event", "event"]) == {0, 1}
    csi = {method["method"]: method["csi_mean"] for method in data["methods"]}
    assert csi["extrapolation"] > 0.9 > csi["persistence"]  # these cells only move


def test_models_of_a_folder_and_of_the_registry_on_radar_files(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    noon = datetime(2024, 6, 1, 12)
    y, x = np.mgrid[:40, :48]
    (tmp_path / "radar").mkdir()
    for step in range(9):
        time = noon + timedelta(minutes=5 * step)
        pixels = (150 * np.exp(-((y - 20) ** 2 + (x - 12 - 2 * step) ** 2) / 60)).astype(np.uint8)
        path = write_odim(tmp_path / "radar" / name_of(time), pixels, time)
    path.write_bytes(path.read_bytes()[:1000])
    network = {"method": "network", "inputs": 4, "network": NETWORK}
    ours = write_model(tmp_path / "models" / "ours", network)
    hourly = write_model(tmp_path / "models" / "hourly", network | {"step_seconds": 3600})
    write_extrapolation(tmp_path / "first")
    version = RADAR.ensure_version("extrapolation", tmp_path / "first", {})
    uri = f"models:/radar-nowcast/{version.number}"

    text, data = evaluated([uri, str(ours), str(hourly)], tmp_path / "radar", params)
    # Eight of nine frames are good: four to look at and four to forecast.
    assert "1 forecasts" in text
    assert {method["method"] for method in data["methods"]} == {"extrapolation", "ours"}
    assert data["reference"] == "extrapolation"
    assert "hourly has no scores: its steps are of 3600 s, and those of the data of 300 s." in text
    assert "1 of the files could not be used" in text
    assert not list(Path("data/checkpoints").iterdir())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted({"table.md", "table.json"} | PICTURES)


def test_what_cannot_be_scored_is_said_in_one_line(tmp_path: Path, params: Params) -> None:
    store = write_store(tmp_path / "radar.zarr", moving_cells("2024-06-01T12:00", 10, shape=(48, 56)))
    one = write_store(tmp_path / "one.zarr", moving_cells("2024-06-01T12:00", 1, shape=(48, 56)))
    short = write_store(tmp_path / "short.zarr", moving_cells("2024-06-01T12:00", 5, shape=(48, 56)))
    hourly = {"method": "network", "inputs": 3, "network": NETWORK, "step_seconds": 3600}
    model = str(write_model(tmp_path / "hourly", hourly))
    out = Path("out/table.json")
    for said, models, source, to, minutes in (
        (r"^nothing: no such folder or store$", ["persistence"], Path("nothing"), out, 20),
        (r"^nobody: no such folder, and neither an MLflow URI nor ", ["nobody"], store, out, 20),
        (r"one\.zarr: 1 frame\(s\), and two at least are needed$", ["persistence"], one, out, 20),
        (r"short\.zarr: no 7 frames of 300 s in a row", ["persistence"], short, out, 20),
        (r"steps are longer than 4 minutes$", ["persistence"], store, out, 4),
        (r"no method can forecast it: hourly has no scores: its steps", [model], store, out, 20),
        (r"^table\.txt: .*name it NAME\.json$", ["persistence"], store, Path("table.txt"), 20),
        (r"^/proc/nothing/table\.json: ", ["persistence"], store, Path("/proc/nothing/table.json"), 20),
        (r"^--model: 2 models, and only 1 names: persistence$", ["persistence"] * 2, store, out, 20),
    ):
        with pytest.raises(UserError, match=said) as error:
            evaluate_source(models, source, to, minutes=minutes, params=params)
        assert "\n" not in str(error.value)
    assert not list(Path("out").iterdir())
    assert not list(Path("data/checkpoints").iterdir())


def test_interrupted_it_goes_on_where_it_was(tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the table is written, when all is scored."""
    store = write_store(tmp_path / "radar.zarr", moving_cells("2024-06-01T12:00", 10, shape=(48, 56)))

    def ctrl_c(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def interrupted(params: Params) -> dict[Path, int]:
        """Checkpoints that are there then, and when each was written."""
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(stage, "write_comparison", ctrl_c)
            evaluated(["extrapolation"], store, params)
        return {file: file.stat().st_mtime_ns for file in Path("data/checkpoints").rglob("0-*.parquet")}

    first = interrupted(params)
    assert len(first) == 4  # of two times, fields and probabilities
    assert interrupted(params) == first
    other_events = params.model_copy(update={"index": params.index.model_copy(update={"max_event_hours": 0.75})})
    assert interrupted(other_events).keys() > first.keys()
    text, data = evaluated(["extrapolation"], store, params)
    (other,) = {file.parent for file in Path("data/checkpoints").rglob("0-*.parquet")}
    assert other not in {file.parent for file in first}
    shutil.rmtree(other)
    assert evaluated(["extrapolation"], store, params) == (text, data)


def test_a_store_of_someone_else_reads_nothing_else_and_takes_no_gigabytes(tmp_path: Path, params: Params) -> None:
    """It says that it is a store of frames, and is opened as one: so it is looked at before, by a worker."""

    def store(name: str) -> Path:
        return write_store(tmp_path / name, moving_cells("2024-06-01T12:00", 10, shape=(48, 56)))

    def metadata(array: Path, **changes: object) -> None:
        path = array / "zarr.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def resized(name: str, **sizes: int) -> Path:
        path = store(name)
        for _, array in zarr.open_group(path, mode="r+").arrays():
            names = array.metadata.dimension_names or ()
            array.resize([sizes.get(name, size) for name, size in zip(names, array.shape, strict=True)])
        return path

    secret = tmp_path / "secret"
    secret.write_bytes(bytes(1000))
    linked = next(path for path in (store("link.zarr") / "rainfall_flux" / "c").rglob("*") if path.is_file())
    linked.unlink()
    linked.symlink_to(secret)
    metadata(store("codec.zarr") / "time", codecs=[{"name": "numcodecs.pickle"}])
    many, wide = resized("times.zarr", time=1 << 32), resized("wide.zarr", y=60_000, x=60_000)
    for path, words in {
        linked.parents[4]: f"{linked.relative_to(linked.parents[4])}: a link to {secret}, out of its folder",
        tmp_path / "codec.zarr": "time/zarr.json: codec numcodecs.pickle isn't one that is known",
        many: "too large: it takes more than 2048 MB of memory to decode (max_memory_mb)",
        wide: "too large: a frame of 3600000000 pixels unpacks to 27466 MB, and max_unpacked_mb is 1024",
    }.items():
        with pytest.raises(UnreadableFile, match=f"^{re.escape(f'{path}: {words}')}$"):
            evaluated(["persistence"], path, params)
        with pytest.raises(UnreadableFile, match=f"^{re.escape(f'{path}: {words}')}$"):
            inspect_store(path, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
