"""Stage ``train``: train one network on the train windows; goes on from its last checkpoint when interrupted."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import typer
from torch import Tensor
from torch.utils.data import DataLoader

from pipelines.common.errors import UserError
from pipelines.common.progress import track
from pipelines.common.provenance import sha256
from pipelines.common.rights import Rights
from pipelines.common.stage import run
from pipelines.nowcast.calibration import calibrate, count_events
from pipelines.nowcast.lightning_module import NowcastTraining
from pipelines.nowcast.methods.climatology import FILE, Climatology
from pipelines.nowcast.methods.description import ModelDescription, Network, TrainedOn
from pipelines.nowcast.methods.normalisation import normalise, thresholds
from pipelines.nowcast.specification import RADAR
from pipelines.nowcast.windows import EpochSampler, RadarWindows, WithMotion
from pipelines.params.nowcast import Index, Model, Train
from pipelines.params.read import entry, read_params
from pipelines.radar.cadence import open_frames_at
from pipelines.radar.cf_grid import grid_of
from pipelines.radar.clock import usual_step
from pipelines.radar.grid import pixel_metres
from pipelines.radar.store import frames_digest, open_frames
from pipelines.training.fit import fit
from pipelines.training.job import Job
from pipelines.training.loaders import loaders
from pipelines.verification.blocks import number_blocks
from scs_model import EncoderForecaster
from scs_model.networks.cascade import FRAMES, regress

REGRESSION_WINDOWS = 256  # of the train split, evenly chosen, that the cascade's first weights are found from


def evenly(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return ``count`` rows of a table, evenly chosen, or all of a shorter one."""
    return table.iloc[np.linspace(0, len(table) - 1, min(len(table), count)).round().astype(int)]


def first_weights(windows: RadarWindows, downsample: int) -> Tensor:
    """Return the cascade's weights (leads, WEIGHTS) that forecast the train windows best, the same everywhere."""

    def samples() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for window in DataLoader(windows, batch_size=8):
            rain = window[:, :, 0]
            newest, future = rain[:, windows.inputs - FRAMES : windows.inputs], rain[:, windows.inputs :]
            yield normalise(newest), normalise(future), future.isfinite() & newest[:, -1:].isfinite()

    return regress(samples(), downsample)


def train(name: str, windows: Path, folder: Path, metrics: Path, *, model: Model, params: Train, index: Index) -> None:
    """Train ``model`` and write it to ``folder``: ``model.json`` and ``weights.safetensors``.

    Parameters
    ----------
    name : str
        Of the model, in tables and in MLflow.
    windows : Path
        The index of the frames; it names their stores.
    folder : Path
        Where the model goes.
    metrics : Path
        JSON of the validation loss, the network's parameters, and what its subtasks explain.
    model, params, index
        Sections of params.yaml.

    Raises
    ------
    UserError
        If the loss becomes NaN, the network can't take windows of this size, or the climatology is of other rates.
    """
    params = params.of(model)
    rates = index.rates if model.probabilistic else None
    climate = Climatology.read(windows.with_name(FILE)) if rates else None
    if climate and climate.rates != rates:
        raise UserError(f"{windows.with_name(FILE)}: of other rates than index.rates: run the stage index")
    table = pd.read_parquet(windows)
    stores = sorted(table["store"].unique())
    digests = "".join(frames_digest(open_frames(Path(store))) for store in stores)
    data_sha256 = hashlib.sha256((sha256(windows) + digests).encode()).hexdigest()
    used = table.loc[table["split"] != "test", "store"].unique()
    rights = {Path(store).stem: Rights.of(open_frames(Path(store)).attrs) for store in sorted(used)}
    archives = [TrainedOn(name=archive, **of._asdict()) for archive, of in rights.items()]
    of_index = {"step_s", "inputs", "leads", "size"} | ({"rates"} if rates else set())
    job = Job(
        *(RADAR, "", name, model, params, data_sha256),
        data={"store": [Path(store) for store in stores], "windows": [windows]},
        samples=table,
        others={"index": index.model_dump(include=of_index)},
    )
    shape = {**model.network, "leads": index.leads}
    built = {**shape, "thresholds": thresholds(rates) if rates else None}

    pl.seed_everything(params.seed, workers=True, verbose=False)
    network = EncoderForecaster(**built, subtasks=model.subtasks is not None)
    if index.size % network.divisor:
        raise UserError(
            f"index.size: {index.size} pixels aren't divisible by {network.divisor}, as models.{name} wants"
        )
    module = NowcastTraining(
        *(network, model.switch, model.subtasks),
        inputs=index.inputs,
        learning_rate=params.learning_rate,
        seed=params.seed,
        rates=rates,
        weighted=model.weighted,
    )
    of_train, of_validation = (table[table["split"] == split] for split in ("train", "validation"))

    def cut(rows: pd.DataFrame) -> RadarWindows:
        return RadarWindows(rows, index.inputs, index.leads, index.size, index.step_s, model.coordinates)

    if not network.fixed:
        network.weights.copy_(first_weights(cut(evenly(of_train, REGRESSION_WINDOWS)), model.downsample))
    samples, seen = cut(of_train), cut(evenly(of_validation, params.validation_windows))
    sampler = EpochSampler(
        of_train["wet_fraction"].to_numpy(),
        params.epoch_steps * params.batch_size,
        params.seed,
        of_train["store"].to_numpy() if params.even_archives else None,
    )
    with_motion = (WithMotion(samples), WithMotion(seen)) if model.subtasks else (samples, seen)
    batches = loaders(with_motion[0], sampler, with_motion[1], params)

    def describe(weights: dict[str, Tensor]) -> tuple[ModelDescription, dict[str, Tensor], int]:
        forecaster = EncoderForecaster(**built).eval()  # without the subtasks' heads
        forecaster.load_state_dict(kept := {name: weights[name] for name in forecaster.state_dict()})
        of_rates: dict[str, Any] = {}
        if rates and climate:
            pieces = track(DataLoader(seen, batches[1].batch_size), "calibrate")
            blocks = len(np.unique(number_blocks(seen.windows)))
            calibrate(forecaster, count_events(forecaster, pieces, rates, index.inputs), blocks)
            kept = forecaster.state_dict()
            of_rates = {"rates": rates, "field": model.field, "climatology": climate.exceedance}
        frames = open_frames_at(Path(stores[0]), index.step_s)
        description = ModelDescription(
            method="network",
            name=name,
            inputs=index.inputs,
            step_seconds=usual_step(frames["time"].to_numpy()),
            pixel_metres=pixel_metres(grid_of(frames)),
            network=Network(**shape),
            archives=archives,
            **of_rates,
        )
        return description, kept, sum(weight.numel() for weight in kept.values())

    fit(
        *(job, module, *batches),
        describe=describe,
        folder=folder,
        metrics=metrics,
        also=("t1_explained", "t2_explained"),
    )


def main(
    name: Annotated[str, typer.Argument(help="a key of params.yaml's section models")],
    windows: Path,
    folder: Path,
    metrics: Path,
) -> None:
    """Train the model NAME of params.yaml on WINDOWS into FOLDER."""
    params = read_params()
    model = entry(params.models, "models", name)
    train(name, windows, folder, metrics, model=model, params=params.train, index=params.index)


if __name__ == "__main__":
    run(main)
