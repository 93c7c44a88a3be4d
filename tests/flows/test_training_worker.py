"""A second worker, in a clone of its own: what one host has made, another takes from DVC's remote."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, Served, holders
from prefect import get_client
from prefect.deployments import run_deployment
from prefect.logging.handlers import APILogHandler
from prefect.settings import temporary_settings

from flows.deploy import deploy_training
from flows.train import train

pytestmark = pytest.mark.full


def run(*command: str, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dvc(*arguments: str, folder: Path) -> str:
    return run(sys.executable, "-m", "dvc", *arguments, folder=folder)


@pytest.fixture
def clones(tmp_path: Path) -> tuple[Path, Path]:
    """Two clones of a repository whose stages tell where they ran; both have one DVC remote."""
    origin, first, second = (tmp_path / name for name in ("origin", "first", "second"))
    origin.mkdir()
    for name in ("params.yaml", "prefect.yaml"):
        (origin / name).write_bytes((REPOSITORY / name).read_bytes())
    (origin / "raw").write_text("1")
    stages = {
        "prepare": {"cmd": f"pwd >> {tmp_path}/prepared; cp raw ready", "deps": ["raw"], "outs": ["ready"]},
        "train": {
            "matrix": {"model": ["a", "b"]},
            "cmd": f"echo ${{item.model}} $PWD >> {tmp_path}/trained; mkdir -p out; cp ready out/${{item.model}}",
            "deps": ["ready"],
            "outs": ["out/${item.model}"],
        },
    }
    (origin / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    run("git", "init", "-q", folder=origin)
    dvc("init", "-q", folder=origin)
    dvc("remote", "add", "-d", "shared", str(tmp_path / "remote"), folder=origin)
    run("git", "add", "-A", folder=origin)
    run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-qm", "start", folder=origin)
    for clone in (first, second):
        run("git", "clone", "-q", str(origin), str(clone), folder=tmp_path)
    return first, second


@pytest.fixture
def worker(served: Served, clones: tuple[Path, Path]) -> Iterator[Path]:
    """Start a worker of the GPU hosts' pool in the second clone; gives the clone."""
    environment = os.environ | {
        "PREFECT_API_URL": served.prefect,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "training-gpu"]
    with subprocess.Popen(command, cwd=clones[1], env=environment) as process:
        yield clones[1]
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:  # Prefect makes it Ctrl-C, which a shell's background job may not hear
            process.kill()


def test_a_worker_takes_what_another_clone_has_made(
    served: Served, clones: tuple[Path, Path], worker: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with temporary_settings(served.settings):
        monkeypatch.chdir(clones[0])
        state = train(["train@a"], remote=True, return_state=True)
        assert state.is_completed() and "ran: prepare, train@a" in state.message

        monkeypatch.chdir(worker)
        deploy_training({"working_dir": str(worker)})
        ran = run_deployment("train/gpu", timeout=600, poll_interval=0.5)
        assert ran.state is not None and ran.state.is_completed(), ran.state
        with get_client(sync_client=True) as client:
            for name in ("train/gpu", "train/retrain"):
                client.delete_deployment(client.read_deployment_by_name(name).id)
    assert (tmp_path / "prepared").read_text().splitlines() == [str(clones[0])], "prepared once, by the first"
    trained = [line.split() for line in (tmp_path / "trained").read_text().splitlines()]
    assert trained == [["a", str(clones[0])], ["b", str(worker)]]
    assert {path.name for path in (worker / "out").iterdir()} >= {"a", "b"}
    # and back: what the second has made since
    monkeypatch.chdir(clones[0])
    with temporary_settings(served.settings):
        assert train(remote=True, return_state=True).is_completed()
        APILogHandler().flush()  # while there is a server
    assert len((tmp_path / "trained").read_text().splitlines()) == 2
    assert (clones[0] / "out" / "b").read_text() == "1"
    assert holders(tmp_path) == [], "the environment's secret is in no lock, cache or remote"
