"""Stage ``train``: train one network on the train windows; goes on from its last checkpoint when interrupted."""

import hashlib
import json
import logging
import math
import shutil
import signal
import sys
import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
import typer
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint
from pytorch_lightning.callbacks.progress import RichProgressBar
from pytorch_lightning.utilities.exceptions import SIGTERMException
from safetensors.torch import save_file
from torch.utils.data import DataLoader, SequentialSampler

from pipelines.atomic import whole
from pipelines.cadence import usual_step
from pipelines.echo_motion import WithMotion
from pipelines.errors import UserError
from pipelines.frames import open_frames
from pipelines.lineage import code_commit, dvc_md5, frames_digest, main_checkout, sha256
from pipelines.params import Index, Model, Train, read_params
from pipelines.ranks import PartOf, is_first, part_of_batch, trainer_arguments
from pipelines.stage import run
from pipelines.tracking.runs import log_trained, training_run
from pipelines.training import NowcastTraining
from pipelines.windows import EpochSampler, RadarWindows
from scs_model import EncoderForecaster

log = logging.getLogger(__name__)


class CheckpointAfterValidation(Checkpoint):
    """Save, after a validation, all that is needed to go on: from there Lightning resumes exactly.

    From a checkpoint of an epoch's end it counts that epoch twice. As a `Checkpoint` this comes after the callback that
    keeps the best model, whose state it saves too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save."""
        trainer.save_checkpoint(self.path)


def choose_precision(precision: str) -> str:
    """Name Lightning's precision for ``auto``, ``bf16`` or ``float32``: auto is bf16 where the hardware has it."""
    if torch.cuda.is_available():
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if precision == "bf16" or (precision == "auto" and has_bf16) else "32-true"


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
    key = hashlib.sha256((json.dumps(settings, sort_keys=True) + data_sha256).encode()).hexdigest()
    checkpoints = main_checkout() / "data" / "checkpoints" / f"{name}-{key[:16]}"

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
    best = ModelCheckpoint(
        checkpoints,
        "best",
        monitor="validation_loss",
        save_on_train_epoch_end=False,  # but after validation, so that the last checkpoint knows of it
        enable_version_counter=False,
    )
    last = checkpoints / "last.ckpt"

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
        trainer = pl.Trainer(
            **trainer_arguments(params.devices),
            precision=choose_precision(params.precision),  # type: ignore[arg-type]
            max_epochs=math.ceil(params.steps / params.checkpoint_steps),
            max_steps=params.steps,
            gradient_clip_val=1.0,
            deterministic=True,
            logger=logger,
            callbacks=[best, CheckpointAfterValidation(last), RichProgressBar(leave=True)],
            enable_model_summary=False,
            log_every_n_steps=min(10, params.checkpoint_steps),
            num_sanity_val_steps=0,
        )
        began = time.monotonic()
        resumed = last if last.exists() else None
        if resumed:
            log.warning("%s: going on from %s", name, last)
        try:
            trainer.fit(module, train_loader, validation_loader, ckpt_path=resumed, weights_only=True)
        except SIGTERMException:
            sys.exit(128 + signal.SIGTERM)  # Lightning's own status would be 0, as if the training were done
        except FloatingPointError as error:
            raise UserError(
                f"models.{name}: {error}; lower train.learning_rate, or set train.precision: float32"
            ) from None
        if not first:
            return
        assert best.best_model_score is not None  # there is a validation at the end of every epoch
        weights = torch.load(best.best_model_path, weights_only=True, map_location="cpu")["state_dict"]
        forecaster = EncoderForecaster(**model.network)  # without the subtasks' heads
        weights = {name: weights[f"network.{name}"].contiguous() for name in forecaster.state_dict()}
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
            "validation_loss": best.best_model_score.item(),
            "parameters": sum(weight.numel() for weight in weights.values()),
        }
        with whole(metrics) as temporary:
            temporary.write_text(json.dumps(result, indent=1), encoding="utf-8")
        log_trained(folder, {**result, "training_seconds": time.monotonic() - began})
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
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # frames lie in memory; see RadarWindows
    warnings.filterwarnings("ignore", ".*exists and is not empty.*")  # to go on from it is the purpose
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # Lightning's own, from torch
    train(name, store, windows, folder, metrics, model=params.models[name], params=params.train, index=params.index)


if __name__ == "__main__":
    run(main)
