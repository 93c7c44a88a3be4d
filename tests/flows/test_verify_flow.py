"""Verification on a real Prefect and MLflow: ledger, curves and alarms of what the flow `forecast` issued."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from archive import moving_cells
from conftest import Served, write_params
from geojson import box, feature, written
from inbox_file import write_file
from issued_files import write_issued
from ledger_rows import GOOD, POOR, cycle, said_and_came
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect import get_client
from prefect.client.schemas.objects import State
from prefect.client.schemas.sorting import ArtifactSort
from small_model import NETWORK, write_model
from waiting import eventually

from flows.alarms import AUTOMATION, deploy_automation
from flows.forecast import forecast
from flows.verify import verify
from pipelines.common.files import exclusive
from pipelines.common.rights import Rights
from pipelines.nowcast.methods.fields import mean
from pipelines.nowcast.specification import RADAR
from pipelines.operation.ledger import MEMBERS, PROBABILITIES, append, read_ledger
from pipelines.operation.live_store import LiveStore
from pipelines.operation.products.latest import read_latest
from pipelines.operation.products.published import read_probabilities, read_published
from pipelines.operation.reliability import BLOCKS
from pipelines.operation.skill import CYCLES, headlines

FRAMES = moving_cells("2024-06-01T12:00:00", 10, shape=(96, 96))
OUT = Path("data/out/there")


@pytest.fixture
def inbox(server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one domain, ``there``, of forecasts of 20 minutes; gives its inbox. No skill is in MLflow yet."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.mlflow)
    for run in skill_runs(server):
        MlflowClient(server.mlflow).delete_run(run.info.run_id)
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, {"there": {"minutes": 20, "silent_minutes": 60}})
    (tmp_path / "data" / "inbox" / "there").mkdir(parents=True)
    return tmp_path / "data" / "inbox" / "there"


def at(hour: int, minute: int) -> datetime:
    return datetime(2024, 6, 1, hour, minute, tzinfo=UTC)


def issue(inbox: Path, *numbers: int) -> None:
    """A cycle with those frames that have come."""
    for number in numbers:
        write_file(inbox, FRAMES[number])
    state = forecast("there", at(12, 5 * numbers[-1] + 1), return_state=True)
    assert state.message.startswith("published"), state


def observe(*numbers: int) -> None:
    """Frames come, and no forecast is made of them."""
    LiveStore(Path("data/store/there"), Rights("CC0-1.0")).append([FRAMES[number] for number in numbers])


def verified(now: datetime) -> State:
    return verify("there", now, return_state=True)


def events(name: str, wanted: int) -> list[dict[str, Any]]:
    """Events of Prefect by their name's start; the server has them a moment after they happened."""
    asked = {"filter": {"event": {"prefix": [name]}, "order": "ASC"}, "limit": 50}
    found: list[dict[str, Any]] = []
    with get_client(sync_client=True) as client:

        def enough() -> bool:
            found[:] = client.request("POST", "/events/filter", json=asked).json()["events"]
            return len(found) >= wanted

        eventually(enough)
    return found


def skill_runs(server: Served, **tags: str) -> list[Run]:
    client = MlflowClient(server.mlflow)
    experiment = client.get_experiment_by_name("radar-nowcast-verification")
    if experiment is None:
        return []
    of_tags = " and ".join(f"tags.{name} = '{value}'" for name, value in tags.items())
    return list(client.search_runs([experiment.experiment_id], of_tags))


def run_of(server: Served) -> Run:
    """The run that has the skill of version 1."""
    (run,) = skill_runs(server, domain="there", model_version="1")
    return run


def logged(server: Served) -> list[pd.Timestamp]:
    """Reference times of the points of its curves."""
    points = MlflowClient(server.mlflow).get_metric_history(run_of(server).info.run_id, "cycles")
    return [pd.Timestamp(point.timestamp, unit="ms") for point in points]


def test_issued_forecasts_are_verified_as_frames_come_in(inbox: Path, server: Served) -> None:
    issue(inbox, 0, 1, 2)
    state = verified(at(12, 11))
    assert state.is_completed() and state.message == "0 cycle(s) verified, 1 open"
    issue(inbox, 3)
    observe(4, 5, 6)
    assert verified(at(12, 31)).message == "1 cycle(s) verified, 1 open"
    observe(7)
    assert verified(at(12, 36)).message == "1 cycle(s) verified, 0 open"
    state = verified(at(12, 37))
    assert state.is_completed() and state.message == "0 cycle(s) verified, 0 open"

    ledger = read_ledger(OUT)
    cycles = list(ledger["reference_time"].unique())
    assert cycles == [np.datetime64("2024-06-01T12:10"), np.datetime64("2024-06-01T12:15")]
    assert set(ledger["minutes"]) == {5, 10, 15, 20} and not ledger["fallback"].any()
    # The champion is extrapolation: verification makes the very same again.
    of = {name: rows.drop(columns="forecaster").reset_index(drop=True) for name, rows in ledger.groupby("forecaster")}
    pd.testing.assert_frame_equal(of["issued"], of["extrapolation"])

    assert logged(server) == cycles
    run, client = run_of(server), MlflowClient(server.mlflow)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "there radar-nowcast version 1")
    points = client.get_metric_history(run.info.run_id, "issued_csi")
    model = ("radar-nowcast", "1", "extrapolation")
    first = ledger[ledger["reference_time"] == cycles[0]]
    assert [point.value for point in points] == [
        pytest.approx(headlines(one, model)["issued_csi"]) for one in (first, ledger)
    ]
    assert run.data.metrics["cycles"] == 2 and 0 < run.data.metrics["persistence_csi"] < 1


def test_a_probabilistic_network_from_the_registry_to_its_skill(inbox: Path, server: Served) -> None:
    rates, climatology = [0.105, 1.005, 5.005], [0.3, 0.2, 0.1]
    said = {"method": "network", "inputs": 4, "name": "small", "network": NETWORK, "rates": rates, "field": "mean"}
    folder = write_model(inbox.parents[2] / "small", said | {"climatology": climatology})
    uri = f"models:/radar-nowcast/{RADAR.ensure_version('small', folder, {}).number}"
    areas = written(inbox.parents[2] / "areas.geojson", feature("bay", box(10.7, 54.3, 11.2, 54.6)))
    asked = {"members": {"count": 3}, "areas": str(areas)}
    write_params(inbox.parents[2], {"there": {"minutes": 20, "model": uri} | asked})
    issue(inbox, 0, 1, 2, 3)
    observe(4, 5, 6, 7)
    assert verified(at(12, 36)).message == "1 cycle(s) verified, 0 open"

    published = read_published(OUT / "20240601T121500Z")
    assert (published.attributes.fallback, published.rates) == (None, rates)
    frames = LiveStore(Path("data/store/there"), Rights("CC0-1.0")).open()["rainfall_flux"][:4].to_numpy()
    field = mlflow.pyfunc.load_model(uri).predict(frames, {"leads": 4})
    np.testing.assert_allclose(published.rain_rate, field, atol=1e-4)
    given = [one for one in read_probabilities(published.folder) if one.of == "rainfall_flux"]
    exceedance = np.stack([of_lead.exceedance for of_lead in given])
    np.testing.assert_allclose(mean(exceedance, rates), field, atol=0.002 * 6)
    with get_client(sync_client=True) as client:
        newest_first = client.read_artifacts(sort=ArtifactSort.CREATED_DESC)  # in no order unless asked
    shown = next(artifact.data for artifact in newest_first if artifact.key == "forecast-there")
    assert "- probabilities: of at least 0.105, 1.005, 5.005 mm/h" in shown
    ledger = read_ledger(OUT, kind=PROBABILITIES)
    assert ledger.groupby("forecaster").size().to_dict() == dict.fromkeys(
        ("issued", "extrapolation", "persistence", "climatology"), 4 * 3
    )
    (run,) = skill_runs(server, domain="there", model_version=uri.rpartition("/")[2])
    assert 0 < run.data.metrics["issued_crps"] < run.data.metrics["climatology_crps"]
    of_area = read_ledger(OUT, kind=MEMBERS)
    assert set(of_area["quantity"]) == {"region_rainfall_flux"} and len(of_area) == 4 * 3 * 3
    assert 0 < run.data.metrics["issued_crps_region_rainfall_flux"] < 5


def test_silence_is_an_alarm_once_and_stays_on_until_a_forecast(inbox: Path) -> None:
    deploy_automation()
    deploy_automation()
    with get_client(sync_client=True) as client:
        (automation,) = client.read_automations_by_name(AUTOMATION)
    words = "data/out/there: no forecast has been published yet"
    for _ in range(2):
        state = verified(at(12, 11))
        assert state.is_failed() and state.message == f"{words}; 0 cycle(s) verified, 0 open"
    (alarm,) = read_latest(OUT)["alarms"]
    assert (alarm["kind"], alarm["message"]) == ("no-forecast", words)
    issue(inbox, 0, 1, 2)
    assert verified(at(13, 10)).is_completed()
    state = verified(at(13, 11))
    silence = "data/out/there: the newest forecast is of 2024-06-01T12:10:00 UTC, 61 minutes ago, and 60 are allowed"
    assert state.is_failed() and state.message.startswith(silence) and "\n" not in state.message
    assert silence in [one["message"] for one in read_latest(OUT)["alarms"]]

    ours = [one for one in events("scs.alarm.no-forecast", 1) if one["resource"]["prefect.resource.name"] == "there"]
    assert ours[0]["payload"] == {"kind": "no-forecast", "domain": "there", "message": words}
    assert ours[0]["resource"]["prefect.resource.id"] == "scs.domain.there"
    assert any(one["prefect.resource.role"] == "flow-run" for one in ours[0]["related"])
    assert words not in [one["payload"]["message"] for one in ours[1:]]
    triggered = events("prefect.automation.triggered", 1)
    assert triggered[0]["resource"]["prefect.resource.id"] == f"prefect.automation.{automation.id}"


def test_skill_below_extrapolation_is_an_alarm_until_it_isnt(inbox: Path) -> None:
    start = np.datetime64("2024-06-01T00:00:00")
    for number in range(CYCLES):
        append(OUT, start + np.timedelta64(number, "h"), cycle(number, POOR))
    words = (
        "radar-nowcast version 3 (scs): mean CSI 0.3333 over 6 cycles, below extrapolation's 0.3750 in the last 7 days"
    )
    write_params(inbox.parents[2], {"there": {}})
    for _ in range(2):
        state = verified(at(12, 0))
        assert state.is_failed() and state.message == f"{words}; 0 cycle(s) verified, 0 open"
    (alarm,) = read_latest(OUT)["alarms"]
    assert (alarm["kind"], alarm["message"]) == ("skill-below-extrapolation", words)
    for number in range(CYCLES, 4 * CYCLES):
        append(OUT, start + np.timedelta64(number, "h"), cycle(number, GOOD))
    assert verified(at(12, 0)).is_completed()
    assert read_latest(OUT)["alarms"] == []
    told = [one for one in events("scs.alarm.skill", 1) if one["payload"]["message"] == words]
    assert len(told) == 1


def test_reliability_that_drifts_is_an_alarm_until_it_doesnt(inbox: Path) -> None:
    start = np.datetime64("2024-06-01T00:00:00")

    def issued(numbers: range, came: float) -> None:
        for number in numbers:
            of = {PROBABILITIES: said_and_came(6 * number, {0.1: came})}
            append(OUT, start + np.timedelta64(6 * number, "h"), cycle(6 * number, GOOD), of)

    write_params(inbox.parents[2], {"there": {}})
    issued(range(BLOCKS), 0.3)
    state = verified(at(12, 0))
    words = "where rainfall_flux of at least 2 mm/h was unlikely, 10.00% was said and 30.00% came"
    assert state.is_failed() and words in state.message and "in the last 7 days; 0 cycle(s)" in state.message
    (alarm,) = read_latest(OUT)["alarms"]
    assert alarm["kind"] == "reliability-drift" and words in alarm["message"]
    assert events("scs.alarm.reliability-drift", 1)
    issued(range(BLOCKS, 3 * BLOCKS), 0.1)
    assert verified(at(12, 0)).is_completed() and read_latest(OUT)["alarms"] == []


def test_a_server_that_is_down_keeps_no_cycle_open_and_is_told_later(
    inbox: Path, server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue(inbox, 3, 4, 5)
    observe(6, 7, 8, 9)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    state = verified(at(12, 46))
    assert state.is_completed() and "\n" not in state.message
    assert state.message.startswith("1 cycle(s) verified, 0 open; skill isn't in MLflow yet: MLflow store http://127")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.mlflow)
    assert not skill_runs(server)
    assert verified(at(12, 47)).message == "0 cycle(s) verified, 0 open"
    assert logged(server)[-1] == FRAMES[5].time


def test_what_is_wrong_is_a_failure_in_one_line_and_two_runs_are_one(inbox: Path) -> None:
    state = verify("nowhere", return_state=True)
    assert state.is_failed() and state.message == "not verified: params.yaml: domains: no 'nowhere' among there"
    observe(0, 1, 2)
    write_issued(OUT, FRAMES[:3], FRAMES[2].rain_rate[None])
    with exclusive(OUT / "ledger" / ".lock"):
        assert verified(at(12, 30)).message == "another run for there is in progress"
    netcdf = OUT / "20240601T121000Z" / "forecast.nc"
    netcdf.write_bytes(netcdf.read_bytes()[:3000])
    state = verified(at(12, 30))
    assert state.is_failed() and state.message.startswith("data/out/there/20240601T121000Z/forecast.nc: can't be read:")
    assert state.message.endswith("0 cycle(s) verified, 1 open") and "\n" not in state.message


def test_silence_is_told_whatever_else_is_broken(inbox: Path) -> None:
    observe(0, 1, 2)
    append(OUT, FRAMES[0].time, cycle(0, GOOD))
    (ledger,) = (OUT / "ledger").rglob("*.parquet")
    ledger.write_bytes(ledger.read_bytes()[:1000])
    state = verified(at(13, 30))
    silence = "data/out/there: no forecast has been published yet"
    assert state.is_failed() and "\n" not in state.message
    assert state.message.startswith(f"{silence}; ") and ledger.name in state.message
    assert [one["message"] for one in read_latest(OUT)["alarms"]] == [silence]
    (OUT / ".latest.json.lock").unlink()
    (OUT / ".latest.json.lock").mkdir()  # it can be written no more, as on a full disk
    state = verified(at(13, 31))
    assert state.is_failed() and "\n" not in state.message
    assert state.message.startswith(f"{silence}; ") and "the alarms aren't in latest.json: " in state.message
    (OUT / "ledger" / ".lock").unlink()
    (OUT / "ledger" / ".lock").mkdir()
    state = verified(at(13, 32))
    assert state.is_failed() and state.message.startswith("not verified: ")
    assert state.message.endswith("/data/out/there/ledger/.lock: Is a directory")
