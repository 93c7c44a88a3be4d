"""Training steps on windows as the loader makes them, against the same steps on batches that lie in memory.

    python benchmarks/train.py [--model scs]

A simulated archive of 512 × 512 pixels is ingested first; windows, batches and network are params.yaml's. One line a
claim; exit status 1 if it is short. Frames are decoded, and motion estimated, in a first round that isn't timed: what
is measured is what every later epoch does. Times are the best of rounds in which both sides run once.
"""

import argparse
import sys
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
from claims import claim, say_where, status
from torch.utils.data import DataLoader

from pipelines.nowcast.index import index
from pipelines.nowcast.lightning_module import NowcastTraining
from pipelines.nowcast.windows import EpochSampler, RadarWindows, WithMotion
from pipelines.params.radar import Simulate
from pipelines.params.read import Params, read_params
from pipelines.radar.ingest import ingest_radar
from pipelines.radar.simulate import simulate
from scs_model import EncoderForecaster

STEPS, ROUNDS = 12, 3


def make_windows(folder: Path, params: Params) -> pd.DataFrame:
    """Simulate an archive, ingest it, and give its train windows."""
    simulate(folder / "raw", Simulate(seed=1, events=3, hours=1.5, size=512))
    store = folder / "radar.zarr"
    ingest_radar(folder / "raw", store, folder / "quarantine.csv", folder / "quality.csv", params.ingest_radar)
    index({"radar": store}, folder / "windows.parquet", params.index)
    table = pd.read_parquet(folder / "windows.parquet")
    return table[table["split"] == "train"]


def take_steps(module: NowcastTraining, batches: Iterable[Any], device: str) -> float:
    """Train on the batches; give the seconds that it took."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4)
    began = time.perf_counter()
    for batch in batches:
        optimizer.zero_grad()
        on_device = [part.to(device) for part in batch] if isinstance(batch, list) else batch.to(device)
        with torch.autocast(device, torch.bfloat16):
            loss = module.training_step(on_device, 0)
        loss.backward()
        optimizer.step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="scs", help="key of params.yaml's section models")
    name = parser.parse_args().model
    params = read_params(Path(__file__).parents[1] / "params.yaml")
    model, cut = params.models[name], params.index
    say_where()
    with TemporaryDirectory() as folder:
        table = make_windows(Path(folder), params)
        windows = RadarWindows(table, cut.inputs, cut.leads, cut.size)
        loader: DataLoader[Any] = DataLoader(
            WithMotion(windows) if model.subtasks else windows,
            batch_size=params.train.batch_size,
            sampler=EpochSampler(table["wet_fraction"].to_numpy(), 1_000_000, seed=1),
        )
        in_memory = list(islice(loader, STEPS))
        for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
            network = EncoderForecaster(**model.network, subtasks=model.subtasks is not None, leads=cut.leads)
            module = NowcastTraining(
                network, model.switch, model.subtasks, inputs=cut.inputs, learning_rate=1e-4, seed=1
            ).to(device)
            module.log = module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]  # no trainer here
            sides = {"loader": lambda: islice(loader, STEPS), "memory": lambda: in_memory}
            times = [
                {side: take_steps(module, batches(), device) for side, batches in sides.items()} for _ in range(ROUNDS)
            ]
            took = {side: min(time[side] for time in times) for side in sides}
            print(f"{device}, {name}, ms a step:", {side: round(1e3 * s / STEPS) for side, s in took.items()})
            claim(f"train {device} step rate, loader / batches in memory", took["memory"] / took["loader"], ">=", 0.85)
    return status()


if __name__ == "__main__":
    sys.exit(main())
