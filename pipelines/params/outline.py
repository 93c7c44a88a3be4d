"""Sections of outline annotation: networks, training, scores."""

from typing import Any, Literal

from pydantic import Field

from pipelines.params.base import Positive, Section
from pipelines.params.training import Fit, Switched

NETWORK = {"cell", "depth", "channels", "features", "width", "blocks", "bottleneck", "residual"}


class OutlineModel(Switched):
    """A network that outlines objects; see scs_model.networks.outline."""

    cell: Literal["scs", "convlstm", "convgru"]
    depth: Positive = Field(description="layers of the decoder; the paper's networks have 2, 5, 10 and 15")
    residual: bool = Field(default=True, description="lines around the decoder's layers; the authors have none")
    channels: Positive = Field(default=16, description="of each of the decoder's layers")
    features: Positive = Field(default=16, description="channels of the encoder's features")
    width: Positive = Field(default=16, description="channels of the encoder's first convolution; ResNet's are 64")
    blocks: list[Positive] = Field(
        default=[1, 1, 1, 1], min_length=4, max_length=4, description="of each scale; ResNet-18's are 2 each"
    )
    bottleneck: bool = Field(default=False, description="blocks of ResNet-50 and deeper")
    encoder_weights: str | None = Field(
        default=None, description="file of a ResNet's weights under torchvision's names, to begin with"
    )

    @property
    def network(self) -> dict[str, Any]:
        """Arguments of the network."""
        return self.model_dump(include=NETWORK) | {"subtasks": self.subtasks is not None}


class TrainOutline(Fit):
    """How a network that outlines objects is trained."""

    max_vertices: int = Field(ge=3, le=200, description="of a polygon on the grid; longer ones are simplified further")


class EvaluateOutline(Section):
    """How outlines are scored."""

    thresholds: list[Positive] = Field(min_length=1, description="cells off by which a vertex is corrected (T)")
    beam: Positive = Field(description="polygons that the search keeps; 1 is the most probable vertex each time")
