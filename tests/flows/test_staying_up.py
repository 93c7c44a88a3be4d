"""``make serve`` stays up: what is killed comes back, and what is late is done once. Most of it on the suite's own."""

import asyncio
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from conftest import Served, free_port, processes_of, write_params
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.deployments import run_deployment
from prefect.settings import temporary_settings
from prefect.states import Pending, Running, Scheduled
from waiting import eventually

from flows import POOL, late_runs
from flows.interrupted_runs import WORKER, set_to_crashed
from flows.services import MARK, RUN


@pytest.fixture
def client(served: Served) -> Iterator[SyncPrefectClient]:
    with temporary_settings(served.settings), get_client(sync_client=True) as client:
        yield client


def part(served: Served, words: str) -> psutil.Process:
    """Return the process of the served folder that was started with these words."""
    of_folder = map(psutil.Process, processes_of(f"PREFECT_HOME={served.folder}/"))
    (found,) = [one for one in of_folder if words in " ".join(one.cmdline()) and one.pid == os.getpgid(one.pid)]
    return found


def alarms(client: SyncPrefectClient) -> list[str]:
    asked = {"filter": {"event": {"name": ["scs.alarm.service-ended"]}}}
    return [one["payload"]["message"] for one in client.request("POST", "/events/filter", json=asked).json()["events"]]


def test_a_second_one_in_the_same_folder_is_told_so(served: Served) -> None:
    command = [sys.executable, "-m", "flows.serve", "--prefect-port", "1", "--mlflow-port", "2"]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    second = subprocess.run(command, cwd=served.folder, env=ours, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert second.stderr == f"error: {served.folder}/data/prefect: another `python -m flows.serve` is at work here\n"


@pytest.mark.parametrize(
    "words, name",
    [("mlflow server", "mlflow"), pytest.param("flows.server:create_app", "prefect-server", marks=pytest.mark.full)],
)
def test_a_server_that_is_killed_is_there_again_and_an_alarm_says_so(
    served: Served, client: SyncPrefectClient, words: str, name: str
) -> None:
    killed = part(served, words)
    killed.kill()
    assert eventually(lambda: replaced(served, words, killed))
    health = f"{served.mlflow}/health" if name == "mlflow" else f"{served.prefect}/health"
    assert eventually(lambda: answers(health))
    said = f"{name} ended with status -9, and is started again in 1 s; see {served.folder}/data/prefect/{name}.log"
    assert eventually(lambda: said in alarms(client))


def replaced(served: Served, words: str, killed: psutil.Process) -> bool:
    try:
        return part(served, words).pid != killed.pid
    except (ValueError, psutil.Error):  # neither is there, or both are
        return False


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


@pytest.mark.full
def test_after_the_worker_was_killed_runs_are_done_again(served: Served, client: SyncPrefectClient) -> None:
    part(served, "flows.worker").kill()
    with temporary_settings(served.settings):
        run = run_deployment("verify/worked", timeout=300, poll_interval=0.5)
    assert run.state is not None and run.state.is_completed(), run.state
    assert eventually(lambda: "prefect-worker ended with status -9, and is started again in 1 s" in alarms(client))


def late(client: SyncPrefectClient, deployment: str, hours: int, **parameters: str) -> FlowRun:
    which = client.read_deployment_by_name(deployment)
    state = Scheduled(scheduled_time=datetime.now(UTC) - timedelta(hours=hours))
    return client.create_flow_run_from_deployment(which.id, parameters={"domain": "worked", **parameters}, state=state)


def test_of_late_runs_the_newest_alone_becomes_a_process(served: Served, client: SyncPrefectClient) -> None:
    worker = part(served, "flows.worker")
    worker.send_signal(signal.SIGSTOP)
    runs = {
        name: [late(client, name, hours) for hours in (5, 4, 3, 2)] for name in ("forecast/worked", "verify/worked")
    }
    other = late(client, "verify/worked", 6, now="2024-06-01T12:40:00+00:00")  # it does something else
    worker.send_signal(signal.SIGCONT)
    newest = [of_one.pop() for of_one in runs.values()]

    def states(of: list[FlowRun]) -> list[FlowRun]:
        found = [client.read_flow_run(run.id) for run in of]
        return found if all(run.state is not None and run.state.is_final() for run in found) else []

    done = eventually(lambda: states([*newest, other]), deadline_s=900)
    assert len(done) == 3
    for run in done:
        assert "overtaken" not in run.state.message and run.infrastructure_pid is not None
    first, second = sorted(done[1:], key=lambda run: run.start_time)  # both verify, for which there is one place
    assert second.start_time >= first.end_time
    for of_one, last in zip(runs.values(), newest, strict=True):
        skipped = states(of_one)
        assert len(skipped) == 3
        for run in skipped:
            due = f"{last.expected_start_time:%Y-%m-%d %H:%M}"
            assert run.state.is_completed()
            assert run.state.message == f"overtaken: the run of {due} UTC is due, and does for this one"
            assert run.infrastructure_pid is None, "it never had a process"


def test_runs_that_the_server_refuses_are_not_counted_or_asked_for_for_ever(
    served: Served, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_runs, "PAGE", 3)
    worker = part(served, "flows.worker")
    worker.send_signal(signal.SIGSTOP)
    runs = [late(client, "verify/worked", hours, now="2024-06-01T09:00:00+00:00") for hours in (9, 8, 7)]

    async def skipped() -> int:
        async with get_client() as asked:

            async def as_they_were(**_: object) -> list[FlowRun]:
                return runs[::-1]

            monkeypatch.setattr(asked, "read_flow_runs", as_they_were)
            return await late_runs.skip_overtaken(asked, POOL)

    try:
        for run in runs:  # they have begun by the time that it asks
            client.set_flow_run_state(run.id, Running(), force=True)
        with temporary_settings(served.settings):
            assert asyncio.run(asyncio.wait_for(skipped(), 60)) == 0
        assert all(client.read_flow_run(run.id).state_type == StateType.RUNNING for run in runs)
    finally:
        for run in runs:
            client.delete_flow_run(run.id)
        worker.send_signal(signal.SIGCONT)


def test_a_run_is_crashed_only_when_its_process_is_gone_and_it_was_this_workers(
    served: Served, client: SyncPrefectClient
) -> None:
    deployment = client.read_deployment_by_name("verify/worked").id

    def taken(by: str | None, state: State) -> FlowRun:
        of_its_own = datetime.now(UTC).isoformat()  # or the worker that is there would skip it for a later one
        parameters = {"domain": "worked", "now": of_its_own}
        run = client.create_flow_run_from_deployment(deployment, state=state, parameters=parameters)
        if by:
            client.request("PATCH", "/flow_runs/{id}/labels", path_params={"id": run.id}, json={WORKER: by})
        return run

    gone, alive, others, starting = (
        taken("this", Running()),
        taken("this", Running()),
        taken("another", Running()),
        taken(None, Pending()),
    )
    ended = datetime.now(UTC)
    waiting = taken("this", Pending())  # of the worker that is there by now, for a place
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={RUN: str(alive.id)}
    ) as process:
        assert eventually(lambda: processes_of(f"{RUN}={alive.id}"))
        assert set(set_to_crashed(client, [POOL], "this", ended)) == {gone.name, starting.name}
        process.kill()
    types = {run.id: client.read_flow_run(run.id).state_type for run in (gone, alive, others, starting, waiting)}
    assert types == {
        gone.id: StateType.CRASHED,
        alive.id: StateType.RUNNING,
        others.id: StateType.RUNNING,
        starting.id: StateType.CRASHED,
        waiting.id: StateType.PENDING,
    }
    assert set(set_to_crashed(client, [POOL], "this")) == {alive.name, waiting.name}
    assert set_to_crashed(client, [POOL], "another") == [others.name]


@pytest.mark.full
def test_what_a_killed_one_has_left_the_next_takes_over(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    write_params(tmp_path, {})
    ports = [str(free_port()), str(free_port())]
    command = [sys.executable, "-m", "flows.serve", "--prefect-port", ports[0], "--mlflow-port", ports[1]]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}

    def serving() -> tuple[subprocess.Popen[str], str]:
        serve = subprocess.Popen(command, cwd=tmp_path, env=ours, stdout=subprocess.PIPE, text=True)
        assert serve.stdout is not None
        said = ""
        while "Prefect: http" not in said:
            line = serve.stdout.readline()
            assert line, said
            said += line
        return serve, said

    mark = f"{MARK}={tmp_path}/data/prefect"
    first, _ = serving()
    left = set(processes_of(mark))
    first.kill()
    first.wait()
    assert left and left <= set(processes_of(mark)), "nobody has told them"
    second, said = serving()  # on the same ports
    assert f"ended {len(left)} processes of a `python -m flows.serve` that was killed" in said
    assert not left & set(processes_of(mark))
    second.send_signal(signal.SIGTERM)
    assert second.wait(120) == 0 and not processes_of(mark)
