"""What every training of a network that can be switched has: the p of ASTSGD, which an interrupted one goes on with."""

from typing import Any

from pytorch_lightning import LightningModule

from pipelines.params.training import Switch
from scs_model.stsgd.adaptive import AdaptiveSwitch


class SwitchedTraining(LightningModule):
    """A training whose switch may adapt.

    Parameters
    ----------
    switch : Switch
        Which gradients STSGD stops.

    Attributes
    ----------
    adaptive : AdaptiveSwitch or None
        What p follows; None where it stays.
    """

    def __init__(self, switch: Switch) -> None:
        super().__init__()
        self.switch = switch
        adaptive = switch.adaptive
        self.adaptive = AdaptiveSwitch(p0=switch.p, **adaptive.model_dump()) if adaptive else None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what p follows."""
        if self.adaptive:
            checkpoint["adaptive_switch"] = self.adaptive.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with it."""
        if self.adaptive:
            self.adaptive.load_state_dict(checkpoint["adaptive_switch"])
