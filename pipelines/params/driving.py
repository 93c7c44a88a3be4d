"""Sections of auto-driving: drives, simulated and ingested."""

from pydantic import Field, model_validator

from pipelines.common.limits import Limits
from pipelines.params.base import Memory, Section


class SimulateDrives(Section):
    """The embedded drives: how many of what to simulate."""

    seed: int = Field(ge=0, description="seed of every random draw")
    drives: int = Field(ge=1, le=999, description="sessions, each with its own road and colours")
    seconds: int = Field(ge=2, le=3600, description="length of a session")
    rate: int = Field(ge=1, le=50, description="frames a second")


class IngestDrives(Section):
    """Where the drives are, and how they become sequences."""

    source: str = Field(min_length=1, description="folder of drives, searched with its subfolders")
    height: int = Field(ge=16, le=1080, multiple_of=4, description="rows of a stored frame, pixels")
    width: int = Field(ge=16, le=1920, multiple_of=4, description="columns of a stored frame, pixels")
    rate: float | None = Field(gt=0, description="stored frames a second, the nearest in time; null for all there are")
    folder_rate: float = Field(gt=0, description="frames a second of layouts that don't say (LiVi-Set)")
    max_gap_s: float = Field(gt=0, description="longest time between two frames of a sequence, seconds")
    stretch_minutes: float = Field(gt=0, description="what is split where there are fewer than three sessions, minutes")
    margin_s: float = Field(ge=0, description="what is left out between stretches of different splits, seconds")
    max_memory_mb: Memory = Limits.memory_mb
    validation_share: float = Field(gt=0, lt=1, description="share of the sessions for validation, where it is drawn")
    test_share: float = Field(gt=0, lt=1, description="share of the sessions for test, where it is drawn")
    seed: int = Field(ge=0, description="seed of the draw of sessions into splits")
    license: str = Field(min_length=1, description="SPDX identifier of the drives' licence")

    @model_validator(mode="after")
    def _leave_some_for_training(self) -> "IngestDrives":
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave no session for training: their sum must be below 1")
        return self
