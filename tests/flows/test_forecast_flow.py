"""The hourly forecast on a real Prefect server: what comes out, what is said of bad input, and that nothing is lost."""

import base64
import errno
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from uuid import UUID

import httpx
import numpy as np
import pyproj
import pytest
import xarray as xr
from archive import GRID_CRS, moving_cells
from conftest import Served, logs_of, processes_of, write_params
from inbox_file import write_file
from PIL import Image
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.logging.handlers import APILogHandler
from waiting import eventually

import pipelines.operation.live_store
from flows.forecast import forecast
from pipelines.common.errors import Unavailable
from pipelines.common.files import exclusive
from pipelines.common.provenance import sha256
from pipelines.common.rights import Rights
from pipelines.operation.live_store import LiveStore
from pipelines.operation.products import publish
from pipelines.operation.products.latest import read_latest
from pipelines.radar.grid import Grid

FRAMES = moving_cells("2024-06-01T12:00:00", 8, shape=(96, 96))
NOW = datetime(2024, 6, 1, 12, 40, tzinfo=UTC)


@pytest.fixture
def domain(server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one domain, ``here``, to which the age of frames matters; gives its inbox."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.mlflow)
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, {"here": {"policy": {"max_age_minutes": 30}}})
    (tmp_path / "data" / "inbox" / "here").mkdir(parents=True)
    return tmp_path / "data" / "inbox" / "here"


def cycle(now: datetime = NOW) -> State:
    return forecast("here", now, return_state=True)


def stored(folder: Path = Path("data/store/here")) -> list[np.datetime64]:
    return list(LiveStore(folder, Rights("CC0-1.0")).open()["time"].to_numpy().astype("datetime64[s]"))


def published() -> list[str]:
    return sorted(path.name for path in Path("data/out/here").glob("*Z"))


def all_lines(run_id: UUID) -> list[str]:
    """A deployed run's log: its process sends the last lines after the state, and then ends."""
    assert eventually(lambda: not processes_of(f"PREFECT__FLOW_RUN_ID={run_id}"))
    with get_client(sync_client=True) as client:
        return [log.message for log in client.read_logs(logs_of(run_id))]


def test_a_deployed_cycle_comes_out_right_and_can_be_seen(server: Served) -> None:
    files = [write_file(server.folder / "data/inbox/worked", frame) for frame in FRAMES]
    hashes = [sha256(file) for file in files]
    run = run_deployment("forecast/worked", timeout=600, poll_interval=0.5)
    assert run.state is not None and run.state.is_completed(), run.state
    assert run.name == "worked 20240601T123500Z"
    assert "published data/out/worked/20240601T123500Z: 12 lead times" in run.state.message

    folder = server.folder / "data/out/worked/20240601T123500Z"
    assert sorted(path.name for path in folder.iterdir()) == [
        "cog",
        "forecast.gif",
        "forecast.nc",
        "forecast.png",
        "forecast.zarr",
        "maps",
    ]
    with xr.open_dataset(folder / "forecast.nc", decode_timedelta=False) as result:
        assert result["rainfall_flux"].dims == ("lead_time", "y", "x")
        assert result["forecast_reference_time"].item() == np.datetime64("2024-06-01T12:35", "ns").astype(int)
        np.testing.assert_array_equal(result["lead_time"], np.arange(1, 13) * 300)
        assert result["time"].to_numpy()[-1] == np.datetime64("2024-06-01T13:35")
        np.testing.assert_array_equal(result["x"], 500.0 + 1000.0 * np.arange(96))
        np.testing.assert_array_equal(result["y"], -500.0 - 1000.0 * np.arange(96))
        crs = pyproj.CRS.from_wkt(result[result["rainfall_flux"].attrs["grid_mapping"]].attrs["crs_wkt"])
        assert crs.to_dict() == GRID_CRS.to_dict()
        # cells that move by (2, 1) pixels a frame are where that leads them
        lead = result["rainfall_flux"].to_numpy()[2]
        expected = np.roll(FRAMES[-1].rain_rate, (3, 6), axis=(0, 1))
        inside = np.s_[24:72, 24:72]
        assert np.corrcoef(lead[inside].ravel(), expected[inside].ravel())[0, 1] > 0.95
        said = result.attrs
        used = json.loads(said["input_frames"])
    assert [frame["sha256"] for frame in used] == hashes[-3:]
    assert (said["model_name"], said["model_version"]) == ("radar-nowcast", "1")
    live = LiveStore(server.folder / "data/store/worked", Rights("CC0-1.0"))
    state = live.open(said["live_store_snapshot"])
    np.testing.assert_array_equal(state["time"].to_numpy(), [frame.time for frame in FRAMES])

    with get_client(sync_client=True) as client:
        artifacts = {one.key: one for one in client.read_artifacts() if one.flow_run_id == run.id}
        logs = " ".join(all_lines(run.id))
        tasks = {
            task.name.rpartition("-")[0]
            for task in client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
        }
    shown = artifacts["forecast-worked"].data
    for what in (folder / "forecast.nc", folder / "forecast.png"):
        assert what.resolve().as_uri() in shown
    assert f"{server.mlflow}/#/models/radar-nowcast/versions/1" in shown
    assert f"{server.page}/worked/#worked" in shown
    login = server.login["MLFLOW_TRACKING_USERNAME"], server.login["MLFLOW_TRACKING_PASSWORD"]
    state = httpx.get(f"{server.page}/worked/worked/page/state.js", auth=login).text
    assert '"folder": "20240601T123500Z"' in state
    assert said["live_store_snapshot"] in shown and all(digest[:12] in shown for digest in hashes[-3:])
    (picture,) = re.findall(r"^!\[.*\]\(data:image/webp;base64,(.*)\)$", shown, re.MULTILINE)
    assert Image.open(BytesIO(base64.b64decode(picture))).width == 1000
    assert "extrapolation: radar-nowcast version 1" in logs and said["live_store_snapshot"] in logs
    assert tasks >= {"collect", "append", "forecast", "publish", "announce"}


def test_a_deployed_cycle_that_fails_says_so_in_one_line_and_no_traceback(server: Served) -> None:
    run = run_deployment("forecast/worked", parameters={"domain": "nowhere"}, timeout=600, poll_interval=0.5)
    assert run.state is not None and run.state.is_failed()
    assert run.state.message == "no forecast: params.yaml: domains: no 'nowhere' among worked"
    said = all_lines(run.id)
    assert "nowhere: no forecast: params.yaml: domains: no 'nowhere' among worked" in said
    assert not any("Traceback" in line for line in said)


def test_a_published_cycle_is_not_published_again(domain: Path) -> None:
    for frame in FRAMES[:4]:
        write_file(domain, frame)
    assert "published data/out/here/20240601T121500Z" in cycle().message
    before = Path("data/out/here/20240601T121500Z/forecast.nc").stat().st_mtime_ns
    state = cycle()
    assert state.is_completed() and "is published already" in state.message and "no file in it" in state.message
    assert Path("data/out/here/20240601T121500Z/forecast.nc").stat().st_mtime_ns == before
    # a frame that comes late makes no new cycle, a newer one does
    write_file(domain, FRAMES[5])
    said = cycle().message
    assert "published data/out/here/20240601T122500Z" in said
    assert "input of 2024-06-01T12:20:00 UTC: no frame of this time; in its place radar_20240601T121500.h5" in said
    write_file(domain, FRAMES[4])
    assert "is published already" in cycle().message
    with xr.open_dataset("data/out/here/20240601T122500Z/forecast.nc") as issued:
        assert "2024-06-01T12:20:00" in issued.attrs["missing_frames"], "a late frame changes no published cycle"
    assert stored() == [frame.time for frame in FRAMES[:6]]
    assert published() == ["20240601T121500Z", "20240601T122500Z"]
    # but for one that was removed, to be made again; then what shows it follows
    shutil.rmtree("data/out/here/20240601T122500Z")
    assert "published data/out/here/20240601T122500Z" in cycle().message
    assert json.loads(Path("data/out/here/latest.json").read_text())["forecast"]["missing_frames"] == []


def test_bad_files_are_told_of_in_the_state_and_good_frames_go_in(domain: Path) -> None:
    for frame in FRAMES[:4]:
        write_file(domain, frame)
    unfinished = write_file(domain, FRAMES[4])
    unfinished.write_bytes(unfinished.read_bytes()[:2000])
    write_file(domain, FRAMES[0], name="radar_again.h5")
    small = Grid(FRAMES[1].grid.crs, FRAMES[1].grid.x[:90], FRAMES[1].grid.y)
    write_file(domain, replace(FRAMES[5], rain_rate=FRAMES[5].rain_rate[:, :90], grid=small), name="small.h5")
    write_file(domain, replace(FRAMES[5], time=np.datetime64("2024-06-01T13:00:00")), name="future.h5")
    state = cycle()
    assert state.is_completed() and "\n" not in state.message
    assert state.message.startswith("published data/out/here/20240601T121500Z")
    for words in (
        f"{unfinished.name}: can't be read yet",
        "radar_again.h5: repeats the frame of 2024-06-01T12:00:00",
        "small.h5: not as the frames of the store: 96×90 pixels, not 96×96",
        "future.h5: from the future: its time is 2024-06-01T13:00:00, and now it is 2024-06-01T12:40:00 UTC",
    ):
        assert words in state.message
    assert stored() == [frame.time for frame in FRAMES[:4]]
    assert [path.name for path in domain.iterdir()] == [unfinished.name]
    run_id = state.state_details.flow_run_id
    APILogHandler().flush()
    with get_client(sync_client=True) as client:
        warnings = [log.message for log in client.read_logs(logs_of(run_id)) if log.level == 30]
    assert len(warnings) == 4 and all(warning.startswith("here: ") for warning in warnings)


def test_no_forecast_is_a_failure_in_one_line(domain: Path, tmp_path: Path) -> None:
    def failed(*words: str, now: datetime = NOW) -> None:
        state = cycle(now)
        assert state.is_failed() and "\n" not in state.message, state
        assert state.message.startswith("no forecast: ")
        assert all(word in state.message for word in words), state.message

    failed("nothing has been appended yet", "data/inbox/here: no file in it")
    write_file(domain, FRAMES[0])
    failed("1 frame(s), and two at least are needed", now=datetime(2024, 6, 1, 12, 30))
    for frame in FRAMES[1:3]:
        write_file(domain, frame)
    failed("the newest frame is of 2024-06-01T12:10:00 UTC, 31 minutes ago", now=datetime(2024, 6, 1, 12, 41))
    write_params(tmp_path, {"here": {"policy": {"max_age_minutes": 30, "fallback": []}, "model": "models:/a/7"}})
    failed("models:/a/7: no such model")
    write_params(tmp_path, {"there": {}})
    failed("params.yaml: domains: no 'here' among there")
    assert stored() == [frame.time for frame in FRAMES[:3]]
    assert published() == []


def test_runs_of_one_domain_do_not_overlap(domain: Path) -> None:
    write_file(domain, FRAMES[0])
    with exclusive(Path("data/out/here/.lock")):
        state = cycle()
    assert state.is_completed() and state.message == "another run for here is in progress"
    assert len(list(domain.iterdir())) == 1


def test_a_disk_that_fails_once_is_tried_again(domain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for frame in FRAMES[:3]:
        write_file(domain, frame)
    draw, failures = publish.draw_forecast, [OSError(errno.EIO, "Input/output error")]

    def fail_once(*arguments: object) -> None:
        if failures:
            raise failures.pop()
        draw(*arguments)

    monkeypatch.setattr(publish, "draw_forecast", fail_once)
    assert cycle().message.startswith("published")
    assert not failures and published() == ["20240601T121000Z"]


def test_what_nobody_has_foreseen_is_an_alarm_in_one_line_too(domain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for frame in FRAMES[:3]:
        write_file(domain, frame)

    def fail(*_: object) -> None:
        raise RuntimeError("NetCDF: HDF\nerror")

    with monkeypatch.context() as broken:
        broken.setattr(publish, "draw_forecast", fail)
        state = cycle()
    assert state.is_failed() and state.message == "no forecast: RuntimeError: NetCDF: HDF error"
    (on,) = read_latest(Path("data/out/here"))["alarms"]
    assert (on["kind"], on["message"]) == ("no-forecast", "RuntimeError: NetCDF: HDF error")
    assert cycle().message.startswith("published") and read_latest(Path("data/out/here"))["alarms"] == []


def test_a_store_that_is_locked_is_tried_again(domain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for frame in FRAMES[:3]:
        write_file(domain, frame)
    held = ExitStack()
    held.enter_context(exclusive(Path("data/store/.here.lock")))

    @contextmanager
    def impatient(path: Path) -> Iterator[None]:
        try:
            with exclusive(path, wait_s=0.1):
                yield
        except Unavailable:
            held.close()  # when the first try has found it locked
            raise

    monkeypatch.setattr(pipelines.operation.live_store, "exclusive", impatient)
    state = cycle()
    assert state.is_completed() and state.message.startswith("published")
    APILogHandler().flush()
    with get_client(sync_client=True) as client:
        logs = client.read_logs(logs_of(state.state_details.flow_run_id))
    retried = [log.message for log in logs if "another writer has held it" in log.message]
    assert "Retry 1/3" in retried[0]
