"""Stage ``train``: train one network on the train windows; goes on from its last checkpoint when interrupted."""

import hashlib
import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
import typer
from safetensors.torch import save_file
from torch.utils.data import DataLoader, SequentialSampler

from pipelines.atomic import whole
from pipelines.cadence import usual_step
from pipelines.echo_motion import WithMotion
from pipelines.errors import UserError
from pipelines.fitting import checkpoint_folder, fit, quieten
from pipelines.frames import open_frames
from pipelines.lineage import code_commit, dvc_md5, frames_digest, sha256
from pipelines.params import Index, Model, Train, read_params
from pipelines.ranks import PartOf, is_first, part_of_batch
from pipelines.stage import run
from pipelines.tracking.runs import log_trained, training_run
from pipelines.training import NowcastTraining
from pipelines.windows import EpochSampler, RadarWindows
from scs_model import EncoderForecaster


def train(
    name: str, store: Path, windows: Path, folder: Path, metrics: Path, *, model: Model, params: Train, index: Index
) -> None:
    """Train ``model`` and write it to ``folder``: ``model.json`` and ``weights.safetensors``.

    Parameters
    ----------
    name : str
        Of the model, in tables and in MLflow.
    store, windows : Path
        Frames, and the index of them.
    folder : Path
        Where the model goes.
    metrics : Path
        JSON of the validation loss and what it took.
    model, params, index
        Sections of params.yaml.

    Raises
    ------
    UserError
        If the loss becomes NaN.
    """
    table = pd.read_parquet(windows)
    data_sha256 = hashlib.sha256((sha256(windows) + frames_digest(open_frames(store))).encode()).hexdigest()
    settings = {
        "model": model.model_dump(),
        "train": params.model_dump(),
        "index": index.model_dump(include={"inputs", "leads", "size"}),
    }
    checkpoints = checkpoint_folder(name, settings, data_sha256)

    pl.seed_everything(params.seed, workers=True, verbose=False)
    network = EncoderForecaster(**model.network, subtasks=model.subtasks is not None)
    module = NowcastTraining(
        network, model.switch, model.subtasks, inputs=index.inputs, learning_rate=params.learning_rate, seed=params.seed
    )
    length, share = index.inputs + index.leads, part_of_batch(params.batch_size, params.devices)
    of_train, of_validation = (table[table["split"] == split] for split in ("train", "validation"))
    thinned = np.linspace(0, len(of_validation) - 1, min(len(of_validation), params.validation_windows)).round()
    samples = RadarWindows(of_train, length, index.size)
    train_loader: DataLoader[Any] = DataLoader(
        WithMotion(samples, index.inputs) if model.subtasks else samples,
        batch_size=share,
        sampler=PartOf(
            EpochSampler(of_train["wet_fraction"].to_numpy(), params.checkpoint_steps * params.batch_size, params.seed)
        ),
    )
    seen = RadarWindows(of_validation.iloc[thinned.astype(int)], length, index.size)
    validation_loader = DataLoader(seen, batch_size=share, sampler=PartOf(SequentialSampler(seen)))

    tags = {
        "model": name,
        "cell": model.cell,
        "switch": model.switch.describe(),
        "code_commit": code_commit(),
        "data_sha256": data_sha256,
        "dvc_md5.store": dvc_md5(store),
        "dvc_md5.windows": dvc_md5(windows),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }
    flat = pd.json_normalize(settings).iloc[0].to_dict()
    first = is_first()
    run_of_all = training_run(name, checkpoints / "mlflow_run_id", flat, tags, table) if first else nullcontext(False)
    with run_of_all as logger:
        fitted = fit(
            *(module, train_loader, validation_loader, checkpoints, logger, params),
            model=f"models.{name}",
            section="train",
        )
        if fitted is None:
            return
        forecaster = EncoderForecaster(**model.network)  # without the subtasks' heads
        weights = {name: fitted.weights[f"network.{name}"].contiguous() for name in forecaster.state_dict()}
        description = {
            "method": "network",
            "name": name,
            "inputs": index.inputs,
            "step_seconds": usual_step(open_frames(store)["time"].to_numpy()),
            "network": model.network,
        }
        with whole(folder) as temporary:
            temporary.mkdir()
            (temporary / "model.json").write_text(json.dumps(description, indent=1, sort_keys=True), encoding="utf-8")
            save_file(weights, temporary / "weights.safetensors")
        result = {
            "validation_loss": fitted.validation_loss,
            "parameters": sum(weight.numel() for weight in weights.values()),
        }
        with whole(metrics) as temporary:
            temporary.write_text(json.dumps(result, indent=1), encoding="utf-8")
        log_trained(folder, {**result, "training_seconds": fitted.seconds})
    shutil.rmtree(checkpoints)


def main(
    name: Annotated[str, typer.Argument(help="a key of params.yaml's section models")],
    store: Path,
    windows: Path,
    folder: Path,
    metrics: Path,
) -> None:
    """Train the model NAME of params.yaml on STORE's WINDOWS into FOLDER."""
    params = read_params()
    if name not in params.models:
        raise UserError(f"params.yaml: models.{name}: no such key; dvc.yaml lists it under vars")
    quieten()
    train(name, store, windows, folder, metrics, model=params.models[name], params=params.train, index=params.index)


if __name__ == "__main__":
    run(main)
