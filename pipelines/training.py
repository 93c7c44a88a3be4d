"""The training step of an encoder–forecaster, for every cell the same."""

from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from pipelines.params import Switch
from pipelines.rain import normalise
from scs_model import EncoderForecaster
from scs_model.switch import draw_open_paths

HEAVY = 10.0  # mm/h from which a pixel's weight grows no more


def weighted_error(forecast: Tensor, rain_rate: Tensor) -> Tensor:
    """Mean of absolute plus squared error of ln(1 + R), each pixel weighted by 1 + R up to `HEAVY`, valid ones only.

    Rain is rare and heavy rain rarer: without weights a dry forecast is a good one (Shi et al. 2017,
    arXiv 1706.03458, section 3.4 weigh likewise by rain rate).

    Parameters
    ----------
    forecast : Tensor
        ln(1 + R), any shape.
    rain_rate : Tensor
        Observed, mm/h with NaN, the same shape.
    """
    valid = rain_rate.isfinite()
    error = (forecast - normalise(rain_rate)).float()
    weight = (1.0 + rain_rate.nan_to_num(0.0).clamp(0.0, HEAVY)) * valid
    return (weight * (error.abs() + error.square())).sum() / weight.sum().clamp(min=1.0)


class NowcastTraining(LightningModule):
    """Trains a network on windows (B, T, 1, H, W) of rain rate in mm/h.

    Parameters
    ----------
    network : EncoderForecaster
    switch : Switch
        Which gradients STSGD stops, drawn anew at each step.
    inputs : int
        Observed frames of a window; the others are to forecast.
    learning_rate : float
    seed : int
        Of the switch's draws, together with step, layer, time and rank.
    """

    def __init__(
        self, network: EncoderForecaster, switch: Switch, *, inputs: int, learning_rate: float, seed: int
    ) -> None:
        super().__init__()
        self.network, self.switch = network, switch
        self.inputs, self.learning_rate, self.seed = inputs, learning_rate, seed

    def training_step(self, windows: Tensor, _: int) -> Tensor:
        """Loss of one batch, with the gradients of this step's draw."""
        open_paths = draw_open_paths(
            self.switch.kind,
            self.switch.p,
            seed=self.seed,
            step=self.global_step,
            rank=self.global_rank,
            layers=self.network.switch_layers,
            steps=windows.shape[1],
        ).to(windows.device)
        loss = self._loss(windows, open_paths=open_paths)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} at step {self.global_step}")
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, windows: Tensor, _: int) -> None:
        """Log the loss of one batch; nothing is drawn."""
        self.log("validation_loss", self._loss(windows), prog_bar=True, batch_size=len(windows))

    def _loss(self, windows: Tensor, **draws: Tensor) -> Tensor:
        observed, future = windows[:, : self.inputs], windows[:, self.inputs :]
        return weighted_error(self.network(normalise(observed), future.shape[1], **draws), future)

    def configure_optimizers(self) -> Any:
        """Adam, with the learning rate on half a cosine over all steps."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
