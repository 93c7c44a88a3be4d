"""The training flow on a real Prefect server, over DVC stages that take no time."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from conftest import REPOSITORY, Served, logs_of
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.logging.handlers import APILogHandler
from waiting import eventually

import flows.training.dvc_stages
import flows.training.slots
from flows.deploy import deploy_training
from flows.train import train
from flows.training.dvc_stages import Processes, failure, plan, reproduce
from flows.training.slots import Slots
from pipelines.common.errors import Unavailable, UserError

# Two of a matrix that each wait until the other has begun: they end only side by side.
MEET = """
import os, pathlib, sys, time
me, other = sys.argv[1:]
pathlib.Path("begun").mkdir(exist_ok=True)
(pathlib.Path("begun") / me).write_text(os.environ["OMP_NUM_THREADS"])
deadline = time.monotonic() + 300
while not (pathlib.Path("begun") / other).exists():
    if time.monotonic() > deadline:
        sys.exit(f"error: {other} has not begun")
    time.sleep(0.05)
pathlib.Path("out").mkdir(exist_ok=True)
(pathlib.Path("out") / me).write_text(me)
(pathlib.Path("out") / f"{me}.json").write_text('{"loss": 0.25, "of": "text"}')
print(f"{me} met {other}")
"""


def stage(cmd: str, **more: object) -> dict[str, object]:
    return {"cmd": cmd, **more}


def write_stages(folder: Path, **stages: dict[str, object]) -> None:
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))


def dvc(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    dvc("init", "--no-scm", "--quiet")
    (tmp_path / "meet.py").write_text(MEET)
    (tmp_path / "params.yaml").write_bytes((REPOSITORY / "params.yaml").read_bytes())
    (tmp_path / "raw").write_text("1")
    pair = {
        "foreach": {"a": {"other": "b"}, "b": {"other": "a"}},
        "do": stage(
            f"{sys.executable} meet.py ${{key}} ${{item.other}}",
            deps=["first", "meet.py"],
            outs=["out/${key}"],
            metrics=[{"out/${key}.json": {"cache": False}}],
        ),
    }
    write_stages(
        tmp_path,
        last=stage("ls out > last", deps=["out"], outs=["last"]),
        pair=pair,
        first=stage("cp raw first", deps=["raw"], outs=["first"]),
    )
    return tmp_path


def of_run(run_id: UUID | None) -> FlowRunFilter:
    assert run_id is not None
    return FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))


def task_states(state: State) -> dict[str, State]:
    run_id = state.state_details.flow_run_id
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs(flow_run_filter=of_run(run_id))
    return {run.name: run.state for run in runs}


def logs(state: State) -> list[tuple[str | None, str]]:
    APILogHandler().flush()
    with get_client(sync_client=True) as client:
        run_id = state.state_details.flow_run_id
        names = {run.id: run.name for run in client.read_task_runs(flow_run_filter=of_run(run_id))}
        found = client.read_logs(logs_of(run_id))
    return [(names.get(log.task_run_id), log.message) for log in found]


def test_the_order_is_dvcs(repository: Path) -> None:
    stages = {stage.name: stage for stage in plan()}
    assert set(stages) == {"first", "pair@a", "pair@b", "last"}
    assert stages["pair@a"].upstream == {"first"} and stages["last"].upstream == {"pair@a", "pair@b"}
    assert [stage.name for stage in plan(["pair@b"])] == ["first", "pair@b"]
    assert {stage.name for stage in plan(["pair"])} == {"first", "pair@a", "pair@b"}
    with pytest.raises(UserError, match="nothing"):
        plan(["nothing"])


def test_flow_and_repro_by_hand_share_what_is_done(repository: Path, server: Served) -> None:
    state = train(slots=2, return_state=True)
    assert state.is_completed(), state
    assert "ran: first, pair@" in state.message
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    assert {path.read_text() for path in (repository / "begun").iterdir()} == {str(threads)}
    tasks = task_states(state)
    assert set(tasks) == {"first", "pair@a", "pair@b", "last"}
    assert "loss 0.25" in tasks["pair@a"].message
    said = logs(state)
    assert ("pair@a", "a met b") in said and ("pair@b", "metrics of pair@b: loss 0.25") in said

    lock = (repository / "dvc.lock").read_bytes()
    assert "up to date" in dvc("repro") and (repository / "dvc.lock").read_bytes() == lock
    # and the other way round
    (repository / "raw").write_text("2")
    dvc("repro", "first")
    (repository / "begun" / "a").unlink()
    (repository / "begun" / "b").unlink()
    state = train(slots=2, return_state=True)
    assert state.is_completed() and "first" not in state.message.partition("ran: ")[2]
    assert task_states(state)["first"].message == "up to date"
    state = train(slots=2, return_state=True)
    assert state.message == "4 stages; ran: none"
    with get_client(sync_client=True) as client:
        run_id = state.state_details.flow_run_id
        (shown,) = (a for a in client.read_artifacts() if a.key == "training" and a.flow_run_id == run_id)
    assert "| `pair@a` | up to date |" in shown.data


def test_a_failure_names_the_stage_and_its_last_line_and_others_go_on(repository: Path, server: Served) -> None:
    write_stages(
        repository,
        bad=stage("echo working; echo 'error: models.x: the loss is nan' >&2; false", deps=["raw"], outs=["never"]),
        after_bad=stage("cp never after", deps=["never"], outs=["after"]),
        good=stage("cp raw good", deps=["raw"], outs=["good"]),
        after_good=stage("cp good after_good", deps=["good"], outs=["after_good"]),
    )
    state = train(return_state=True)
    assert state.is_failed()
    assert state.message == "bad: error: models.x: the loss is nan; not run: after_bad"
    tasks = task_states(state)
    assert tasks["bad"].is_failed() and tasks["bad"].message == "bad: error: models.x: the loss is nan"
    assert tasks["after_good"].is_completed() and (repository / "after_good").exists()
    assert tasks["after_bad"].name == "NotReady" and not (repository / "after").exists()
    said = [message for _, message in logs(state)]
    assert not any("Traceback" in line or "Retry" in line for line in said), "nothing to retry"


def test_new_days_of_an_archive_that_dvc_knows_are_taken_up_and_pushed(repository: Path) -> None:
    days = repository / "archive" / "here"
    days.mkdir(parents=True)
    (days / "1.nc").write_text("1")
    dvc("add", "--quiet", "archive/here")
    dvc("remote", "add", "--quiet", "--default", "shared", str(repository / "remote"))
    ingest = {
        "foreach": {"here": "archive/here"},
        "do": stage("ls ${item} > ${key}", deps=["${item}"], outs=["${key}"]),
    }
    write_stages(repository, ingest=ingest)
    order = [one.name for one in plan()]
    assert order == ["archive/here.dvc", "ingest@here"]

    def taken_up() -> list[bool]:
        return [reproduce(name, Processes(), {}, lambda _: None, remote=True).ran for name in order]

    taken_up()
    assert taken_up() == [False, False]
    (days / "2.nc").write_text("2")  # and its record is as it was: a kill came before `dvc add`
    assert taken_up() == [True, True]
    assert (repository / "here").read_text() == "1.nc\n2.nc\n"
    dvc("status", "--quiet", "--cloud")  # ends with 1 where the remote lacks something


def test_what_is_tried_again() -> None:
    ran = ["Running stage 'x':", "> python -m pipelines.nowcast.train x"]

    def kind(*lines: str) -> type:
        return type(failure("x", [*ran, *lines], 1))

    assert kind("error: loss is nan", "ERROR: failed to reproduce 'x': failed to run: y, exited with 1") is UserError
    assert kind("error: no store", "ERROR: failed to reproduce 'x': failed to run: y, exited with 75") is Unavailable
    assert kind("MlflowException: API request to http://x/api failed with", "ERROR: …, exited with 1") is Unavailable
    no_line = failure("x", [*ran, "ERROR: failed to reproduce 'x': failed to run: false, exited with 1"], 1)
    assert str(no_line) == "x: failed to reproduce 'x': failed to run: false, exited with 1"


def test_a_stage_that_another_dvc_is_at_is_waited_for(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.training.dvc_stages, "BUSY_S", 0.5)
    until_told = "for i in $(seq 3000); do test -e told && break; sleep 0.1; done"
    write_stages(repository, slow=stage(f"echo once >> runs; {until_told}; cp raw slow", deps=["raw"], outs=["slow"]))

    def told(line: str) -> None:
        if "another dvc is at it" in line:
            (repository / "told").touch()

    with subprocess.Popen([sys.executable, "-m", "dvc", "repro"], stdout=subprocess.DEVNULL) as by_hand:
        assert eventually((repository / "runs").exists, pause_s=0.05)
        result = reproduce("slow", Processes(), {}, told)
        assert by_hand.wait() == 0
    assert not result.ran and (repository / "told").exists()
    assert (repository / "runs").read_text() == "once\n"


def fake_gpus(folder: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Put a nvidia-smi on the path that lists GPUs, as the driver's does."""
    tool = folder / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    lines = "".join(f"echo '{n}, GPU-{n:04d}'\n" for n in range(count))
    tool.write_text(f"#!/bin/sh\n{lines}")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_gpu_is_one_stages_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpus(tmp_path, monkeypatch, 3)
    ours, others, busy = Slots(1, locks=tmp_path), Slots(1, locks=tmp_path), threading.Event()
    busy.set()  # so that what finds no GPU says so, and does not wait
    with ours.take(busy) as first:
        with others.take(busy) as second, ours.take(busy) as third:
            named = [slot["CUDA_VISIBLE_DEVICES"] for slot in (first, second, third)]
            assert sorted(named) == ["GPU-0000", "GPU-0001", "GPU-0002"]
            with pytest.raises(UserError, match="stopped"), ours.take(busy):
                pass
        with ours.take(busy) as again:
            assert again["CUDA_VISIBLE_DEVICES"] == named[1]

    pairs = Slots(1, gpus_each=2, locks=tmp_path)
    assert pairs.count == 1
    with ours.take(busy):
        with pairs.take(busy) as two:
            assert two["CUDA_VISIBLE_DEVICES"] == "GPU-0001,GPU-0002"
        with ours.take(busy), pytest.raises(UserError, match="stopped"), pairs.take(busy):
            pass
        with ours.take(busy) as alone:  # the one GPU that was free then isn't held
            assert alone["CUDA_VISIBLE_DEVICES"] == "GPU-0001"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert flows.training.slots.visible_gpus() == ["GPU-0002"]
    with pytest.raises(UserError, match="this machine has 1 GPU"):
        Slots(1, gpus_each=2)
    with pytest.raises(UserError, match="slots: 0"):
        Slots(0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_stages_end_with_the_flow(repository: Path, server: Served, number: int) -> None:
    write_stages(repository, slow=stage("echo $$ > pid; sleep 3600; cp raw slow", deps=["raw"], outs=["slow"]))
    code = "from flows.train import train; train()"
    environment = os.environ | {"PREFECT_API_URL": server.prefect, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL) as flow:
        file = repository / "pid"
        assert eventually(lambda: flow.poll() is not None or (file.exists() and file.read_text()), pause_s=0.05)
        assert flow.poll() is None
        pid = int(file.read_text())
        flow.send_signal(number)
        flow.wait(300)
    assert eventually(lambda: not Path(f"/proc/{pid}").exists(), deadline_s=60)
    assert json.loads(dvc("status", "--json"))["slow"], "not done"


@pytest.mark.parametrize("by", ["flows.deploy", "prefect deploy --all"])
def test_prefect_yamls_trainings_are_deployed(repository: Path, server: Served, by: str) -> None:
    (repository / "prefect.yaml").write_bytes((REPOSITORY / "prefect.yaml").read_bytes())
    if by == "flows.deploy":
        deploy_training({"working_dir": str(repository)})
    else:
        (repository / "flows").symlink_to(REPOSITORY / "flows")
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
        environment = os.environ | {"PREFECT_API_URL": server.prefect}
        subprocess.run(command, env=environment, check=True, capture_output=True)
    with get_client(sync_client=True) as client:
        retrain = client.read_deployment_by_name("train/retrain")
        gpu = client.read_deployment_by_name("train/gpu")
        client.delete_deployment(retrain.id)
        client.delete_deployment(gpu.id)
    (schedule,) = retrain.schedules
    assert (schedule.schedule.cron, schedule.schedule.timezone) == ("0 2 * * 0", "UTC")
    assert (retrain.work_pool_name, gpu.work_pool_name) == ("training", "training-gpu")
    assert gpu.parameters == {"remote": True} and not gpu.schedules
    if by == "flows.deploy":
        assert retrain.job_variables == {"working_dir": str(repository)}
    else:
        (step,) = retrain.pull_steps
        assert step == {"prefect.deployments.steps.set_working_directory": {"directory": str(repository)}}
