"""What benchmarks of the operation share: a folder with domains and the first champion, and ``make serve`` of it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from ruamel.yaml import YAML

from pipelines.common.login import read_login

ROOT = Path(__file__).resolve().parents[1]
PORTS = 4397, 5397, 4398  # of Prefect, MLflow and the page
PATIENCE_S = 180.0
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def write_params(folder: Path, domains: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the repository's params.yaml with other domains, each as the first there but for folders and changes."""
    yaml = YAML(typ="safe")
    params = yaml.load(ROOT / "params.yaml")
    of = next(iter(params["domains"].values()))
    params["domains"] = {
        name: of
        | {key: f"data/{key}/{name}" for key in ("inbox", "store", "out")}
        | {"archive": f"archive/{name}"}
        | changes
        | {"policy": of["policy"] | changes.get("policy", {})}
        for name, changes in domains.items()
    }
    (folder / "dvc.yaml").touch()
    with (folder / "params.yaml").open("w", encoding="utf-8") as stream:
        yaml.dump(params, stream)


def register(folder: Path) -> None:
    """Make extrapolation the champion of the store in a folder, as ``dvc repro`` does at first."""
    from pipelines.nowcast.register import write_extrapolation
    from pipelines.nowcast.specification import RADAR

    (folder / "mlflow").mkdir(exist_ok=True)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow/mlflow.db"
    write_extrapolation(folder / "model")
    RADAR.set_alias("champion", RADAR.ensure_version("extrapolation", folder / "model", {}), "the first")
    del os.environ["MLFLOW_TRACKING_URI"]


@contextmanager
def serving(folder: Path) -> Iterator[httpx.Client]:
    """Serve the present folder, ``folder``, while the block runs; yield a client of Prefect's API.

    Nothing is forecast or verified by the clock, which isn't the one of simulated frames.
    """
    login = read_login(folder)
    ours = os.environ | {"PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "false", "PREFECT_WORKER_QUERY_SECONDS": "2"}
    names_of_ports = "--prefect-port", "--mlflow-port", "--page-port"
    options = (word for name, port in zip(names_of_ports, PORTS, strict=True) for word in (name, str(port)))
    command = [sys.executable, "-m", "flows.serve", *options]
    with subprocess.Popen(command, env=ours, stdout=subprocess.PIPE, text=True) as serve:
        assert serve.stdout is not None
        try:
            while not serve.stdout.readline().startswith("Prefect: "):
                assert serve.poll() is None, "flows.serve has ended"
            threading.Thread(target=serve.stdout.read, daemon=True).start()
            user, password = login["PREFECT_API_AUTH_STRING"].split(":")
            with httpx.Client(base_url=f"http://127.0.0.1:{PORTS[0]}/api", auth=(user, password), timeout=60) as api:
                for deployment in _ask(api, "POST", "/deployments/filter", json={}):
                    _ask(api, "POST", f"/deployments/{deployment['id']}/pause_deployment")
                yield api
        finally:
            serve.send_signal(signal.SIGINT)


def _ask(api: httpx.Client, method: str, path: str, **more: Any) -> Any:
    """Ask Prefect's server; again for `PATIENCE_S` while it can't answer, as its database may be locked a minute."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            answer = api.request(method, path, **more)
        except httpx.TransportError:
            if time.monotonic() > until:
                raise
        else:
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > until:
                return answer.raise_for_status().json()
        time.sleep(1)


def run_all(api: httpx.Client, flow: str, names: Sequence[str], **parameters: Any) -> dict[str, dict[str, Any]]:
    """Run a flow of each domain, all asked for at once; wait until they have ended, and return their states."""
    runs = {}
    for name in names:
        deployment = _ask(api, "GET", f"/deployments/name/{flow}/{name}")
        # One run, however often it is asked for.
        asked = {"parameters": deployment["parameters"] | parameters, "idempotency_key": uuid4().hex}
        runs[name] = _ask(api, "POST", f"/deployments/{deployment['id']}/create_flow_run", json=asked)["id"]
    states = dict[str, dict[str, Any]]()
    while len(states) < len(runs):
        time.sleep(1)
        for name, run in runs.items():
            state = _ask(api, "GET", f"/flow_runs/{run}")["state"]
            if name not in states and state["type"] in ENDED:
                states[name] = state
    return states
