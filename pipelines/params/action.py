"""Sections of action recognition: networks, training, scores."""

from typing import Any, Literal

from pydantic import Field

from pipelines.params.base import Positive, Section
from pipelines.params.training import Fit, Switched


class ActionModel(Switched):
    """A network that recognises actions; see scs_model.networks.recognition."""

    cell: Literal["scs", "convlstm", "cnn", "cnn_lstm"]
    depth: Positive = Field(description="layers; the paper's network has 17")
    width: Positive = Field(description="channels of the first layer, and more at coarser scales; the paper's has 64")
    coherence: float = Field(default=0.0, ge=0, description="weight of overlapping pieces' agreement (λ)")

    @property
    def network(self) -> dict[str, Any]:
        """Arguments of the network but for the number of classes."""
        return self.model_dump(include={"cell", "depth", "width"}) | {"subtasks": self.subtasks is not None}


class TrainAction(Fit):
    """How a network that recognises actions is trained."""

    devices: Literal[1] = 1  # several backward passes make a step, which Lightning's DDP can't share
    frames: int = Field(ge=2, description="frames of a sample")
    piece: int = Field(ge=2, description="frames that are run at once; pieces overlap by a quarter")
    size: int = Field(ge=32, multiple_of=32, description="rows and columns of a sample, pixels")


class EvaluateAction(Section):
    """What the tables of action recognition say."""

    observed: list[Positive] = Field(min_length=1, description="frames after which to say what a clip shows")
