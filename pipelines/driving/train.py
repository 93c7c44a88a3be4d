"""Stage ``train_driving``: train one network that says the wheel's angle; goes on from its last checkpoint."""

import hashlib
from pathlib import Path
from typing import Annotated

import pytorch_lightning as pl
import typer
from torch import Tensor

from pipelines.common.errors import UserError
from pipelines.common.stage import run
from pipelines.driving.drives import Drives, open_drives
from pipelines.driving.lightning_module import DrivingTraining
from pipelines.driving.samples import DriveSamples
from pipelines.driving.sequences import SPLITS
from pipelines.driving.specification import STEERING
from pipelines.driving.steering import Network, SteeringDescription
from pipelines.params.driving import DrivingModel, TrainDriving
from pipelines.params.read import entry, read_params
from pipelines.training.fit import fit
from pipelines.training.job import Job
from pipelines.training.loaders import loaders
from pipelines.training.pass_sampler import PassSampler
from scs_model.networks.regression import Regressor


def drives_digest(drives: Drives) -> str:
    """Return the hex digest of what a store's drives are: their content, angles and splits."""
    content = drives.rows.to_csv(index=False) + drives.sessions.to_csv(index=False) + str(drives.size)
    return hashlib.sha256(content.encode()).hexdigest()


def frames_ahead(drives: Drives, ahead_s: float) -> int:
    """Return how many frames of a store are so many seconds; raises UserError where that is no whole number."""
    rate = drives.attributes["rate"]
    if ahead_s and rate == "all":
        raise UserError(f"train_driving.ahead_s {ahead_s:g}: {drives.path} has no one rate, set ingest_drives.rate")
    ahead = ahead_s * rate if ahead_s else 0.0
    if abs(ahead - round(ahead)) > 1e-6:
        raise UserError(f"train_driving.ahead_s {ahead_s:g} s is no whole number of frames at {rate:g} a second")
    return round(ahead)


def train_driving(
    name: str, store: Path, folder: Path, metrics: Path, *, model: DrivingModel, params: TrainDriving
) -> None:
    """Train ``model`` and write it to ``folder``: ``model.json`` and ``weights.safetensors``.

    Parameters
    ----------
    name : str
        Of the model, in tables and in MLflow.
    store : Path
        Drives.
    folder : Path
        Where the model goes.
    metrics : Path
        JSON of the validation loss and the number of parameters.
    model, params
        Sections of params.yaml.

    Raises
    ------
    UserError
        If the loss isn't finite, or the store has nothing to train on.
    """
    drives = open_drives(store)
    params = params.of(model)
    job = Job(
        *(STEERING, "driving", name, model, params, drives_digest(drives)),
        data={"drives": [store]},
        samples=drives.sessions.assign(store=str(store)),
    )
    (height, width), ahead = drives.size, frames_ahead(drives, params.ahead_s)

    pl.seed_everything(params.seed, workers=True, verbose=False)
    network = Regressor(**model.network, outputs=1)
    if height % network.downsample or width % network.downsample:
        raise UserError(
            f"driving_models.{name}: frames of {height} × {width} pixels, and this network wants multiples of "
            f"{network.downsample}: set ingest_drives.height and width"
        )
    scale = float(drives.rows["angle"][drives.rows["split"] == SPLITS.index("train")].std(ddof=0))
    samples = DriveSamples(
        *(drives, "train", model.frames),
        ahead=ahead,
        flow=model.subtasks is not None,
        mirror=params.mirror,
        seed=params.seed,
    )
    sampler = PassSampler(samples, params.epoch_steps * params.batch_size)
    seen = DriveSamples(drives, "validation", model.frames, ahead=ahead, every=model.frames)
    rate = drives.attributes["rate"]

    def describe(weights: dict[str, Tensor]) -> tuple[SteeringDescription, dict[str, Tensor], int]:
        description = SteeringDescription(
            method="steering",
            name=name,
            network=Network(**model.network),
            frames=model.frames,
            rate=None if rate == "all" else rate,
            ahead_s=params.ahead_s,
            unit=drives.unit,
            scale=scale,
            height=height,
            width=width,
        )
        return description, weights, sum(p.numel() for p in network.parameters())

    module, batches = DrivingTraining(network, model, params, scale), loaders(samples, sampler, seen, params)
    fit(job, module, *batches, describe=describe, folder=folder, metrics=metrics)


def main(
    name: Annotated[str, typer.Argument(help="a key of params.yaml's section driving_models")],
    store: Path,
    folder: Path,
    metrics: Path,
) -> None:
    """Train the model NAME of params.yaml on STORE's drives into FOLDER."""
    params = read_params()
    model = entry(params.driving_models, "driving_models", name)
    train_driving(name, store, folder, metrics, model=model, params=params.train_driving)


if __name__ == "__main__":
    run(main)
