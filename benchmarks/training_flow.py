"""The training flow against plain ``dvc repro``, and two models on two slots against one after the other.

    python benchmarks/training_flow.py

Each side works in a copy of this repository with a smaller archive, with a Prefect server and MLflow's files of its
own, from an empty cache. One line a claim; exit status 1 if any is short. The flow's overhead is what it takes longer
than `dvc repro` over the same stages, one at a time. Slots are compared on two trainings alone, with one thread each,
all that they need being done: of one network from two seeds, so that both are as long.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import yaml
from claims import claim, say_where, status

ROOT = Path(__file__).resolve().parents[1]
MODELS = ["scs", "scs_seed2"]


def copy_repository(folder: Path, steps: int) -> None:
    """Copy what git lists, with a small archive, and the trainings of `MODELS` alone."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["simulate"] |= {"events": 5, "hours": 1.5, "size": 128}
    params["index"] |= {"size": 64, "stride": 64, "leads": 6}
    params["train"] |= {"steps": steps, "checkpoint_steps": steps, "validation_windows": 8}
    params["trained"] = MODELS
    params["models"]["scs_seed2"] = params["models"]["scs"] | {"seed": 2}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    identity = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost"]
    for arguments in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "start"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)


def environment(folder: Path, api: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PREFECT_", "DVC_"))}
    return ours | {
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "DVC_NO_ANALYTICS": "1",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_URL": api,
    }


def seconds(command: list[str], folder: Path, api: str) -> float:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment(folder, api),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    return time.monotonic() - began


def flow(targets: list[str] | None, slots: int) -> list[str]:
    code = f"from flows.train import train; s = train({targets!r}, {slots}, return_state=True); print(s.message)"
    return ["-c", f"{code}; raise SystemExit(not s.is_completed())"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60, help="of each training")
    parser.add_argument("--port", type=int, default=4299, help="of the Prefect server")
    arguments = parser.parse_args()
    say_where()
    api = f"http://127.0.0.1:{arguments.port}/api"
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(scratch) / name for name in ("by_hand", "by_flow")}
        for folder in folders.values():
            copy_repository(folder, arguments.steps)
        command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(arguments.port)]
        home = environment(folders["by_flow"], api) | {"PREFECT_HOME": f"{scratch}/prefect"}
        with subprocess.Popen(command, env=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                answers = False
                while not answers:
                    if server.poll() is not None:
                        sys.exit(f"the Prefect server ended; is port {arguments.port} taken?")
                    time.sleep(0.5)
                    with suppress(OSError), urllib.request.urlopen(f"{api}/health", timeout=5):
                        answers = True
                seconds(
                    ["-c", "import flows.train, pipelines.nowcast.train, pipelines.nowcast.compare"],
                    folders["by_flow"],
                    api,
                )
                measure(folders, api)
            finally:
                server.send_signal(signal.SIGINT)
                server.wait(60)
    return status()


def measure(folders: dict[str, Path], api: str) -> None:
    everything = ["simulate", "ingest_radar", "index", "train", "evaluate", "evaluate_baseline", "compare", "register"]
    plain = seconds(["-m", "dvc", "repro", *everything], folders["by_hand"], api)
    by_flow = seconds(flow(everything, slots=1), folders["by_flow"], api)
    print(f"dvc repro {plain:.0f} s, the flow {by_flow:.0f} s")
    claim("flow's time over dvc repro, s", by_flow - plain, "<=", 0.05 * plain + 30)

    trainings = [f"train@{name}" for name in MODELS]
    took = {}
    for slots, folder in ((1, folders["by_hand"]), (2, folders["by_flow"])):
        params = yaml.safe_load((folder / "params.yaml").read_text())
        params["train"]["steps"] = params["train"]["checkpoint_steps"] = 6 * params["train"]["steps"]
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        took[slots] = seconds(flow(trainings, slots), folder, api)
    print(f"two trainings, one after the other {took[1]:.0f} s, on two slots {took[2]:.0f} s")
    claim("two slots / one after the other", took[2] / took[1], "<=", 0.6)


if __name__ == "__main__":
    sys.exit(main())
