"""The flow `archive` on a real Prefect: what it did is in its state, and what it couldn't do is a failure."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from archive import moving_cells
from conftest import Served, write_params
from domains import domain_in
from prefect.client.schemas.objects import State

import flows.archive as of_archive
from flows.archive import archive
from pipelines.common.files import exclusive
from pipelines.operation.archive import day_file, how_it_differs
from pipelines.operation.ledger import ledger_file
from pipelines.operation.live_store import LiveStore

FRAMES = [frame for day in (1, 2, 3) for frame in moving_cells(f"2024-06-0{day}T12:00:00", 2, shape=(32, 32))]
DOMAIN = domain_in(Path("data"), store=Path("data/store/here"), archive=Path("archive/here"))
LIVE = LiveStore.of(DOMAIN)


@pytest.fixture
def here(server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    write_params(tmp_path, {"here": {"keep_days": 1}})
    return tmp_path


def archived(hour: int = 6) -> State:
    return archive("here", datetime(2024, 6, 4, hour, tzinfo=UTC), return_state=True)


def test_finished_days_are_archived_and_old_ones_expire(here: Path) -> None:
    state = archived()
    assert state.is_failed()
    assert state.message == "not archived: data/store/here: no live store: nothing has been appended yet"
    LIVE.append(FRAMES)
    before = LIVE.open().load()
    state = archived(5)  # 3 June isn't finished yet
    assert state.is_completed()
    assert state.message == "4 new frame(s) in archive/here (not under DVC), 2 expired from the live store"
    assert archived().message.startswith("2 new frame(s) in archive/here")
    assert archived().message.startswith("0 new frame(s) in archive/here (not under DVC), 0 expired")
    assert list(LIVE.open()["time"].to_numpy()) == [frame.time for frame in FRAMES[2:]]
    for number in (1, 2, 3):
        path = day_file(DOMAIN, np.datetime64(f"2024-06-0{number}"))
        assert how_it_differs(path, before.isel(time=slice(2 * number - 2, 2 * number))) is None
    with exclusive(Path("data/out/here/.archive.lock")):
        assert archived().message == "another run for here is in progress"
    write_params(here, {"here": {"archive": None}})
    assert archived().message == "params.yaml: domains.here.archive is null: the live store keeps all"


def test_what_is_to_go_by_its_age_goes_without_an_archive_too(here: Path) -> None:
    write_params(here, {"here": {"archive": None, "keep_forecast_days": 1}})
    for day in (1, 2, 3):
        (here / f"data/out/here/2024060{day}T120000Z").mkdir(parents=True)
    path = ledger_file(Path("data/out/here"), np.datetime64("2024-06-01T12:00:00"))
    path.parent.mkdir(parents=True)
    path.write_text("rows")
    assert archived().message == "the live store keeps all; removed: 1 forecast(s)"
    assert sorted(path.name for path in Path("data/out/here").glob("*Z")) == ["20240602T120000Z", "20240603T120000Z"]


def test_what_cant_be_removed_is_said_beside_what_was_archived(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_archive, "remove", of_archive.remove.with_options(retries=0))
    write_params(here, {"here": {"keep_days": 1, "keep_forecast_days": 1}})
    LIVE.append(FRAMES)
    (here / "data/out/here").mkdir(parents=True)
    (here / "data/out/here/.20240601T120000Z.removed").touch()  # no folder
    state = archived()
    assert state.is_failed()
    assert state.message.startswith("not all is removed that is to go: [Errno 20] Not a directory: ")
    assert state.message.endswith("; 6 new frame(s) in archive/here (not under DVC), 2 expired from the live store")


def test_a_file_that_is_broken_keeps_its_day_and_no_other(here: Path) -> None:
    LIVE.append(FRAMES)
    path = day_file(DOMAIN, np.datetime64("2024-06-01"))
    path.parent.mkdir(parents=True)
    path.write_text("nothing")
    state = archived()
    assert state.is_failed() and "\n" not in state.message
    assert state.message.startswith(f"{path}: can't be read, so nothing is added: ")
    assert state.message.endswith("4 new frame(s) in archive/here (not under DVC), 0 expired from the live store")
    assert path.read_text() == "nothing" and LIVE.open().sizes["time"] == 6
