"""The training step of an encoder–forecaster, for every cell the same."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipelines.nowcast.echo_loss import EchoLoss
from pipelines.nowcast.loss import CRPSLoss, SkillLoss
from pipelines.nowcast.methods.normalisation import normalise
from pipelines.params.training import Subtasks, Switch
from pipelines.radar.echo_image import echo_image
from pipelines.radar.frame import DRY
from pipelines.training.ddp import check_loss, mean_over_ranks
from pipelines.training.switching import SwitchedTraining
from scs_model import EncoderForecaster
from scs_model.networks.encoder_forecaster import Streams
from scs_model.stsgd.subtasks import motion_error


class NowcastTraining(SwitchedTraining):
    """Trains a network on windows (B, T, 1, H, W) of rain rate in mm/h.

    The loss is L + w1·L_T1 + w2·L_T2: T¹ reconstructs the newest frame, and its error is of the main loss's kind, so
    that ASTSGD can compare the two; T² regresses the echo's motion.

    Parameters
    ----------
    network : EncoderForecaster
    switch, learning_rate, seed
        See `SwitchedTraining`.
    subtasks : Subtasks or None
        Weights of T¹ and T²; with them a batch is (windows, motion), see pipelines.nowcast.windows.
    inputs : int
        Observed frames of a window; the others are to forecast.
    rates : sequence of float, optional
        mm/h, of a probabilistic network: the rates of its thresholds.
    weighted : bool
        In fixed coordinates: see `EchoLoss`.
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
        rates: Sequence[float] | None = None,
        weighted: bool = True,
    ) -> None:
        super().__init__(switch, learning_rate=learning_rate, seed=seed)
        self.network, self.subtasks, self.inputs = network, subtasks, inputs
        self.sums = self.subtask_sums = torch.zeros(())  # of validation
        self.network_input = echo_image if network.fixed else normalise
        if network.fixed:
            self.loss: SkillLoss | CRPSLoss | EchoLoss = EchoLoss(weighted=weighted)
            self.t1_loss: Any = self.loss
        elif rates:
            self.loss = CRPSLoss(rates)
            self.t1_loss = self.loss.reconstruction_error
        else:
            self.loss, self.t1_loss = SkillLoss(network.leads), SkillLoss(1)

    def training_step(self, batch: Any, _: int) -> Tensor:
        """Loss of one batch, with the gradients of this step's draw."""
        windows: Tensor = batch[0] if self.subtasks else batch
        open_paths = self.draw_open_paths(windows.shape[1])
        observed, future = windows[:, : self.inputs], windows[:, self.inputs :]
        said = self.network(
            self.network_input(observed),
            future.shape[1],
            open_paths=open_paths,
            with_subtasks=self.subtasks is not None,
        )
        if self.subtasks is None:
            loss = main_loss = self.loss(said, future)
        else:
            main_loss = self.loss(said.forecast, future)
            t1_loss = self.t1_loss(said.reconstruction, observed[:, -1:])
            t2_loss = motion_error(said.motion, batch[1], windows[:, self.inputs - 1 : -1] >= DRY)
            loss = main_loss + self.subtasks.t1 * t1_loss + self.subtasks.t2 * t2_loss
            self.log_dict({"t1_loss": t1_loss, "t2_loss": t2_loss}, sync_dist=True)
        check_loss(loss, self.global_step)
        if self.adaptive:
            self.log("switch_p", self.adaptive.update(main_loss, t1_loss))
        self.log("train_loss", main_loss, prog_bar=True, sync_dist=True)
        return loss

    def validation_step(self, batch: Any, _: int) -> None:
        """Score one batch; nothing is drawn."""
        windows: Tensor = batch[0] if self.subtasks else batch
        observed, future = windows[:, : self.inputs], windows[:, self.inputs :]
        said = self.network(self.network_input(observed), future.shape[1], with_subtasks=self.subtasks is not None)
        if self.subtasks:
            self.subtask_sums = self.subtask_sums + self._squares_of_subtasks(said, windows, batch[1])
        self.sums = self.sums + self.loss.sums(said.forecast if self.subtasks else said, future)

    def on_validation_epoch_start(self) -> None:
        """Begin anew."""
        self.sums = self.subtask_sums = torch.zeros((), dtype=torch.float64, device=self.device)

    def on_validation_epoch_end(self) -> None:
        """Log the loss of all batches together, and how much of its target each subtask explains, if there is any."""
        self.log("validation_loss", self.loss.of_sums(mean_over_ranks(self.sums)), prog_bar=True)
        if self.subtasks:
            error, of_target = mean_over_ranks(self.subtask_sums)
            explained = zip(("t1_explained", "t2_explained"), (1 - error / of_target).float(), strict=True)
            self.log_dict({name: share for name, share in explained if share.isfinite()})

    def _squares_of_subtasks(self, said: Streams, windows: Tensor, motion: Tensor) -> Tensor:
        """Sum up squared errors of T¹'s frame and T²'s motion, and the squares of their targets, (2, 2)."""
        newest = windows[:, self.inputs - 1 : self.inputs]
        frame, seen = self.network_input(newest), newest.isfinite()
        echo = windows[:, self.inputs - 1 : -1] >= DRY
        squares = [
            [
                ((frame - guess).square() * seen).sum(),
                echo.sum() * motion_error(moved, motion, echo),
            ]
            for guess, moved in ((said.reconstruction, said.motion), (torch.zeros(()), torch.zeros_like(said.motion)))
        ]
        return torch.stack([torch.stack(of) for of in squares]).double()
