"""Prefect's server and worker, the deployments, and MLflow's server, all on 127.0.0.1: ``python -m flows.serve``.

Ctrl-C or SIGTERM stops them, the worker before the servers that it talks to.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.errors import UserError
from pipelines.lineage import main_checkout
from pipelines.stage import run

HOST = "127.0.0.1"
START_S, STOP_S = 120.0, 20.0
PYTHON = [sys.executable, "-m"]


class Services:
    """Processes that are started one after the other, watched, and stopped in the reverse order.

    Parameters
    ----------
    logs : Path
        Folder for what they print.
    environment : dict of str
    """

    def __init__(self, logs: Path, environment: dict[str, str]) -> None:
        self.logs, self.environment = logs, environment
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.stopping = threading.Event()

    def start(self, name: str, module: list[str], *, quiet: bool = True) -> None:
        """Start a Python module; what it prints goes to a log file unless it is not to be ``quiet``."""
        options: dict[str, Any] = {"env": self.environment, "stdin": subprocess.DEVNULL}
        # In a session of its own: Ctrl-C is for us alone, and what it starts can be found by its group.
        options["start_new_session"] = True
        if not quiet:
            self.running[name] = subprocess.Popen([*PYTHON, *module], **options)
            return
        with (self.logs / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen([*PYTHON, *module], stdout=log, stderr=log, **options)

    def wait_for(self, name: str, url: str) -> None:
        """Wait until ``url`` answers, or until we are to stop.

        Raises
        ------
        UserError
            If the service ends instead, or doesn't answer for two minutes.
        """
        deadline = time.monotonic() + START_S
        while not self.stopping.wait(0.2):
            self.check()
            try:
                with urllib.request.urlopen(url, timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                if time.monotonic() > deadline:
                    raise UserError(f"{name}: no answer from {url}; see {self.logs / name}.log") from None

    def check(self) -> None:
        """Raise a `UserError` if one has ended."""
        for name, process in self.running.items():
            if process.poll() is not None:
                raise UserError(f"{name} ended with status {process.returncode}; see {self.logs / name}.log")

    def stop(self) -> None:
        """Stop all, the last one first; what doesn't heed signals is killed."""
        for name, process in reversed(self.running.items()):
            for number in (signal.SIGINT, signal.SIGTERM):
                if process.poll() is None:
                    process.send_signal(number)
                    try:
                        process.wait(STOP_S)
                    except subprocess.TimeoutExpired:
                        continue
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # whatever it left
            process.wait()
            print(f"{name} stopped", flush=True)


def check_port(port: int, option: str) -> None:
    """Raise a `UserError` if a port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(f"port {port}: {error.strerror}; choose another with {option}") from None


def serve(
    prefect_port: Annotated[int, typer.Option(envvar="PREFECT_PORT")] = 4200,
    mlflow_port: Annotated[int, typer.Option(envvar="MLFLOW_PORT")] = 5000,
) -> None:
    """Serve until Ctrl-C. Where MLFLOW_TRACKING_URI names a store already, no MLflow server is started."""
    home = main_checkout()
    store = home / "mlflow"
    environment = {
        "PREFECT_HOME": str(home / "data/prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **os.environ,
        "PREFECT_API_URL": f"http://{HOST}:{prefect_port}/api",
    }
    own_mlflow = "MLFLOW_TRACKING_URI" not in environment
    environment.setdefault("MLFLOW_TRACKING_URI", f"http://{HOST}:{mlflow_port}")
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
            backend = ["--backend-store-uri", f"sqlite:///{store / 'mlflow.db'}"]
            artifacts = ["--artifacts-destination", str(store / "artifacts")]
            address = ["--host", HOST, "--port", str(mlflow_port), "--workers", "1"]
            services.start("mlflow", ["mlflow", "server", *backend, *artifacts, *address])
        services.start("prefect-server", ["prefect", "server", "start", "--host", HOST, "--port", str(prefect_port)])
        services.wait_for("prefect-server", f"{environment['PREFECT_API_URL']}/health")
        if own_mlflow:
            services.wait_for("mlflow", f"{environment['MLFLOW_TRACKING_URI']}/health")
        if services.stopping.is_set():
            return
        subprocess.run([*PYTHON, "flows.deploy"], env=environment, check=True)
        services.start("prefect-worker", ["prefect", "worker", "start", "--pool", "forecasts"], quiet=False)
        print(f"Prefect: http://{HOST}:{prefect_port}  MLflow: {environment['MLFLOW_TRACKING_URI']}  Ctrl-C stops")
        while not services.stopping.wait(0.5):
            services.check()
    finally:
        services.stop()


if __name__ == "__main__":
    run(serve)
