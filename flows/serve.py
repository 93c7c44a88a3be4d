"""Prefect's server and workers, the deployments, MLflow's server and the page of forecasts: ``python -m flows.serve``.

All on 127.0.0.1. Ctrl-C or SIGTERM stops them, the worker before the servers that it talks to. What ends by itself is
started again, and what a ``serve`` that was killed has left is taken over by the next. The login of the servers is
handed on by the environment; see :mod:`pipelines.common.login`.
"""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Annotated

import httpx
import typer
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

from flows import POOL, TRAINING_POOL
from flows.alarms import service_alarm
from flows.interrupted_runs import set_to_crashed
from flows.services import HOST, Services, check_port, port_number
from pipelines.common.errors import Unavailable, UserError
from pipelines.common.files import exclusive
from pipelines.common.login import FILE, USER, read_login
from pipelines.common.provenance import main_checkout
from pipelines.common.stage import run
from pipelines.common.text import printable

MLFLOW, SERVER, PAGE, WORKER, TRAINER = "mlflow", "prefect-server", "page", "prefect-worker", "prefect-trainer"
POOLS = {WORKER: POOL, TRAINER: TRAINING_POOL}


def serve(
    prefect_port: Annotated[str, typer.Option(envvar="PREFECT_PORT", metavar="PORT")] = "4200",
    mlflow_port: Annotated[str, typer.Option(envvar="MLFLOW_PORT", metavar="PORT")] = "5000",
    page_port: Annotated[str, typer.Option(envvar="PAGE_PORT", metavar="PORT")] = "4300",
) -> None:
    """Serve until Ctrl-C. Where MLFLOW_TRACKING_URI names a store already, no MLflow server is started."""
    of_prefect = port_number(prefect_port, "--prefect-port", "PREFECT_PORT")
    of_mlflow = port_number(mlflow_port, "--mlflow-port", "MLFLOW_PORT")
    of_page = port_number(page_port, "--page-port", "PAGE_PORT")
    own_mlflow = "MLFLOW_TRACKING_URI" not in os.environ
    ports = {"PREFECT_PORT": of_prefect, "PAGE_PORT": of_page} | ({"MLFLOW_PORT": of_mlflow} if own_mlflow else {})
    for one, other in combinations(ports, 2):
        if ports[one] == ports[other]:
            raise UserError(f"{one} and {other} are both {ports[one]}: each server wants a port of its own")
    checkout = main_checkout()
    store = checkout / "mlflow"
    api = f"http://{HOST}:{of_prefect}/api"
    environment = {
        "PREFECT_HOME": str(checkout / "data/prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven processes for what nobody here asks for
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{of_mlflow}",
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{store / 'mlflow.db'}",
        "MLFLOW_ARTIFACTS_DESTINATION": str(store / "artifacts"),
        "SCS_PAGE_URL": f"http://{HOST}:{of_page}",
        **read_login(checkout),
        **os.environ,  # which may name PostgreSQL and S3 for both; see docs/operations.md
        "PREFECT_API_URL": api,
    }
    login = environment["PREFECT_API_AUTH_STRING"]
    environment["PREFECT_SERVER_API_AUTH_STRING"] = login
    logs = Path(environment["PREFECT_HOME"])
    logs.mkdir(0o700, parents=True, exist_ok=True)
    # Of this machine and folder: runs that another has taken are its own.
    name = re.sub("[/%]", ".", f"{socket.gethostname()}:{checkout}")
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(logs / ".serve.lock", wait_s=0))
        except Unavailable:
            raise UserError(f"{logs}: another `python -m flows.serve` is at work here") from None
        services = Services(logs, environment)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: services.stopping.set())
        if left := services.take_over():
            print(f"ended {left} processes of a `python -m flows.serve` that was killed", flush=True)
        held.callback(services.end_flow_runs)
        check_port(of_prefect, "--prefect-port or PREFECT_PORT")
        check_port(of_page, "--page-port or PAGE_PORT")
        client = held.enter_context(SyncPrefectClient(api, auth_string=login))
        try:
            if own_mlflow:
                check_port(of_mlflow, "--mlflow-port or MLFLOW_PORT")
                store.mkdir(exist_ok=True)
                services.start(MLFLOW, "mlflow", "server", "--app-name", "scs", "--workers", "1", *at(of_mlflow))
            app = ("--factory", "flows.server:create_app", "--log-level", "warning")
            services.start(SERVER, "uvicorn", *app, *at(of_prefect))
            app = ("--factory", "pipelines.operation.page.server:create_app", "--log-level", "warning")
            services.start(PAGE, "uvicorn", *app, *at(of_page))
            services.wait_for(SERVER, f"{api}/health")
            services.wait_for(PAGE, f"http://{HOST}:{of_page}/health")
            if own_mlflow:
                services.wait_for(MLFLOW, f"{environment['MLFLOW_TRACKING_URI']}/health")
            if not services.stopping.is_set():
                start_workers(services, client, name)
                mlflow = printable(environment["MLFLOW_TRACKING_URI"])
                page = printable(environment["SCS_PAGE_URL"])
                print(f"Prefect: http://{HOST}:{of_prefect}  MLflow: {mlflow}  Page: {page}", flush=True)
                print(f"User {USER}, password: see {checkout / FILE}; in a shell: . {FILE}", flush=True)
            untold = dict[str, tuple[datetime, str]]()
            while not services.stopping.wait(0.5):
                news = services.restart_ended()
                for line in news.values():
                    print(line, flush=True)
                untold |= {part: (datetime.now(UTC), line) for part, line in news.items()}
                with suppress(httpx.HTTPError):  # the server may be what has ended: another time
                    tell(client, untold, name)
        finally:
            services.stop(TRAINER)
            if services.stop(WORKER):
                services.end_flow_runs()
                with suppress(httpx.HTTPError):  # where the server has ended before us
                    set_to_crashed(client, POOLS.values(), name)
            services.stop(PAGE)
            services.stop(SERVER)
            services.stop(MLFLOW)


def start_workers(services: Services, client: SyncPrefectClient, name: str) -> None:
    """Register the deployments, and start the workers; raises UserError if there is nothing to register."""
    set_to_crashed(client, POOLS.values(), name)
    if subprocess.run([sys.executable, "-m", "flows.deploy"], env=services.environment, check=False).returncode:
        raise UserError("without deployments there is nothing to serve")
    services.start(WORKER, "flows.worker", "--name", name, shown=True)
    if client.read_deployments(work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[TRAINING_POOL]))):
        one = ("--pool", TRAINING_POOL, "--limit", "1", "--name", name)
        services.start(TRAINER, "prefect", "worker", "start", *one)


def tell(client: SyncPrefectClient, untold: dict[str, tuple[datetime, str]], worker: str) -> None:
    """Raise an alarm for each part that has ended, and see to the runs of workers; take away what is told."""
    for part, (ended, line) in list(untold.items()):
        if part in POOLS:
            set_to_crashed(client, [POOLS[part]], worker, ended)
        service_alarm(client, part, line)
        del untold[part]


def at(port: int) -> tuple[str, ...]:
    """Return a server's options that say where it listens."""
    return "--host", HOST, "--port", str(port)


if __name__ == "__main__":
    run(serve)
