"""Where MLflow keeps things, and what is said where it can't."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

from pipelines.common.errors import Unavailable
from pipelines.nowcast.registered_model import load
from pipelines.nowcast.specification import NAME
from pipelines.tracking.store import connect


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # and what it is set to later is undone
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_empty_address_is_none(repository: Path) -> None:
    connect(NAME)
    assert (repository / "mlflow/mlflow.db").is_file()


def test_processes_that_are_the_first_at_once_share_the_store(repository: Path) -> None:
    command = [sys.executable, "-c", "from pipelines.tracking.store import connect; connect('radar-nowcast')"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    started = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [one.wait() for one in started] == [0, 0, 0]


def test_a_database_s_artifacts_outlive_the_experiment_that_made_it(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = repository / ".dvc/tmp/exps/tmpab12"
    experiment.mkdir(parents=True)
    monkeypatch.chdir(experiment)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{repository}/other.db")
    made = connect(NAME).get_experiment_by_name(NAME)
    assert made.artifact_location == (repository / "mlflow/artifacts").as_uri()


@pytest.mark.parametrize("address", ["sqlite:///{}/foreign.db", "nonsense://x", "oracle://x", "http://127.0.0.1:9"])
def test_a_store_that_can_t_be_used_is_one_line(
    address: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "foreign.db").write_text("no database")
    uri = address.format(repository)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Unavailable) as refused:
        connect(NAME)
    assert str(refused.value).startswith(f"MLflow store {uri}: ")
    assert "\n" not in str(refused.value)


@pytest.fixture
def silent(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The store is a server that takes connections and never answers; a try of a second, and no pause, for the test."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{listening.getsockname()[1]}")
        for name, value in {"TIMEOUT": 1, "BACKOFF_FACTOR": 0, "BACKOFF_JITTER": 0}.items():
            monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", str(value))
        monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
        yield listening


def tries(listening: socket.socket) -> int:
    """How many connections have come since it was last asked."""
    count = 0
    while True:
        try:
            listening.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_a_silent_server_is_given_up_sooner_by_a_forecast_than_by_a_training(
    silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unavailable, match="Max retries exceeded"):
        load("models:/radar-nowcast@champion")
    assert tries(silent) == 2
    with pytest.raises(Unavailable, match="Max retries exceeded"):
        connect(NAME)
    assert tries(silent) == 4, "what is registered or logged keeps its patience, after a look-up too"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Unavailable, match="Max retries exceeded"):
        load("models:/radar-nowcast@champion")
    assert tries(silent) == 1, "the environment has the last word"


@pytest.mark.full
def test_a_look_up_waits_ten_seconds_in_all(silent: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT")
    asked: list[float] = []
    send = HTTPAdapter.send

    def look(adapter: HTTPAdapter, *arguments: Any, **options: Any) -> Any:
        asked.append(options["timeout"])
        return send(adapter, *arguments, **options)

    monkeypatch.setattr(HTTPAdapter, "send", look)
    with pytest.raises(Unavailable, match="Max retries exceeded"):
        load("models:/radar-nowcast@champion")
    (timeout,) = asked
    assert timeout * tries(silent) == 10
