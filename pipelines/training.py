"""The training step of an encoder–forecaster, for every cell the same."""

from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from pipelines.forecasters import DRY
from pipelines.params import Subtasks, Switch
from pipelines.rain import normalise
from pipelines.ranks import check_finite, mean_over_ranks
from scs_model import EncoderForecaster
from scs_model.adaptive import AdaptiveSwitch
from scs_model.subtasks import motion_error
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
    # The weights of the whole batch, which several processes may share: the mean of their errors is then one's.
    return (weight * (error.abs() + error.square())).sum() / mean_over_ranks(weight.sum()).clamp(min=1.0)


class NowcastTraining(LightningModule):
    """Trains a network on windows (B, T, 1, H, W) of rain rate in mm/h.

    The loss is L + w1·L_T1 + w2·L_T2: T¹ reconstructs the newest frame, and its error is of the main loss's kind, so
    that ASTSGD can compare the two; T² regresses the echo's motion.

    Parameters
    ----------
    network : EncoderForecaster
    switch : Switch
        Which gradients STSGD stops, drawn anew at each step.
    subtasks : Subtasks or None
        Weights of T¹ and T²; with them a batch is (windows, motion), see pipelines.echo_motion.
    inputs : int
        Observed frames of a window; the others are to forecast.
    learning_rate : float
    seed : int
        Of the switch's draws, together with step, layer, time and rank.
    """

    def __init__(
        self,
        network: EncoderForecaster,
        switch: Switch,
        subtasks: Subtasks | None,
        *,
        inputs: int,
        learning_rate: float,
        seed: int,
    ) -> None:
        super().__init__()
        self.network, self.switch, self.subtasks = network, switch, subtasks
        self.inputs, self.learning_rate, self.seed = inputs, learning_rate, seed
        adaptive = switch.adaptive
        self.adaptive = AdaptiveSwitch(p0=switch.p, **adaptive.model_dump()) if adaptive else None

    def training_step(self, batch: Any, _: int) -> Tensor:
        """Loss of one batch, with the gradients of this step's draw."""
        windows: Tensor = batch[0] if self.subtasks else batch
        open_paths = draw_open_paths(
            self.switch.kind,
            self.adaptive.p if self.adaptive else self.switch.p,
            seed=self.seed,
            step=self.global_step,
            rank=self.global_rank,
            layers=self.network.switch_layers,
            steps=windows.shape[1],
        )
        observed, future = windows[:, : self.inputs], windows[:, self.inputs :]
        said = self.network(
            normalise(observed), future.shape[1], open_paths=open_paths, with_subtasks=self.subtasks is not None
        )
        if self.subtasks is None:
            loss = main_loss = weighted_error(said, future)
        else:
            main_loss = weighted_error(said.forecast, future)
            t1_loss = weighted_error(said.reconstruction, observed[:, -1:])
            t2_loss = motion_error(said.motion, batch[1], windows[:, self.inputs - 1 : -1] >= DRY)
            loss = main_loss + self.subtasks.t1 * t1_loss + self.subtasks.t2 * t2_loss
            self.log_dict({"t1_loss": t1_loss, "t2_loss": t2_loss}, sync_dist=True)
        check_finite(loss, self.global_step)
        if self.adaptive:
            self.log("switch_p", self.adaptive.update(main_loss, t1_loss))
        self.log("train_loss", main_loss, prog_bar=True, sync_dist=True)
        return loss

    def validation_step(self, windows: Tensor, _: int) -> None:
        """Log the main loss of one batch; nothing is drawn."""
        observed, future = windows[:, : self.inputs], windows[:, self.inputs :]
        loss = weighted_error(self.network(normalise(observed), future.shape[1]), future)
        self.log("validation_loss", loss, prog_bar=True, batch_size=len(windows), sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what p follows."""
        if self.adaptive:
            checkpoint["adaptive_switch"] = self.adaptive.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with it."""
        if self.adaptive:
            self.adaptive.load_state_dict(checkpoint["adaptive_switch"])

    def configure_optimizers(self) -> Any:
        """Adam, with the learning rate on half a cosine over all steps."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
