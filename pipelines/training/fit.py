"""Fitting a network, whatever its task: Lightning's loop, which goes on exactly where it was interrupted."""

import logging
import math
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable, Container
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint
from pytorch_lightning.callbacks.progress import RichProgressBar
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.utils.data import DataLoader

from pipelines.common.errors import UserError
from pipelines.tracking.runs import OF_TRAINED, log_trained, training_run
from pipelines.training.ddp import is_rank_zero, trainer_arguments
from pipelines.training.job import Job
from pipelines.training.model_folder import Description, write_trained

log = logging.getLogger(__name__)
GRADIENT_CLIP = 1.0  # norm of the whole gradient


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


class StopEarly(EarlyStopping):
    """End the training after ``patience`` validations without a lower loss, and at once when it goes on from there."""

    def __init__(self, patience: int) -> None:
        super().__init__("validation_loss", patience=patience, check_on_train_epoch_end=False, check_finite=False)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop a training that was cut off between its last validation and its end."""
        trainer.should_stop = self.wait_count >= self.patience


def choose_precision(precision: str) -> str:
    """Return Lightning's precision for ``auto``, ``bf16`` or ``float32``: auto is bf16 where the hardware has it."""
    if torch.cuda.is_available():
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if precision == "bf16" or (precision == "auto" and has_bf16) else "32-true"


def fit(
    job: Job,
    module: pl.LightningModule,
    train_loader: DataLoader[Any],
    validation_loader: DataLoader[Any],
    *,
    describe: Callable[[dict[str, Tensor]], tuple[Description, dict[str, Tensor], int]],
    folder: Path,
    metrics: Path,
    also: Container[str] = (),
) -> None:
    """Train a module that logs ``validation_loss``, from its last checkpoint if there is one, and write its network.

    Parameters
    ----------
    job : Job
        Its folder of checkpoints is removed when the model is written; the first process alone opens its run.
    module : LightningModule
        It raises FloatingPointError where its loss isn't finite, or diverges.
    train_loader, validation_loader : DataLoader
        What the first gives is a function of the epoch.
    describe : callable
        From the network's weights where the validation loss was lowest to what the model says of itself, those of them
        that it has, and the number of its parameters.
    folder, metrics : Path
        For ``model.json`` and ``weights.safetensors``, and for the JSON of validation loss and parameters.
    also : container of str
        Metrics of the last validation for that JSON, as far as there are any.

    Raises
    ------
    UserError
        If the loss isn't finite, or diverges.
    """
    _quieten()
    params, checkpoints, (of_network, of_training) = job.params, job.checkpoints, job.keys
    run = training_run(job.of, job.name, checkpoints / "mlflow_run_id", job.settings, job.tags, job.samples)
    best = ModelCheckpoint(
        checkpoints,
        "best",
        monitor="validation_loss",
        save_on_train_epoch_end=False,  # but after validation, so that the last checkpoint knows of it
        enable_version_counter=False,
    )
    early = [StopEarly(params.patience)] if params.patience else []
    last = checkpoints / "last.ckpt"
    resumed = last if last.exists() else None
    with run if is_rank_zero() else nullcontext(False) as logger:
        trainer = pl.Trainer(
            **trainer_arguments(params.devices),
            precision=choose_precision(params.precision),  # type: ignore[arg-type]
            max_epochs=math.ceil(params.steps / params.epoch_steps),
            max_steps=params.steps,
            gradient_clip_val=GRADIENT_CLIP if module.automatic_optimization else None,  # else the module does it
            deterministic=True,
            logger=logger,
            callbacks=[best, *early, CheckpointAfterValidation(last), RichProgressBar(leave=True)],
            enable_model_summary=False,
            log_every_n_steps=min(10, params.epoch_steps),
            num_sanity_val_steps=0,
        )
        began = time.monotonic()
        if resumed:
            log.warning("%s: going on from %s", of_network, last)
        try:
            trainer.fit(module, train_loader, validation_loader, ckpt_path=resumed, weights_only=True)
        except SIGTERMException:
            sys.exit(128 + signal.SIGTERM)  # Lightning's own status would be 0, as if the training were done
        except FloatingPointError as error:
            lower = f"lower {of_training}.learning_rate, or set {of_training}.precision: float32"
            raise UserError(f"{of_network}: {error}; {lower}") from None
        if not is_rank_zero():
            return
        assert best.best_model_score is not None  # there is a validation at the end of every epoch
        state = torch.load(best.best_model_path, weights_only=True, map_location="cpu")["state_dict"]
        seconds = time.monotonic() - began
        learned = {key.removeprefix("network."): w.contiguous() for key, w in state.items() if key[:8] == "network."}
        description, weights, parameters = describe(learned)
        result = {"validation_loss": best.best_model_score.item(), "parameters": parameters}
        result |= {name: value.item() for name, value in trainer.callback_metrics.items() if name in also}
        write_trained(folder, description, weights, metrics, result)
        log_trained(job.of, folder, {**result, OF_TRAINED: seconds})
    shutil.rmtree(checkpoints)


def _quieten() -> None:
    """Silence what Lightning says that isn't so here."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # samples are made faster than they are used
    warnings.filterwarnings("ignore", ".*exists and is not empty.*")  # to go on from it is the purpose
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # Lightning's own, from torch
