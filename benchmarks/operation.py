"""From a radar file that has come in to all products of its cycle.

    python benchmarks/operation.py [--model scs]

A composite of 1226 × 760 pixels comes into the inbox of a domain whose live store has the frames before it. The flow
`forecast` runs in a process of its own, as a worker starts it, with a Prefect server and MLflow's files on this
machine: imports, the look whether the file is whole, a network as champion (not trained: the time doesn't depend on
it), 12 lead times, and all products. Measured is from the file's arrival until latest.json names the cycle; the steps
are those that Prefect knows. The flow's overhead is the share of its time that is in none of its steps.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyproj
import yaml
from claims import claim, say_where, status
from forecast import FRAMES, LEADS, SHAPE, moving_rain
from prefect import get_client
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness
from safetensors.torch import save_file

from pipelines.common.rights import Rights
from pipelines.nowcast.specification import RADAR
from pipelines.operation.inbox import Inbox
from pipelines.operation.live_store import LiveStore
from pipelines.params.read import read_params
from pipelines.radar.grid import Grid
from pipelines.radar.odim_writer import write_composite
from scs_model import EncoderForecaster

ROOT = Path(__file__).parents[1]
START, STEP = np.datetime64("2024-06-01T12:00:00"), np.timedelta64(300, "s")
CRS = "+proj=stere +lat_0=90 +lon_0=25 +lat_ts=60 +x_0=380886 +y_0=3395678 +ellps=WGS84 +units=m"
RUN = "from flows.forecast import forecast; print(forecast('here', return_state=True).message)"


def configure(folder: Path) -> None:
    """Write params.yaml with the one domain, ``here``."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    (domain,) = list(params["domains"].values())[:1]
    folders = {key: f"data/{key}" for key in ("inbox", "store", "out")}
    params["domains"] = {"here": domain | folders | {"memory_limit_mb": None}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "dvc.yaml").touch()  # marks the folder that MLflow's files belong to
    (folder / "data/inbox").mkdir(parents=True)


def register(model: str, folder: Path) -> None:
    """Make an untrained network the champion."""
    network = read_params(ROOT / "params.yaml").models[model].network | {"leads": LEADS}
    folder.mkdir()
    description = {"name": model, "method": "network", "inputs": FRAMES, "network": network, "step_seconds": 300}
    (folder / "model.json").write_text(json.dumps(description))
    save_file(EncoderForecaster(**network).state_dict(), folder / "weights.safetensors")
    RADAR.set_alias("champion", RADAR.ensure_version(model, folder, {}), "for the benchmark")


def write_frame(number: int, rain_rate: np.ndarray) -> Path:
    """Write a frame as ODIM_H5 into the inbox."""
    grid = Grid.from_edges(pyproj.CRS.from_proj4(CRS), left=0.0, top=1_226_000.0, dx=1e3, dy=1e3, shape=SHAPE)
    path = Path(f"data/inbox/{number}.h5")
    with np.errstate(divide="ignore"):
        dbz = 10 * np.log10(200 * rain_rate.astype(float) ** 1.6)
    write_composite(path, dbz, START + number * STEP, grid, scan_s=0, how={})
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scs", help="key of params.yaml's section models")
    asked = parser.parse_args()
    say_where()
    print(f"{asked.model} on {SHAPE[0]}×{SHAPE[1]}, {LEADS} lead times", flush=True)
    with tempfile.TemporaryDirectory() as temporary, prefect_test_harness(server_startup_timeout=120):
        os.chdir(temporary)
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        configure(Path())
        register(asked.model, Path("model"))
        frames, inbox = moving_rain(), Inbox(Path("data/inbox"))
        params = read_params()
        live = LiveStore(Path("data/store"), Rights("CC0-1.0"))
        before = [write_frame(number, frames[number]) for number in range(FRAMES - 1)]
        inbox.store(before, live, params.ingest_radar, START + np.timedelta64(1, "D"))
        write_frame(FRAMES - 1, frames[-1])
        arrived = time.time()
        environment = os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value(), "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, check=False)
        print(done.stdout.strip() or done.stderr[-2000:], flush=True)
        latest = Path("data/out/latest.json")
        forecast = json.loads(latest.read_text())["forecast"]
        assert forecast["fallback"] == "none", forecast["fallback"]
        with get_client(sync_client=True) as client:
            (flow,) = client.read_flow_runs()
            steps = {task.name.rpartition("-")[0]: task.total_run_time for task in client.read_task_runs()}
        files = [path for path in (Path("data/out") / forecast["folder"]).rglob("*") if path.is_file()]
        whole = latest.stat().st_mtime - arrived
        in_flow = flow.total_run_time
        in_steps = sum(steps.values(), timedelta())
        print(f"start of the process: {whole - in_flow.total_seconds():.1f} s (and its end, not counted)")
        for name in ("collect", "append", "forecast", "publish", "announce"):
            print(f"{name}: {steps[name].total_seconds():.1f} s")
        print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.0f} MB")
        claim("new frame to published, s", whole, "<=", 60)
        claim("flow's own overhead / flow", (in_flow - in_steps) / in_flow, "<=", 0.1)
    sys.exit(status())


if __name__ == "__main__":
    main()
