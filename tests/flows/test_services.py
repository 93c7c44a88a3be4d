"""Processes that belong together are watched, started again, and end when they are to end."""

import os
import signal
import socket
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import typer
from conftest import free_port
from waiting import eventually

from flows import services as of_services
from flows.serve import serve
from flows.services import RUN, Services, check_port, port_number
from pipelines.common.errors import UserError


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return Services(tmp_path, dict(os.environ))


def test_a_service_is_waited_for_and_stopped_with_what_it_started(services: Services, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "family.py").write_text(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)'])\n"
        f"subprocess.run([sys.executable, '-m', 'http.server', '{port}', '--bind', '127.0.0.1'])\n"
    )
    services.environment["PYTHONPATH"] = str(tmp_path)
    services.start("family", "family")
    services.wait_for("family", f"http://127.0.0.1:{port}/")
    group = services.running["family"].process.pid
    assert services.stop("family") and not services.stop("family")
    assert eventually(lambda: not _members(group), pause_s=0.1, deadline_s=60)


def _members(group: int) -> list[str]:
    """Live processes of a group; a zombie that waits for its new parent is none."""
    members = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            state, _, process_group, *_ = path.read_text().rpartition(") ")[2].split()
            if int(process_group) == group and state != "Z":
                members.append(path.parent.name)
    return members


def test_a_service_that_ends_is_told_of_with_its_log(services: Services, tmp_path: Path) -> None:
    services.start("broken", "no_such_module")
    with pytest.raises(UserError, match=rf"broken ended with status 1; see {tmp_path}/broken\.log"):
        services.wait_for("broken", f"http://127.0.0.1:{free_port()}/")
    assert "no_such_module" in (tmp_path / "broken.log").read_text()


def test_what_ends_is_started_again_after_a_pause_that_doubles_up_to_a_longest(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_services, "PAUSE_S", 0.01)
    monkeypatch.setattr(of_services, "LONGEST_PAUSE_S", 0.05)
    services.start("broken", "no_such_module")
    news = []
    assert eventually(lambda: news.extend(services.restart_ended().values()) or len(news) == 5, pause_s=0.01)
    assert news == [
        f"broken ended with status 1, and is started again in {pause} s; see {services.logs}/broken.log"
        for pause in ("0.01", "0.02", "0.04", "0.05", "0.05")
    ]
    services.running["broken"].again = 0.0
    services.restart_ended()
    services.running["broken"].began -= 2 * of_services.STEADY_S  # ends of before are of no account then
    assert eventually(lambda: news.extend(services.restart_ended().values()) or len(news) == 6, pause_s=0.01)
    assert "again in 0.01 s" in news[-1]


def test_a_killed_service_is_there_again_though_its_child_holds_the_port(services: Services, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "family.py").write_text(
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-m', 'http.server', '{port}', '--bind', '127.0.0.1'], check=True)\n"
    )
    services.environment["PYTHONPATH"] = str(tmp_path)
    services.start("family", "family")
    services.wait_for("family", f"http://127.0.0.1:{port}/")
    killed = services.running["family"].process
    killed.kill()
    assert eventually(lambda: services.restart_ended(), pause_s=0.1) == {
        "family": f"family ended with status -9, and is started again in 1 s; see {tmp_path}/family.log"
    }
    assert eventually(lambda: services.restart_ended() or services.running["family"].process is not killed)
    services.wait_for("family", f"http://127.0.0.1:{port}/")
    assert not _members(killed.pid)
    assert services.stop("family")
    with pytest.raises(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/"):
        pytest.fail("it is still there")


def test_what_a_killed_one_has_left_is_ended_but_for_its_flow_runs(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text("import time\ntime.sleep(3600)\n")
    ours = os.environ | {"PYTHONPATH": str(tmp_path)}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    left, run = Services(tmp_path / "one", ours), Services(tmp_path / "one", ours | {RUN: "a run"})
    other = Services(tmp_path / "two", ours)
    for services in (left, run, other):
        services.start("sleeper", "sleeper")
    pids = [one.running["sleeper"].process.pid for one in (left, run, other)]
    # A process has its environment only after it has become Python.
    assert eventually(lambda: len(of_services.processes_of(left.environment[of_services.MARK], flow_runs=False)) == 1)
    following = Services(tmp_path / "one", ours)
    assert following.take_over() == 1
    assert list(map(psutil.pid_exists, pids)) == [False, True, True]
    following.end_flow_runs()
    assert run.running["sleeper"].process.wait(60) == -signal.SIGKILL and psutil.pid_exists(pids[2])
    other.stop("sleeper")


def test_a_port_that_is_taken_is_told_of(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port}: Address already in use; choose another with --some-port"):
            check_port(port, "--some-port")
    check_port(port, "--some-port")


@pytest.mark.parametrize("given", ["99999", "0", "-1", "4200.0", "abc", "٤٢٠٠", "1" * 5000])
def test_what_is_no_port_is_told_of_as_it_was_typed(given: str) -> None:
    with pytest.raises(UserError) as told:
        port_number(given, "--prefect-port", "PREFECT_PORT")
    assert str(told.value).startswith("--prefect-port or PREFECT_PORT: '")
    assert given[:100] in str(told.value)


@pytest.mark.parametrize(
    ("ports", "words"),
    [
        ({"PREFECT_PORT": "99999"}, "--prefect-port or PREFECT_PORT: '99999' is no port"),
        ({"MLFLOW_PORT": "x"}, "--mlflow-port or MLFLOW_PORT: 'x' is no port"),
        ({"PREFECT_PORT": "5000"}, "PREFECT_PORT and MLFLOW_PORT are both 5000"),
    ],
)
def test_servers_without_a_port_each_are_not_started(
    ports: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ports.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sys, "argv", ["serve"])
    with pytest.raises(UserError, match=words):
        typer.run(serve)
