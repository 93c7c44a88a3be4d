"""Servers that go away in the middle of a cycle, and a database that is gone for a minute: forecasts go on after it."""

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from archive import moving_cells
from conftest import Served, processes_of, serving
from inbox_file import write_file
from postgresql import POSTGRES, serve_postgresql
from prefect import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import temporary_settings
from waiting import eventually

pytestmark = pytest.mark.full

START = datetime(2024, 6, 1, 12)
GONE_S = 60
PRODUCTS = ["cog", "forecast.gif", "forecast.nc", "forecast.png", "forecast.zarr", "maps"]
AWAY = (
    httpx.HTTPError,
    PrefectHTTPStatusError,
    RuntimeError,
)  # what Prefect's client says of a server that isn't there


class Hours:
    """Cycles of the domain ``worked``, one after the other, each of three frames of its own."""

    def __init__(self, served: Served) -> None:
        self.served, self.number = served, 0

    def send(self) -> None:
        """Let the frames of another cycle come."""
        first = START + self.number * timedelta(hours=1)
        self.number += 1
        for frame in moving_cells(first.isoformat(), 3, shape=(64, 64)):
            write_file(self.served.folder / "data/inbox/worked", frame)

    def ask(self) -> FlowRun | None:
        """Ask for a run; None where no server is there to be asked."""
        try:
            with get_client(sync_client=True) as client:
                return client.create_flow_run_from_deployment(client.read_deployment_by_name("forecast/worked").id)
        except AWAY:
            return None

    def is_in(self, run: FlowRun, *states: str) -> FlowRun | None:
        """Return a run if it is in one of some states by now, and the server says so."""
        try:
            with get_client(sync_client=True) as client:
                found = client.read_flow_run(run.id)
        except AWAY:
            return None
        return found if found.state_type in states else None

    def ended(self, run: FlowRun) -> FlowRun | None:
        return eventually(lambda: self.is_in(run, "COMPLETED", "FAILED", "CRASHED"), deadline_s=300)

    def processes(self, part: str) -> list[int]:
        """Processes of a part that is served."""
        found = []
        for number in processes_of(f"PREFECT_HOME={self.served.folder}/"):
            with suppress(psutil.Error):  # it has just ended
                found += [number] if part in psutil.Process(number).cmdline() else []
        return found

    def check(self) -> None:
        """Each cycle is published once, the newest whole, and nothing is left in the inbox."""
        folders = sorted((self.served.folder / "data/out/worked").glob("*Z"))
        hours = [START + number * timedelta(hours=1) + timedelta(minutes=10) for number in range(self.number)]
        assert [folder.name for folder in folders] == [f"{hour:%Y%m%dT%H%M%SZ}" for hour in hours]
        assert sorted(path.name for path in folders[-1].iterdir()) == PRODUCTS
        assert not list((self.served.folder / "data/inbox/worked").iterdir())


@pytest.fixture(scope="module")
def hours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hours]:
    with serving(tmp_path_factory.mktemp("outages")) as served, temporary_settings(served.settings):
        yield Hours(served)


PARTS = ["mlflow", "flows.server:create_app", "pipelines.operation.page.server:create_app", "flows.worker"]


@pytest.mark.parametrize("part", PARTS)
def test_a_cycle_goes_out_though_a_part_is_killed_in_the_middle(hours: Hours, part: str) -> None:
    hours.send()
    run = hours.ask()
    assert run is not None and eventually(lambda: hours.is_in(run, "RUNNING"))
    (killed,) = hours.processes(part)
    psutil.Process(killed).kill()
    done = hours.ended(run)
    if done is None or not done.state.is_completed():  # the next run of the schedule does it
        done = hours.ended(eventually(hours.ask))
    assert done is not None and done.state.is_completed(), done
    hours.check()
    assert eventually(lambda: set(hours.processes(part)) - {killed}), "it is started again"


@pytest.mark.skipif(not POSTGRES, reason="no PostgreSQL: apt-get install postgresql")
def test_postgresql_is_gone_for_a_minute_and_forecasts_go_on(tmp_path: Path) -> None:
    with serve_postgresql() as cluster:
        databases = {
            "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg2://{cluster.address}/mlflow",
            "PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{cluster.address}/prefect",
        }
        with serving(tmp_path, **databases) as served, temporary_settings(served.settings):
            hours = Hours(served)
            for gone in (False, True):
                if gone:
                    cluster.stop()
                    time.sleep(GONE_S)
                    cluster.start()
                hours.send()
                done = hours.ended(eventually(hours.ask))
                assert done is not None and done.state.is_completed(), done
                assert "fallback" not in done.state.message
                hours.check()
