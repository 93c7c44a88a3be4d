"""Sections of the radar archive: simulated, ingested, cut into windows, scored."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.params.base import Positive, Section, Share

# An archive's name becomes a store's.
ArchiveName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class Simulate(Section):
    """The embedded archive: what to simulate."""

    seed: int = Field(ge=0, description="seed of every random draw")
    events: int = Field(ge=1, le=200, description="separate rain events")
    hours: float = Field(gt=0, le=24, description="length of an event, hours")
    size: int = Field(ge=64, le=2048, description="rows and columns, pixels of 1 km")


class ZR(Section):
    """Z = a·R^b, with Z in mm⁶ m⁻³ and R in mm/h."""

    a: float = Field(gt=0)
    b: float = Field(gt=0)


class Regrid(Section):
    """Another grid for the store than the files'."""

    crs: str | None = Field(description="projection in PROJ's words, such as EPSG:3035; null for the files' own")
    resolution: float = Field(gt=0, description="pixel size in the projection's unit")
    min_valid: Share = Field(description="share of what a pixel is made of that must be known")


class IngestRadar(Section):
    """Where the radar files are and how reflectivity becomes rain."""

    sources: dict[ArchiveName, Annotated[str, Field(min_length=1)]] = Field(
        min_length=1, description="archives: for each name a folder of radar files, searched with its subfolders"
    )
    z_r: ZR
    max_rate: float = Field(gt=0, le=655.34, description="a higher rain rate is clutter or hail, mm/h")
    above_max_rate: Literal["clip", "mask"] = Field(description="make it max_rate, or unknown")
    regrid: Regrid | None = Field(default=None, description="another grid; null for the files' own")
    license: str = Field(min_length=1, description="SPDX expression: the files' licences")


class Index(Section):
    """How the archives are cut into windows, events and splits."""

    inputs: int = Field(ge=2, description="observed frames of a window (T_in)")
    leads: Positive = Field(description="frames of a window to forecast (T_out)")
    size: int = Field(ge=32, multiple_of=32, description="rows and columns of a window, pixels")
    stride: Positive = Field(description="pixels from one window to the next, both ways")
    time_stride: Positive = Field(description="frames from one window to the next")
    wet_rate: float = Field(gt=0, description="rain rate from which a pixel is wet, mm/h")
    wet_share: Share = Field(description="wet share that a frame needs not to be dry")
    train_wet_share: Share = Field(description="wet share that a window of the train split needs")
    dry_hours: float = Field(gt=0, description="dry or missing hours that end an event")
    max_event_hours: float = Field(ge=0.01, description="a longer event is cut here, hours")
    validation_share: float = Field(gt=0, lt=1, description="share of the events for validation, one at least")
    test_share: float = Field(gt=0, lt=1, description="share of the events for test, one at least")
    seed: int = Field(ge=0, description="seed of the draw of events into splits")
    splits: dict[ArchiveName, Literal["train", "validation", "test"]] = Field(
        description="archives that are of one split as a whole; the events of the others are drawn"
    )

    @model_validator(mode="after")
    def _leave_some_for_training(self) -> "Index":
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave no event for training: their sum must be below 1")
        return self


class Evaluate(Section):
    """What the tables say."""

    thresholds: list[Annotated[float, Field(gt=0)]] = Field(min_length=1, description="rain rates, mm/h")
    time_stride: Positive = Field(description="frames from one test forecast to the next")
    steps_members: int = Field(ge=2, description="members of the STEPS ensemble, whose mean is scored; 12 for a result")
    seed: int = Field(ge=0, description="of STEPS' noise")
