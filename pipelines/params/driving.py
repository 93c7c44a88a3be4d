"""Sections of auto-driving: drives, simulated and ingested; networks, training, scores."""

from typing import Any, Literal

from pydantic import Field, model_validator

from pipelines.common.limits import Limits
from pipelines.params.base import DrawnSplits, Memory, Positive, Section
from pipelines.params.training import Fit, Switched


class SimulateDrives(Section):
    """The embedded drives: how many of what to simulate."""

    seed: int = Field(ge=0, description="seed of every random draw")
    drives: int = Field(ge=1, le=999, description="sessions, each with its own road and colours")
    seconds: int = Field(ge=2, le=3600, description="length of a session")
    rate: int = Field(ge=1, le=50, description="frames a second")


class IngestDrives(DrawnSplits):
    """Where the drives are, and how they become sequences."""

    source: str = Field(min_length=1, description="folder of drives, searched with its subfolders")
    height: int = Field(ge=16, le=1080, multiple_of=4, description="rows of a stored frame, pixels")
    width: int = Field(ge=16, le=1920, multiple_of=4, description="columns of a stored frame, pixels")
    rate: float | None = Field(gt=0, description="stored frames a second, the nearest in time; null for all there are")
    folder_rate: float = Field(gt=0, description="frames a second of layouts that don't say (LiVi-Set)")
    max_gap_s: float = Field(gt=0, description="longest time between two frames of a sequence, seconds")
    stretch_minutes: float = Field(gt=0, description="what is split where sessions are too few, minutes")
    margin_s: float = Field(ge=0, description="what is left out between stretches of different splits, seconds")
    max_memory_mb: Memory = Limits.memory_mb
    license: str = Field(min_length=1, description="SPDX identifier of the drives' licence")

    @model_validator(mode="after")
    def _leave_sequences_and_margins(self) -> "IngestDrives":
        if self.rate and self.rate * self.max_gap_s < 1:
            raise ValueError(
                f"max_gap_s {self.max_gap_s:g}: at rate {self.rate:g} frames are {1 / self.rate:g} s apart"
            )
        if self.margin_s > 60 * self.stretch_minutes:
            raise ValueError(f"margin_s {self.margin_s:g} is longer than a stretch of {self.stretch_minutes:g} minutes")
        return self


class DrivingModel(Switched):
    """A network that says the wheel's angle; see scs_model.networks.regression."""

    cell: Literal["scs", "convlstm", "cnn", "cnn_lstm"]
    depth: Positive = Field(description="layers; the paper's network has 17")
    width: Positive = Field(description="channels of the first layer, and more at coarser scales; the paper's has 64")
    columns: Positive = Field(default=1, description="parts of a frame's width that the head sees apart")
    frames: int = Field(ge=2, description="observed frames; a cnn looks at the last of them alone")

    @property
    def network(self) -> dict[str, Any]:
        """Arguments of the network but for the number of outputs."""
        return self.model_dump(include={"cell", "depth", "width", "columns"}) | {"subtasks": self.subtasks is not None}


class TrainDriving(Fit):
    """How a network that says the wheel's angle is trained."""

    devices: Literal[1] = 1
    ahead_s: float = Field(ge=0, description="how long after the last frame the angle is asked for, seconds")
    mirror: bool = Field(description="whether half of the samples are mirrored, their angles with the other sign")


class Tolerances(Section):
    """What counts as near, in one unit of the angle."""

    within: list[float] = Field(min_length=1, description="tolerances of the accuracy (λ)")
    headline: float = Field(gt=0, description="the one that tables are sorted by and a champion is chosen by")
    curved: float = Field(gt=0, description="angle from which on the road is curved, not straight")

    @model_validator(mode="after")
    def _headline_is_one_of_them(self) -> "Tolerances":
        if self.headline not in self.within:
            raise ValueError(f"headline {self.headline:g} is none of within")
        return self


class EvaluateDriving(Section):
    """What the tables of auto-driving say."""

    history: Positive = Field(description="frames before which nothing is scored, so that all networks have the same")
    degrees: Tolerances
    share: Tolerances = Field(description="of full lock")

    def of(self, unit: str) -> Tolerances:
        """Return the tolerances of a store's unit."""
        return self.degrees if unit == "degrees" else self.share
