"""Sections of action recognition: clips, networks, training, scores."""

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pipelines.params.base import Positive, Section
from pipelines.params.training import Fit, Switched


class SimulateVideo(Section):
    """The embedded clips: how many of what to simulate."""

    seed: int = Field(ge=0, description="seed of every random draw")
    groups: int = Field(ge=3, le=99, description="backgrounds and figures; the last quarter of them is the test list")
    clips: int = Field(ge=1, le=99, description="clips of each class in each group")
    frames: int = Field(ge=2, le=1000, description="frames of a clip")
    rate: int = Field(ge=1, le=60, description="frames a second")
    size: int = Field(ge=32, le=1024, multiple_of=2, description="rows and columns, pixels")


class IngestVideo(Section):
    """Where the videos are, and how they become clips."""

    source: str = Field(min_length=1, description="folder of videos, searched with its subfolders")
    short_side: int = Field(ge=16, le=1080, multiple_of=4, description="shorter side of a stored frame, pixels")
    rate: float | None = Field(gt=0, description="stored frames a second, the nearest in time; null for all there are")
    min_frames: Positive = Field(description="a clip with fewer stored frames goes into quarantine")
    frame_folder_rate: float = Field(gt=0, description="frames a second of videos that are folders of pictures")
    flow: Literal["store", "loader"] = Field(description="optical flow: stored, or computed when a sample is loaded")
    official_split: Positive = Field(description="which of the official lists, where the layout has several")
    group: str | None = Field(
        description="regular expression in a video's path whose first group is its source; null for the layout's own"
    )
    validation_share: float = Field(gt=0, lt=1, description="share of the groups for validation, where it is drawn")
    test_share: float = Field(gt=0, lt=1, description="share of the groups for test, where no list says it")
    seed: int = Field(ge=0, description="seed of the draw of groups into splits")
    license: str = Field(min_length=1, description="SPDX identifier of the videos' licence")

    @field_validator("group")
    @classmethod
    def _group_is_a_pattern(cls, group: str | None) -> str | None:
        try:
            if group is not None and re.compile(group).groups < 1:
                raise ValueError("it needs a group in parentheses")
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        return group

    @model_validator(mode="after")
    def _leave_some_for_training(self) -> "IngestVideo":
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave no group for training: their sum must be below 1")
        return self


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
