"""Fitting a network, whatever its task: Lightning's loop, which goes on exactly where it was interrupted."""

import logging
import math
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint
from pytorch_lightning.callbacks.progress import RichProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.utils.data import DataLoader

from pipelines.common.errors import UserError
from pipelines.params.training import Fit
from pipelines.training.ddp import is_rank_zero, trainer_arguments

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


def choose_precision(precision: str) -> str:
    """Return Lightning's precision for ``auto``, ``bf16`` or ``float32``: auto is bf16 where the hardware has it."""
    if torch.cuda.is_available():
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if precision == "bf16" or (precision == "auto" and has_bf16) else "32-true"


def fit(
    module: pl.LightningModule,
    train_loader: DataLoader[Any],
    validation_loader: DataLoader[Any],
    checkpoints: Path,
    logger: Logger | bool,
    params: Fit,
    *,
    model: str,
    section: str,
) -> tuple[dict[str, Tensor], float, float] | None:
    """Train a module that logs ``validation_loss``, from its last checkpoint if there is one.

    Parameters
    ----------
    module : LightningModule
        It raises FloatingPointError where its loss isn't finite, or diverges.
    train_loader, validation_loader : DataLoader
        What the first gives is a function of the epoch.
    checkpoints : Path
        See `pipelines.common.checkpoints.checkpoint_folder`; who calls this removes it when the model is written.
    logger : Logger or False
        Of the first process; others have none.
    model, section : str
        Keys of params.yaml to name when it goes wrong.

    Returns
    -------
    weights : dict of Tensor
        The module's, where its validation loss was lowest.
    validation_loss : float
        The lowest.
    seconds : float
        That this process took. None in place of all three in all processes but the first.

    Raises
    ------
    UserError
        If the loss isn't finite, or diverges.
    """
    _quieten()
    best = ModelCheckpoint(
        checkpoints,
        "best",
        monitor="validation_loss",
        save_on_train_epoch_end=False,  # but after validation, so that the last checkpoint knows of it
        enable_version_counter=False,
    )
    last = checkpoints / "last.ckpt"
    trainer = pl.Trainer(
        **trainer_arguments(params.devices),
        precision=choose_precision(params.precision),  # type: ignore[arg-type]
        max_epochs=math.ceil(params.steps / params.epoch_steps),
        max_steps=params.steps,
        gradient_clip_val=GRADIENT_CLIP if module.automatic_optimization else None,  # else the module does it
        deterministic=True,
        logger=logger,
        callbacks=[best, CheckpointAfterValidation(last), RichProgressBar(leave=True)],
        enable_model_summary=False,
        log_every_n_steps=min(10, params.epoch_steps),
        num_sanity_val_steps=0,
    )
    began = time.monotonic()
    resumed = last if last.exists() else None
    if resumed:
        log.warning("%s: going on from %s", model, last)
    try:
        trainer.fit(module, train_loader, validation_loader, ckpt_path=resumed, weights_only=True)
    except SIGTERMException:
        sys.exit(128 + signal.SIGTERM)  # Lightning's own status would be 0, as if the training were done
    except FloatingPointError as error:
        raise UserError(
            f"{model}: {error}; lower {section}.learning_rate, or set {section}.precision: float32"
        ) from None
    if not is_rank_zero():
        return None
    assert best.best_model_score is not None  # there is a validation at the end of every epoch
    weights = torch.load(best.best_model_path, weights_only=True, map_location="cpu")["state_dict"]
    return weights, best.best_model_score.item(), time.monotonic() - began


def _quieten() -> None:
    """Silence what Lightning says that isn't so here."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # samples are made faster than they are used
    warnings.filterwarnings("ignore", ".*exists and is not empty.*")  # to go on from it is the purpose
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # Lightning's own, from torch
