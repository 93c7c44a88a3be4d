"""The training step of auto-driving, for every network the same."""

from typing import Any

from torch import Tensor
from torch.nn.functional import l1_loss

from pipelines.params.driving import DrivingModel, TrainDriving
from pipelines.training.ddp import check_loss
from pipelines.training.switching import SwitchedTraining
from pipelines.video.optical_flow import SCALE
from pipelines.video.samples import to_input
from scs_model.networks.regression import Regressor
from scs_model.stsgd.subtasks import flow_error


class DrivingTraining(SwitchedTraining):
    """Trains a network on batches of `pipelines.driving.samples`: frames (B, T, 3, H, W), angles (B, T), and flow.

    The loss is L + w1·L_T1 + w2·L_T2. L is the mean absolute error of the angle, in shares of ``scale``, after each
    frame of a window's second half; T¹'s is the same of T¹'s stream. T² regresses optical flow.

    Parameters
    ----------
    network : Regressor
    model : DrivingModel
        Its switch and subtasks; a batch has flow if there are subtasks.
    params : TrainDriving
    scale : float
        Angle that the network says as 1.
    """

    def __init__(self, network: Regressor, model: DrivingModel, params: TrainDriving, scale: float) -> None:
        super().__init__(model.switch, learning_rate=params.learning_rate, seed=params.seed)
        self.network, self.model, self.scale = network, model, scale

    def training_step(self, batch: Any, _: int) -> Tensor:
        """Return the loss of one batch, with the gradients of this step's draw."""
        frames, angles, *flow = batch
        x = to_input(frames).transpose(0, 1)
        subtasks = self.model.subtasks
        output, _states = self.network(x, open_paths=self.draw_open_paths(len(x)), with_subtasks=subtasks is not None)
        main = self._error(output.main if subtasks else output, angles)
        loss = main
        if subtasks:
            t1 = self._error(output.spatial, angles)
            t2 = flow_error(output.flows, flow[0].transpose(0, 1) / SCALE)
            loss = main + subtasks.t1 * t1 + subtasks.t2 * t2
            self.log_dict({"t1_loss": t1, "t2_loss": t2})
        check_loss(loss, self.global_step)
        if self.adaptive:
            self.log("switch_p", self.adaptive.update(main, t1))
        self.log("train_loss", main, prog_bar=True)
        return loss

    def validation_step(self, batch: Any, _: int) -> None:
        """Log the error after the last frame; nothing is drawn."""
        frames, angles = batch
        said = self.network(to_input(frames).transpose(0, 1))[0][-1, :, 0] * self.scale
        error = (said - angles[:, -1]).abs().mean()
        self.log("validation_loss", error / self.scale, prog_bar=True, batch_size=len(frames))
        self.log("validation_mae", error, batch_size=len(frames))

    def _error(self, said: Tensor, angles: Tensor) -> Tensor:
        """Return the mean absolute error of (T, B, 1) over the second half of the frames, in shares of the scale."""
        later = slice(len(said) // 2, None)
        return l1_loss(said[later, :, 0], angles.T[later] / self.scale)
