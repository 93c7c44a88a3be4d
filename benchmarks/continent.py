"""A network's field and probabilities of a continent, in tiles, its members, and their files: seconds and memory.

    python benchmarks/continent.py [--model scs_probabilities] [--members 2] [FOLDER ...]

From radar files of a FOLDER, as OPERA's or MRMS's, else from simulated frames of their sizes in memory, to 12 lead
times at every one of index.rates, looked at as in operation; then members, and then all that is published. The weights
are not trained: neither time nor memory depends on them. Each grid has a process of its own, whose peak memory is the
whole process's, torch and the frames themselves included; files are read by another.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from claims import claim, say_where, status
from forecast import FRAMES, LEADS

from pipelines.nowcast.methods.description import ModelDescription, Network
from pipelines.nowcast.methods.network import ProbabilisticNetworkForecaster, build_network
from pipelines.nowcast.registered_model import LoadedModel
from pipelines.operation.forecast import forecast
from pipelines.operation.inputs import Source, choose_inputs
from pipelines.operation.products.additions import add_what_is_asked_for
from pipelines.operation.products.dataset import PROBABILITY
from pipelines.operation.products.names import NETCDF
from pipelines.operation.products.publish import publish
from pipelines.operation.sources import of_folder
from pipelines.params.operation import Members, Policy
from pipelines.params.read import Params, read_params
from pipelines.radar.frame import Frame
from pipelines.radar.grid import Grid

SIZES = {"OPERA": (4400, 3800), "MRMS": (3500, 7000)}


def simulated(shape: tuple[int, int]) -> Source:
    """Frames of rain over a tenth of the grid, mm/h, that moves by 3 columns and a row a frame; a third isn't seen."""
    import pyproj

    H, W = shape
    noise = np.random.default_rng(0).standard_normal((H + FRAMES, W + 3 * FRAMES), np.float32)
    field = sum(pixels * cv2.GaussianBlur(noise, (0, 0), pixels) for pixels in (2.0, 8.0, 24.0))
    rain = np.exp(3 * (field - np.quantile(field[::8, ::8], 0.85))) * (field > np.quantile(field[::8, ::8], 0.85))
    grid = Grid(pyproj.CRS.from_epsg(3035), np.arange(W) * 1000.0, np.arange(H)[::-1] * 1000.0)
    frames = {}
    for t in range(FRAMES):
        at = np.datetime64("2026-01-01T00:00:00") + np.timedelta64(300 * t, "s")
        y, x = FRAMES - t, 3 * (FRAMES - t)
        of_time = rain[y : y + H, x : x + W].astype(np.float32)
        of_time[:, : W // 3] = np.nan
        frames[at] = Frame(at, grid, "instant", 0, None, f"{t}", "0" * 64, rain_rate=of_time)
    return Source("simulated", np.array(list(frames)), frames.__getitem__)


def peak_gb(*, reset: bool = False) -> float:
    """Return the most memory that this process has held, GB; from now on if it is reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmHWM"))


def measure(source: Source, params: Params, model: str, members: int) -> dict[str, dict[str, float]]:
    """Forecast once, draw members, publish; return seconds, those of a processor, and GB of each."""
    rates = params.index.rates
    shape = params.models[model].network | {"leads": LEADS}
    description = ModelDescription(
        method="network", inputs=FRAMES, name=model, network=Network(**shape), rates=rates, field="matched"
    )
    forecaster = ProbabilisticNetworkForecaster(build_network(description), FRAMES, rates, "matched")
    loaded = LoadedModel("untrained", "none", None, None, forecaster, description)
    step_s, policy = (
        source.step_s(),
        Policy(max_age_minutes=None, min_valid_share=0.01, max_missing=0, stand_in="repeated", fallback=[]),
    )
    inputs = choose_inputs(source, FRAMES, policy, model)
    took: dict[str, dict[str, float]] = {}

    def phase(name: str, make: Callable[[], Any]) -> Any:
        peak_gb(reset=True)
        began, of_processor = time.perf_counter(), time.process_time()
        made = make()
        seconds, busy = time.perf_counter() - began, time.process_time() - of_processor
        took[name] = {"seconds": seconds, "of a processor": busy, "GB": peak_gb()}
        print(name, took[name], flush=True, file=sys.stderr)
        return made

    dataset, observed = phase(
        "forecast", lambda: forecast(source, lambda: loaded, policy, minutes=LEADS * step_s // 60)
    )
    if members:
        asked = {"members": Members(count=members), "areas": None, "memory_limit_mb": None, "bytes_a_pixel": None}
        exceedance = dataset[PROBABILITY].data
        dataset = phase("members", lambda: add_what_is_asked_for(dataset, exceedance, inputs, step_s, **asked))
        print(dataset.attrs["left_out"], flush=True, file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        cycle = Path(folder) / "cycle"
        phase("publish", lambda: publish(dataset, observed, cycle))
        took["publish"]["MB"] = sum(path.stat().st_size for path in cycle.rglob("*") if path.is_file()) / 1e6
        took["publish"]["MB of forecast.nc"] = (cycle / NETCDF).stat().st_size / 1e6
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", help=f"of radar files, or of {', '.join(SIZES)} those that are simulated")
    parser.add_argument("--model", default="scs_probabilities", help="a probabilistic key of params.yaml's models")
    parser.add_argument("--members", type=int, default=2, help="0 for none")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    params = read_params(Path(__file__).parents[1] / "params.yaml")
    if asked.one:
        (name,) = asked.folders
        source = simulated(SIZES[name]) if name in SIZES else of_folder(Path(name), params.ingest_radar)
        print(json.dumps(measure(source, params, asked.model, asked.members)))
        return
    say_where()
    for name in asked.folders or SIZES:
        command = [sys.executable, __file__, "--one", "--model", asked.model]
        command += ["--members", f"{asked.members}", name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        took = json.loads(done.stdout.splitlines()[-1])
        for what, of_phase in took.items():
            print(f"{name} {what}:", ", ".join(f"{key} {value:.4g}" for key, value in of_phase.items()))
        claim(f"{Path(name).name} seconds", took["forecast"]["seconds"], "<=", 300)
        claim(f"{Path(name).name} peak memory, GB", max(of_phase["GB"] for of_phase in took.values()), "<=", 4.0)
    sys.exit(status())


if __name__ == "__main__":
    main()
