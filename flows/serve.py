"""Prefect's server and workers, the deployments, and MLflow's server, all on 127.0.0.1: ``python -m flows.serve``.

Ctrl-C or SIGTERM stops them, the worker before the servers that it talks to.
"""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import POOL, TRAINING_POOL
from flows.services import HOST, Services, check_port
from flows.training_deployments import training_deployments
from pipelines.common.errors import UserError
from pipelines.common.provenance import main_checkout
from pipelines.common.stage import run

MLFLOW, SERVER, WORKER, TRAINER = "mlflow", "prefect-server", "prefect-worker", "prefect-trainer"


def serve(
    prefect_port: Annotated[int, typer.Option(envvar="PREFECT_PORT")] = 4200,
    mlflow_port: Annotated[int, typer.Option(envvar="MLFLOW_PORT")] = 5000,
) -> None:
    """Serve until Ctrl-C. Where MLFLOW_TRACKING_URI names a store already, no MLflow server is started."""
    checkout = main_checkout()
    store = checkout / "mlflow"
    api = f"http://{HOST}:{prefect_port}/api"
    environment = {
        "PREFECT_HOME": str(checkout / "data/prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven processes for what nobody here asks for
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{mlflow_port}",
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{store / 'mlflow.db'}",
        "MLFLOW_ARTIFACTS_DESTINATION": str(store / "artifacts"),
        **os.environ,  # which may name PostgreSQL and S3 for both; see docs/operations.md
        "PREFECT_API_URL": api,
    }
    own_mlflow = "MLFLOW_TRACKING_URI" not in os.environ
    logs = Path(environment["PREFECT_HOME"])
    logs.mkdir(parents=True, exist_ok=True)
    check_port(prefect_port, "--prefect-port")
    services = Services(logs, environment)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: services.stopping.set())
    try:
        if own_mlflow:
            check_port(mlflow_port, "--mlflow-port")
            store.mkdir(exist_ok=True)
            services.start(MLFLOW, "mlflow", "server", "--host", HOST, "--port", str(mlflow_port), "--workers", "1")
        services.start(SERVER, "prefect", "server", "start", "--host", HOST, "--port", str(prefect_port))
        services.wait_for(SERVER, f"{api}/health")
        if own_mlflow:
            services.wait_for(MLFLOW, f"{environment['MLFLOW_TRACKING_URI']}/health")
        if not services.stopping.is_set():
            tell_of_interrupted_runs(api)
            if subprocess.run([sys.executable, "-m", "flows.deploy"], env=environment, check=False).returncode:
                raise UserError("without deployments there is nothing to serve")
            services.start(WORKER, "prefect", "worker", "start", "--pool", POOL, shown=True)
            if training_deployments():
                services.start(TRAINER, "prefect", "worker", "start", "--pool", TRAINING_POOL, "--limit", "1")
            print(f"Prefect: http://{HOST}:{prefect_port}  MLflow: {environment['MLFLOW_TRACKING_URI']}", flush=True)
        while not services.stopping.wait(0.5):
            services.check()
    finally:
        services.stop(TRAINER)
        if services.stop(WORKER):
            with suppress(OSError):  # where the server has ended before us
                tell_of_interrupted_runs(api)
        services.stop(SERVER)
        services.stop(MLFLOW)


def tell_of_interrupted_runs(api: str) -> None:
    """Set flow runs that are said to be running to Crashed, while no worker is there: what ran them is gone.

    The next cycle, or the next training, does what they have not done.
    """
    unfinished = {
        "flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING"]}}},
        "work_pools": {"name": {"any_": [POOL, TRAINING_POOL]}},
    }
    for flow_run in _post(f"{api}/flow_runs/filter", unfinished):
        state = {"type": "CRASHED", "name": "Crashed", "message": "its worker was stopped"}
        _post(f"{api}/flow_runs/{flow_run['id']}/set_state", {"state": state, "force": True})


def _post(url: str, content: Any) -> Any:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(content).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


if __name__ == "__main__":
    run(serve)
