"""Simulated time of a soak: for what goes by the wall clock in the flow ``archive``, and in Prefect."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from serving import PORTS

from flows.services import HOST, Services
from pipelines.common.login import read_login

DAYS = 1  # that the live store's states and raw files are kept, by the wall clock
PREFECT_DAYS = 2  # that Prefect keeps runs and events


def utc(time: np.datetime64) -> datetime:
    """Return a time as a flow is given it."""
    moment: datetime = time.astype("datetime64[s]").astype(datetime)
    return moment.replace(tzinfo=UTC)


class Clock(datetime):
    """The wall clock of ``archive``: ``DAYS`` before its now is when the hour of ``DAYS`` simulated days ago began."""

    began: ClassVar[list[float]] = []  # of each simulated hour

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        """Return that time."""
        then = cls.began[-24 * DAYS - 1] if len(cls.began) > 24 * DAYS else cls.began[0] - 60
        return datetime.fromtimestamp(then, tz) + timedelta(days=DAYS)

    @classmethod
    def begin_hour(cls) -> None:
        """Note that an hour begins."""
        cls.began.append(time.time())


@contextmanager
def prefect_server(folder: Path) -> Iterator[Path]:
    """Run Prefect's server as ``make serve`` does; yield its database, and let flows of this process talk to it."""
    home = folder / "data/prefect"
    home.mkdir(parents=True)
    api = f"http://{HOST}:{PORTS[0]}/api"
    login = read_login(folder)
    os.environ |= {
        **login,
        "PREFECT_SERVER_API_AUTH_STRING": login["PREFECT_API_AUTH_STRING"],
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "false",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # what became of each run is in runs.txt
    }
    retention = {
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(PREFECT_DAYS * 86400),
        "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "20",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ORPHAN_CLEANUP_LOOP_SECONDS": "60",
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"P{PREFECT_DAYS}D",
    }
    services = Services(home, os.environ | retention)
    name, app = "prefect-server", ("--factory", "flows.server:create_app", "--log-level", "warning")
    try:
        services.start(name, "uvicorn", *app, "--host", HOST, "--port", str(PORTS[0]))
        services.wait_for(name, f"{api}/health")
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

        # A flow's end waits for its heartbeats' thread, which sleeps a second at a time.
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield home / "prefect.db"
    finally:
        services.stop(name)


def make_older(database: Path, days: int = 1) -> None:
    """Make all that Prefect knows of runs older by so many days."""
    columns = {"flow_run": ("start_time", "end_time"), "log": ("timestamp",)}
    columns |= dict.fromkeys(("events", "event_resources"), ("occurred",))
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        for table, times in columns.items():
            shifted = ", ".join(f"{one} = strftime('%Y-%m-%d %H:%M:%f000', {one}, '-{days} day')" for one in times)
            connection.execute(f"UPDATE {table} SET {shifted}")
