"""What is started once for the whole suite: Prefect's server with a worker, and MLflow's server."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch
from uuid import UUID

# Before anything loads torch: each worker of the suite has a core of its own, and threads that wait for each other on
# a busy machine spin away whole minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import yaml
from hypothesis import settings
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from pipelines.common.login import read_login

REPOSITORY = Path(__file__).resolve().parents[1]
SECRET = {"AWS_SECRET_ACCESS_KEY": "marked-1f0b7c52e6"}  # in the environment of all that is served, and looked for

# How fast the machine is, and what else runs on it, fails no test; nor does what is drawn differ from run to run.
settings.register_profile("any machine", deadline=None, derandomize=True)
settings.load_profile("any machine")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes after their parameter: they may be others in each process that collects, as a gzip stream's are."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def _whatever_ran_before() -> Iterator[None]:
    """Start each test with the same random numbers, and take back what it did to the environment."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - what draws from the global state is under test, or a library
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
    with patch.dict(os.environ):
        yield


@dataclass(frozen=True)
class Served:
    """What ``python -m flows.serve`` serves, and the folder that it serves."""

    folder: Path
    prefect: str  # address of the API
    mlflow: str
    page: str
    login: dict[str, str]  # of both, as environment variables

    @property
    def settings(self) -> dict:
        """Prefect's settings of a client."""
        return {PREFECT_API_URL: self.prefect, PREFECT_API_AUTH_STRING: self.login["PREFECT_API_AUTH_STRING"]}


def write_params(folder: Path, domains: dict[str, dict]) -> None:
    """Write the repository's params.yaml with other domains, each as the default but for what is given."""
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    default = params["domains"]["simulated"]
    params["domains"] = {
        name: default
        | {key: f"data/{key}/{name}" for key in ("inbox", "store", "out")}
        | {"archive": f"archive/{name}"}
        | changes
        | {"policy": default["policy"] | changes.get("policy", {})}
        for name, changes in domains.items()
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def logs_of(run_id: UUID | None) -> LogFilter:
    """Logs of one flow run: the server of all tests gives no more than a page of all."""
    assert run_id is not None
    return LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder for trainings of seconds, with MLflow's store in it, the working directory."""
    from small_training import write_workplace

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    write_workplace()
    return tmp_path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processes_of(setting: str) -> list[int]:
    """Processes whose environment has a setting that begins so: ``NAME=VALUE``."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdigit() and f"\0{setting}".encode() in b"\0" + (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


def holders(folder: Path) -> list[Path]:
    """Files below a folder with the environment's secret in them."""
    secret = SECRET["AWS_SECRET_ACCESS_KEY"].encode()
    return [path for path in folder.rglob("*") if path.is_file() and secret in path.read_bytes()]


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve a folder with one domain, ``worked``, and with extrapolation as the champion; stop by Ctrl-C."""
    with serving(tmp_path_factory.mktemp("served")) as result:
        yield result
    # The one place to see it: of what is served to the whole suite nothing is left.
    assert processes_of(f"PREFECT_HOME={result.folder}/") == []
    assert holders(result.folder) == []


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Served]:
    """Serve a folder as `served` is, with some environment variables more, while the block runs."""
    (folder / "dvc.yaml").touch()
    write_params(folder, {"worked": {}})
    ports = free_port(), free_port(), free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    environment |= {"PREFECT_HOME": f"{folder}/data/prefect", "PREFECT_WORKER_QUERY_SECONDS": "1", **SECRET}
    environment["SCS_FORECASTS_AT_ONCE"] = "2"  # and one of the others, on any machine
    environment |= settings
    options = zip(("--prefect-port", "--mlflow-port", "--page-port"), map(str, ports), strict=True)
    command = [sys.executable, "-m", "flows.serve", *(word for option in options for word in option)]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as serve:
        assert serve.stdout is not None
        line = ""
        while not line.startswith("Prefect: "):
            line = serve.stdout.readline()
            assert line, "flows.serve ended before it served"
        login = read_login(folder)
        mlflow, page = (f"http://127.0.0.1:{port}" for port in ports[1:])
        result = Served(folder, f"http://127.0.0.1:{ports[0]}/api", mlflow, page, login)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (login | SECRET).items():
                patch.setenv(name, value)
            _register_extrapolation(folder, result.mlflow)
            yield result
        serve.send_signal(signal.SIGINT)
        said = serve.stdout.read()
        assert serve.wait(300) == 0
    order = [said.index(f"{name} stopped") for name in ("prefect-worker", "page", "prefect-server", "mlflow")]
    assert order == sorted(order)


def _register_extrapolation(folder: Path, mlflow_server: str) -> None:
    from pipelines.nowcast.specification import RADAR

    model = folder / "data" / "model"
    model.mkdir(parents=True)
    (model / "model.json").write_text(json.dumps({"method": "extrapolation", "inputs": 3}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
        RADAR.set_alias("champion", RADAR.ensure_version("extrapolation", model, {}), "for the tests")


@pytest.fixture(scope="module")
def server(served: Served) -> Iterator[Served]:
    """The servers, and Prefect's as the one that flows of this process talk to."""
    with temporary_settings(served.settings):
        yield served
        APILogHandler().flush()  # while there is a server


@pytest.fixture
def nest() -> Iterator[Callable[[Path], str]]:
    """Nest 2,100 folders in one, deeper than paths may be and Python recurs; return the name of the first that is."""
    made = []

    def nest(folder: Path) -> str:
        made.append(folder / "d")
        here = os.open(folder, os.O_RDONLY)
        for _ in range(2100):
            os.mkdir("d", dir_fd=here)
            inner = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(here)
        return "/".join("d" * -(-(4096 - len(os.fsencode(folder))) // 2))  # a path's last byte is 0

    yield nest
    for folder in made:
        subprocess.run(["rm", "-rf", folder], check=True)


@pytest.fixture
def raw() -> np.ndarray:
    return np.random.default_rng(3).integers(1, 255, (12, 16)).astype(np.uint8)
