"""What a cycle does when not all is as it should be, on a real Prefect and MLflow: it falls back, refuses, or waits."""

import json
import shutil
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import xarray as xr
from archive import moving_cells
from conftest import Served, free_port, write_params
from geojson import box, feature, written
from inbox_file import write_file
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import State
from prefect.deployments.runner import RunnerDeployment
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter
from prefect.flow_engine import run_flow
from prefect.states import Pending, Scheduled
from waiting import eventually

from flows.forecast import forecast
from pipelines.nowcast.registered_model import load
from pipelines.nowcast.specification import RADAR
from pipelines.operation.products.latest import read_latest
from pipelines.radar.frame import Frame

FRAMES = moving_cells("2024-06-01T12:00:00", 5, shape=(96, 96))
NOW = datetime(2024, 6, 1, 12, 30, tzinfo=UTC)
OUT = Path("data/out/faulty")
MODEL = "models:/radar-nowcast@champion"


@pytest.fixture
def inbox(server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one domain, ``faulty``, of forecasts of 10 minutes; gives its inbox."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.mlflow)
    monkeypatch.chdir(tmp_path)
    configure(MODEL)
    (tmp_path / "data" / "inbox" / "faulty").mkdir(parents=True)
    return tmp_path / "data" / "inbox" / "faulty"


def configure(model: str, **policy: object) -> None:
    domain = {"minutes": 10, "model": model, "policy": {"max_age_minutes": 30} | policy}
    write_params(Path.cwd(), {"faulty": domain})


def cycle(inbox: Path, *frames: Frame, now: datetime = NOW) -> State:
    for frame in frames:
        write_file(inbox, frame)
    return forecast("faulty", now, return_state=True)


def alarms() -> dict[str, str]:
    return {one["kind"]: one["message"] for one in read_latest(OUT)["alarms"]}


def issued(stamp: str) -> xr.Dataset:
    with xr.open_dataset(OUT / stamp / "forecast.nc", decode_timedelta=False) as dataset:
        return dataset.load()


def test_mlflow_is_down_and_comes_back(inbox: Path, server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    began = datetime.now(UTC)
    state = cycle(inbox, *FRAMES[:3])
    assert state.is_completed() and state.message.startswith("published data/out/faulty/20240601T121000Z: 2 lead times")
    assert "fallback: extrapolation: MLflow store http://127.0.0.1" in state.message
    said = issued("20240601T121000Z").attrs
    assert said["fallback"].startswith("extrapolation: MLflow store")
    assert (said["method"], said["model_version"]) == ("extrapolation", "none")
    assert read_latest(OUT)["forecast"]["fallback"] == said["fallback"]
    assert alarms() == {"fallback": said["fallback"]}
    chosen = EventFilter(
        event=EventNameFilter(name=["scs.alarm.fallback"]),
        any_resource=EventAnyResourceFilter(id=["scs.domain.faulty"]),
    )
    chosen.occurred.since = began
    with get_client(sync_client=True) as client:
        asked = {"filter": chosen.model_dump(mode="json")}
        events = eventually(lambda: client._client.post("/events/filter", json=asked).json()["events"])
    assert events[0]["payload"]["message"] == said["fallback"]

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.mlflow)
    assert "fallback" not in cycle(inbox, FRAMES[3]).message
    assert issued("20240601T121500Z").attrs["model_version"] == "1"
    assert alarms() == {}


@pytest.mark.parametrize(("level", "words"), [(0, "its artifacts are gone from"), (2, "no such model in")])
def test_the_model_s_artifacts_are_gone(inbox: Path, server: Served, tmp_path: Path, level: int, words: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    mark = uuid.uuid4().hex
    (folder / "model.json").write_text(json.dumps({"method": "extrapolation", "inputs": 3, "mark": mark}))
    version = f"models:/radar-nowcast/{RADAR.ensure_version('extrapolation', folder, {}).number}"
    stored = (server.folder / "mlflow/artifacts").rglob("model.json")
    (kept,) = (path for path in stored if mark in path.read_text())
    shutil.rmtree(kept.parents[level])
    configure(version)
    message = cycle(inbox, *FRAMES[:3]).message
    assert f"fallback: extrapolation: {version}: {words} {server.mlflow}" in message
    configure(version, fallback=[])
    state = cycle(inbox, FRAMES[3])
    assert state.is_failed() and state.message.startswith(f"no forecast: {version}: {words}")
    assert not (OUT / "20240601T121500Z").exists()
    assert set(alarms()) == {"fallback", "no-forecast"}  # of the newest there is, and of none that is newer


def test_the_model_changed_since_it_was_registered(inbox: Path, server: Served, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    content = json.dumps({"method": "extrapolation", "inputs": 3, "mark": uuid.uuid4().hex})
    (folder / "model.json").write_text(content)
    version = f"models:/radar-nowcast/{RADAR.ensure_version('extrapolation', folder, {}).number}"
    stored = (server.folder / "mlflow/artifacts").rglob("model.json")
    (kept,) = (path for path in stored if path.read_text() == content)
    kept.write_text(json.dumps({"method": "persistence", "inputs": 1}))
    configure(version)
    assert cycle(inbox, *FRAMES[:3]).is_completed()
    said = issued("20240601T121000Z").attrs
    assert said["fallback"].startswith(f"extrapolation: {version}: changed since it was registered: its content is ")
    assert (said["method"], said["model_version"]) == ("extrapolation", "none")
    assert alarms() == dict.fromkeys(("fallback", "model-changed"), said["fallback"])
    configure(version, fallback=[])
    assert cycle(inbox, FRAMES[3]).is_failed()
    assert set(alarms()) == {"fallback", "model-changed", "no-forecast"}
    assert not (OUT / "20240601T121500Z").exists()
    kept.write_text(content)
    assert cycle(inbox, FRAMES[4]).is_completed()
    assert issued("20240601T122000Z").attrs["model_version"] == version.rpartition("/")[2]
    assert alarms() == {}


def test_a_version_is_loaded_once(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.mlflow)
    first = load(MODEL)
    assert load(f"models:/radar-nowcast/{first.version}").description is first.description
    assert load(f"models:/radar-nowcast/{first.version}").uri == f"models:/radar-nowcast/{first.version}"


def test_products_that_can_not_be_made_are_an_alarm_and_the_rest_is_there(inbox: Path) -> None:
    domain = {"minutes": 10, "model": MODEL, "policy": {"max_age_minutes": 30}, "areas": "a.geojson"}
    write_params(Path.cwd(), {"faulty": domain | {"members": {"count": 5}}})
    state = cycle(inbox, *FRAMES[:3])
    words = "areas: a.geojson: No such file or directory", "members: extrapolation gives no probabilities"
    assert state.is_completed() and all(line in state.message for line in words)
    assert issued("20240601T121000Z")["rainfall_flux"].shape == (2, 96, 96)
    assert alarms() == {"products-left-out": "; ".join(words)}
    written(Path("a.geojson"), feature("all", box(10.05, 54.7, 10.5, 54.95)))
    write_params(Path.cwd(), {"faulty": domain | {"leave_out": ["zarr", "maps"]}})
    assert cycle(inbox, FRAMES[3]).is_completed() and alarms() == {}
    files = read_latest(OUT)["forecast"]["files"]
    assert {"areas_csv", "areas_json"} <= files.keys() and "zarr" not in files and files["maps"] == []


def test_a_page_that_fails_costs_no_forecast_and_what_is_wrong_with_the_data_is_on_it(inbox: Path) -> None:
    OUT.mkdir(parents=True)
    (OUT / "page").touch()
    state = cycle(inbox, *FRAMES[:3])
    assert state.is_completed() and state.message.startswith("published data/out/faulty/20240601T121000Z")
    assert read_latest(OUT)["forecast"]["folder"] == "20240601T121000Z"
    (OUT / "page").unlink()
    assert cycle(inbox, now=NOW + timedelta(hours=1)).is_failed()
    on_page = (OUT / "page/state.js").read_text()
    assert '"kind": "stale-input"' in on_page and '"folder": "20240601T121000Z"' in on_page
    assert (OUT / "page/20240601T121000Z/map.js").exists(), "the map that could not be made before"


def test_no_rain_at_all_is_a_forecast(inbox: Path) -> None:
    dry = [replace(frame, rain_rate=np.zeros((96, 96), np.float32)) for frame in FRAMES[:3]]
    assert cycle(inbox, *dry).is_completed()
    assert np.nanmax(issued("20240601T121000Z")["rainfall_flux"]) == 0
    assert alarms() == {}


def test_frames_that_know_nothing_or_too_little_make_no_forecast(inbox: Path) -> None:
    blind = np.full((96, 96), np.nan, np.float32)
    state = cycle(inbox, *(replace(frame, rain_rate=blind) for frame in FRAMES[:2]))
    assert state.is_failed() and "can't be read yet: no pixel is valid; left for the next cycle" in state.message
    assert set(alarms()) == {"no-forecast"} and read_latest(OUT)["forecast"] is None
    little = blind.copy()
    little[50, :46] = 1.0  # 46 of 9216
    state = cycle(inbox, *(replace(frame, rain_rate=little) for frame in FRAMES[2:4]))
    assert (
        state.is_failed() and "the newest frame, of 2024-06-01T12:15:00 UTC, knows 0.50% of the grid" in state.message
    )
    # With a good frame the alarm is off; the others count as missing, and those are more than may be.
    state = cycle(inbox, FRAMES[4])
    assert "fallback: persistence: data/store/faulty: no good frame of 2024-06-01T12:10:00, " in state.message
    assert set(alarms()) == {"fallback"}


def test_half_the_inputs_are_missing(inbox: Path) -> None:
    assert "input of 2024-06-01T12:15:00 UTC" in cycle(inbox, FRAMES[0], FRAMES[1], FRAMES[2], FRAMES[4]).message
    said = issued("20240601T122000Z").attrs
    assert [one["time"] for one in json.loads(said["missing_frames"])] == ["2024-06-01T12:15:00"]
    assert [one["time"][11:16] for one in json.loads(said["input_frames"])] == ["12:10", "12:20"]
    assert json.loads(said["policy"])["stand_in"] == "advected"


def test_a_clock_an_hour_off_says_so_and_when_it_is_right_forecasts_go_on(inbox: Path) -> None:
    hour = timedelta(hours=1)
    state = cycle(inbox, *FRAMES[:3], now=NOW + hour)
    assert state.is_failed() and state.message.startswith("no forecast: data/store/faulty: the newest frame")
    assert set(alarms()) == {"stale-input"} and not list(OUT.glob("*Z"))
    assert cycle(inbox).message.startswith("published data/out/faulty/20240601T121000Z")
    assert alarms() == {}
    # Behind, it takes what comes for a frame of the future, and has nothing new.
    state = cycle(inbox, FRAMES[3], now=NOW - hour)
    assert state.is_completed() and state.message.startswith("data/out/faulty/20240601T121000Z is published already")
    assert "from the future: its time is 2024-06-01T12:15:00, and now it is 2024-06-01T11:30:00 UTC" in state.message
    (kept,) = (path for path in inbox.with_name("faulty-quarantine").iterdir() if path.suffix != ".reason")
    kept.rename(inbox / kept.name)  # as docs/operations.md says
    assert cycle(inbox, FRAMES[4]).message.startswith("published data/out/faulty/20240601T122000Z")
    assert issued("20240601T122000Z").attrs["missing_frames"] == "none"


def test_when_clocks_go_back_an_hour_there_are_two_forecasts_with_two_hours_of_utc(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """02:30 of Zurich's clocks comes twice in this night, an hour apart: 00:30 and 01:30 UTC."""
    monkeypatch.setenv("TZ", "Europe/Zurich")
    time.tzset()
    try:
        for first in ("2024-10-27T00:20:00", "2024-10-27T01:20:00"):
            frames = moving_cells(first, 3, shape=(48, 48))
            newest = datetime.fromisoformat(first) + timedelta(minutes=10)
            # The same moment as it is on the wall, where it is 02:31 both times.
            now = (newest + timedelta(minutes=1)).replace(tzinfo=UTC).astimezone(ZoneInfo("Europe/Zurich"))
            assert (now.hour, now.minute) == (2, 31)
            stamp = f"{newest:%Y%m%dT%H%M%SZ}"
            assert cycle(inbox, *frames, now=now).message.startswith(f"published data/out/faulty/{stamp}")
            wanted = [np.datetime64(newest) + np.timedelta64(minutes, "m") for minutes in (5, 10)]
            assert issued(stamp)["time"].to_numpy().tolist() == np.array(wanted, "datetime64[ns]").tolist()
            assert read_latest(OUT)["forecast"]["reference_time"] == f"{newest:%Y-%m-%dT%H:%M:%SZ}"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_frames_come_out_of_order_and_an_hour_late(inbox: Path) -> None:
    late = NOW + timedelta(minutes=50)
    state = cycle(inbox, FRAMES[2], FRAMES[0], FRAMES[1], now=late)
    assert state.is_failed() and "of 2024-06-01T12:10:00 UTC, 70 minutes ago, and 30 are allowed" in state.message
    assert set(alarms()) == {"stale-input"}
    fresh = [replace(f, time=f.time + np.timedelta64(1, "h")) for f in FRAMES[:4]]
    assert cycle(inbox, fresh[3], fresh[1], fresh[2], now=late).is_completed()
    assert alarms() == {}
    used = [one["time"][11:16] for one in json.loads(issued("20240601T131500Z").attrs["input_frames"])]
    assert used == ["13:05", "13:10", "13:15"]
    assert "is published already" in cycle(inbox, fresh[0], now=late).message, "a late frame makes no new cycle"


def test_a_run_that_a_later_one_has_overtaken_skips_itself(inbox: Path) -> None:
    for frame in FRAMES[:3]:
        write_file(inbox, frame)
    pool = f"nobody-{uuid.uuid4().hex}"
    now = datetime.now(UTC)
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        deployment = RunnerDeployment.from_flow(
            forecast, f"late-{pool}", parameters={"domain": "faulty", "now": NOW}, work_pool_name=pool
        ).apply()
        runs = [
            client.create_flow_run_from_deployment(deployment, state=Scheduled(scheduled_time=now - timedelta(hours=h)))
            for h in (3, 2, 1)
        ]
        tomorrow = Scheduled(scheduled_time=now + timedelta(hours=1))
        client.create_flow_run_from_deployment(deployment, state=tomorrow)
        client.create_flow_run_from_deployment(  # of another clock: it does something else
            deployment,
            parameters={"domain": "faulty", "now": "2024-06-01T18:00:00+00:00"},
            state=Scheduled(scheduled_time=now - timedelta(minutes=30)),
        )
        states = []
        for run in runs:
            client.set_flow_run_state(run.id, Pending())
            parameters = {"domain": "faulty", "now": NOW}
            fresh = client.read_flow_run(run.id)
            states.append(run_flow(forecast, flow_run=fresh, parameters=parameters, return_type="state"))
        client.delete_deployment(deployment)
        client.delete_work_pool(pool)
    due = f"{now - timedelta(hours=1):%Y-%m-%d %H:%M} UTC"
    assert all(state.is_completed() for state in states)
    assert [state.message for state in states[:2]] == [f"overtaken: the run of {due} is due, and does for this one"] * 2
    assert states[2].message.startswith("published data/out/faulty/20240601T121000Z")
