"""What every training of a network that can be switched has: its draws, its optimiser, and the p of ASTSGD."""

from typing import Any

from pytorch_lightning import LightningModule
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from pipelines.params.training import Switch
from scs_model.stsgd.adaptive import AdaptiveSwitch
from scs_model.stsgd.switch import draw_open_paths


class SwitchedTraining(LightningModule):
    """A training whose switch may adapt.

    Parameters
    ----------
    switch : Switch
        Which gradients STSGD stops, drawn anew at each step.
    learning_rate : float
    seed : int
        Of the switch's draws, together with step, layer, time and rank.

    Attributes
    ----------
    adaptive : AdaptiveSwitch or None
        What p follows; None where it stays.
    """

    network: Any

    def __init__(self, switch: Switch, *, learning_rate: float, seed: int) -> None:
        super().__init__()
        self.switch, self.learning_rate, self.seed = switch, learning_rate, seed
        adaptive = switch.adaptive
        self.adaptive = AdaptiveSwitch(p0=switch.p, **adaptive.model_dump()) if adaptive else None

    def draw_open_paths(self, steps: int) -> Tensor | None:
        """Draw which paths are open to the gradient in a sequence of so many frames; None for all."""
        if self.switch.kind == "off":
            return None
        return draw_open_paths(
            self.switch.kind,
            self.adaptive.p if self.adaptive else self.switch.p,
            seed=self.seed,
            step=self.global_step,
            rank=self.global_rank,
            layers=self.network.switch_layers,
            steps=steps,
        )

    def configure_optimizers(self) -> Any:
        """Return Adam, with the learning rate on half a cosine over all steps."""
        optimizer = Adam(self.parameters(), lr=self.learning_rate)
        schedule = CosineAnnealingLR(optimizer, int(self.trainer.estimated_stepping_batches))
        interval = {"interval": "step"} if self.automatic_optimization else {}  # else the module does it
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, **interval}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what p follows."""
        if self.adaptive:
            checkpoint["adaptive_switch"] = self.adaptive.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with it."""
        if self.adaptive:
            self.adaptive.load_state_dict(checkpoint["adaptive_switch"])
