"""The training step of action recognition, for every network the same."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import nll_loss

from pipelines.action.recognizer import to_input
from pipelines.params.action import ActionModel, TrainAction
from pipelines.training.fit import GRADIENT_CLIP
from pipelines.training.switching import SwitchedTraining
from pipelines.video.optical_flow import SCALE
from scs_model.networks.recognition import Recognizer
from scs_model.stsgd.coherence import clip_times, run_clips
from scs_model.stsgd.subtasks import flow_error


class ActionTraining(SwitchedTraining):
    """Trains a network on batches of `pipelines.video.samples`: frames (B, T, 3, H, W), labels (B,), and flow.

    A sample is run in pieces that overlap by a quarter, and each piece's loss goes backward before the next is run:
    L + w1·L_T1 + w2·L_T2 + λ·coherence. L is the negative log-probability of the class, averaged over the second half
    of a piece's frames, and T¹'s is the same of T¹'s stream. T² regresses optical flow. A batch is one step.

    Parameters
    ----------
    network : Recognizer
    model : ActionModel
        Its switch, subtasks and coherence; a batch has flow if there are subtasks.
    params : TrainAction
    """

    def __init__(self, network: Recognizer, model: ActionModel, params: TrainAction) -> None:
        super().__init__(model.switch, learning_rate=params.learning_rate, seed=params.seed)
        self.automatic_optimization = False  # several backward passes make one step
        self.network, self.model, self.params = network, model, params

    def training_step(self, batch: Any, _: int) -> None:
        """Step on one batch, with the gradients of this step's draw."""
        frames, labels, *flow = batch
        x = to_input(frames).transpose(0, 1)
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        clips = clip_times(len(x), self.params.piece)
        draws = self.draw_open_paths(len(x))
        losses: list[dict[str, Tensor]] = []

        def step(clip: Tensor, states: Any) -> tuple[Tensor, Any]:
            times = clips[len(losses)]
            open_paths = None if draws is None else draws[:, times]
            output, states = self.network(
                clip, states, open_paths=open_paths, with_subtasks=self.model.subtasks is not None
            )
            main = output.main if self.model.subtasks else output
            losses.append({"train_loss": _loss(main, labels)})
            if self.model.subtasks:
                # Row t - 1 is the flow from frame t - 1 to t: the first frame of all has none.
                target = flow[0][:, max(times.start - 1, 0) : times.stop - 1].transpose(0, 1) / SCALE
                losses[-1] |= {"t1_loss": _loss(output.spatial, labels), "t2_loss": flow_error(output.flows, target)}
            return main.exp(), states

        for _times, _probabilities, coherence in run_clips(step, x, self.params.piece):
            losses[-1]["coherence"] = coherence
            loss = self._weigh(losses[-1])
            if not torch.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss.item()} at step {self.global_step}")
            self.manual_backward(loss / len(clips))
            losses[-1] = {name: value.detach() for name, value in losses[-1].items()}
        self.clip_gradients(optimizer, gradient_clip_val=GRADIENT_CLIP)
        optimizer.step()
        schedule: Any = self.lr_schedulers()
        schedule.step()

        mean = {name: torch.stack([piece[name] for piece in losses]).mean() for name in losses[0]}
        if self.adaptive:
            self.log("switch_p", self.adaptive.update(mean["train_loss"], mean["t1_loss"]))
        self.log("train_loss", mean.pop("train_loss"), prog_bar=True)
        self.log_dict(mean)

    def _weigh(self, losses: dict[str, Tensor]) -> Tensor:
        loss = losses["train_loss"] + self.model.coherence * losses["coherence"]
        if self.model.subtasks:
            loss = loss + self.model.subtasks.t1 * losses["t1_loss"] + self.model.subtasks.t2 * losses["t2_loss"]
        return loss

    def validation_step(self, batch: Any, _: int) -> None:
        """Log loss and accuracy of one batch, over all its frames; nothing is drawn."""
        frames, labels = batch
        log_probabilities = self.network(to_input(frames).transpose(0, 1))[0].mean(0)
        self.log("validation_loss", nll_loss(log_probabilities, labels), prog_bar=True, batch_size=len(frames))
        correct = (log_probabilities.argmax(-1) == labels).float().mean()
        self.log("validation_accuracy", correct, prog_bar=True, batch_size=len(frames))


def _loss(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the negative log-probability (T, B, K) of the classes, averaged over the second half of the frames."""
    return nll_loss(log_probabilities[len(log_probabilities) // 2 :].mean(0), labels)
