"""A network's field and probabilities of a continent, in tiles: seconds and memory.

    python benchmarks/continent.py [--model scs_probabilities] [FOLDER ...]

From radar files of a FOLDER, as OPERA's or MRMS's, else from simulated frames of their sizes in memory, to 12 lead
times at every one of index.rates, looked at as in operation; and then to forecast.nc. The weights are not trained:
neither time nor memory depends on them. Each grid has a process of its own, whose peak memory is the whole process's,
torch and the frames themselves included; files are read by another.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from claims import claim, say_where, status
from forecast import FRAMES, LEADS

from pipelines.nowcast.methods.description import ModelDescription, Network
from pipelines.nowcast.methods.network import ProbabilisticNetworkForecaster, build_network
from pipelines.nowcast.registered_model import LoadedModel
from pipelines.operation.forecast import forecast
from pipelines.operation.inputs import Source
from pipelines.operation.products.dataset import NETCDF
from pipelines.operation.sources import of_folder
from pipelines.params.operation import Policy
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


def measure(source: Source, params: Params, model: str) -> dict[str, float]:
    """Forecast once; return seconds and GB."""
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
    for at in source.times[-FRAMES:]:
        source.frame(at)
    peak_gb(reset=True)
    began, of_processor = time.perf_counter(), time.process_time()
    dataset, _ = forecast(source, lambda: loaded, policy, minutes=LEADS * step_s // 60)
    took = {"seconds": time.perf_counter() - began, "of a processor": time.process_time() - of_processor}
    took["GB"] = peak_gb()
    print(dataset["rainfall_flux"].shape, took, flush=True, file=sys.stderr)  # to write takes as long
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        dataset.to_netcdf(Path(folder) / NETCDF, engine="netcdf4", format="NETCDF4")
        size = (Path(folder) / NETCDF).stat().st_size / 1e6
    return took | {"seconds to write": time.perf_counter() - began, "GB with it": peak_gb(), "MB written": size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", help=f"of radar files, or of {', '.join(SIZES)} those that are simulated")
    parser.add_argument("--model", default="scs_probabilities", help="a probabilistic key of params.yaml's models")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    params = read_params(Path(__file__).parents[1] / "params.yaml")
    if asked.one:
        (name,) = asked.folders
        source = simulated(SIZES[name]) if name in SIZES else of_folder(Path(name), params.ingest_radar)
        print(json.dumps(measure(source, params, asked.model)))
        return
    say_where()
    for name in asked.folders or SIZES:
        command = [sys.executable, __file__, "--one", "--model", asked.model, name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        took = json.loads(done.stdout.splitlines()[-1])
        print(name, ", ".join(f"{key} {value:.4g}" for key, value in took.items()))
        claim(f"{Path(name).name} seconds", took["seconds"], "<=", 300)
        claim(f"{Path(name).name} peak memory, GB", took["GB"], "<=", 4.0)
    sys.exit(status())


if __name__ == "__main__":
    main()
