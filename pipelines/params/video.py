"""Sections of the clips: simulated, ingested."""

import re
from typing import Literal

from pydantic import Field, field_validator

from pipelines.common.limits import Limits
from pipelines.params.base import DrawnSplits, Memory, Positive, Section


class SimulateVideo(Section):
    """The embedded clips: how many of what to simulate."""

    seed: int = Field(ge=0, description="seed of every random draw")
    groups: int = Field(ge=3, le=99, description="backgrounds and figures; the last quarter of them is the test list")
    clips: int = Field(ge=1, le=99, description="clips of each class in each group")
    frames: int = Field(ge=2, le=1000, description="frames of a clip")
    rate: int = Field(ge=1, le=60, description="frames a second")
    size: int = Field(ge=32, le=1024, multiple_of=2, description="rows and columns, pixels")


class IngestVideo(DrawnSplits):
    """Where the videos are, and how they become clips."""

    source: str = Field(min_length=1, description="folder of videos, searched with its subfolders")
    short_side: int = Field(ge=16, le=1080, multiple_of=4, description="shorter side of a stored frame, pixels")
    rate: float | None = Field(gt=0, description="stored frames a second, the nearest in time; null for all there are")
    min_frames: Positive = Field(description="a clip with fewer stored frames goes into quarantine")
    max_memory_mb: Memory = Limits.memory_mb
    frame_folder_rate: float = Field(gt=0, description="frames a second of videos that are folders of pictures")
    flow: Literal["store", "loader"] = Field(description="optical flow: stored, or computed when a sample is loaded")
    official_split: Positive = Field(description="which of the official lists, where the layout has several")
    group: str | None = Field(
        description="regular expression in a video's path whose first group is its source; null for the layout's own"
    )
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
